"""Every block of the documentation says how it is held to what it shows, and is what it says."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from serve.config import parse_config
from tests.pages.answers import unlike
from tests.pages.blocks import LANGUAGES, NOT_RUN, Block, all_blocks, blocks_of, commands_of

BLOCKS = all_blocks()


def _some(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.name)


def test_every_block_has_a_known_language_and_kind() -> None:
    unclear = [block.name for block in BLOCKS if block.kind not in LANGUAGES.get(block.language, ())]
    assert unclear == [], "say behind the opening fence how it is run: tests/pages/blocks.py lists the ways"


def test_every_block_that_is_not_run_has_a_known_reason() -> None:
    shown = [block for block in BLOCKS if block.kind == "shown"]
    assert [block.name for block in shown if block.argument not in NOT_RUN] == []
    assert sorted(set(NOT_RUN) - {block.argument for block in shown}) == []


def test_files_have_names_inside_of_the_pages_folder() -> None:
    names = {block.name: block.argument for block in BLOCKS if block.kind == "file"}
    assert [where for where, name in names.items() if not name or name.startswith("/") or ".." in name] == []


@_some("console")
def test_console_has_commands_that_the_shell_can_read(block: Block) -> None:
    commands = [command for command, _ in commands_of(block.body)]
    assert block.body.startswith("$ ")
    for command in commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@_some("python")
def test_python_parses(block: Block) -> None:
    ast.parse(block.body)


@_some("json")
def test_json_parses(block: Block) -> None:
    json.loads(block.body)


@_some("yaml")
def test_yaml_is_a_config_or_says_otherwise(block: Block, tmp_path: Path) -> None:
    if block.kind == "document":
        assert yaml.safe_load(block.body)
    else:
        assert parse_config(block.body, block.name, tmp_path).models


def test_most_consoles_are_run() -> None:
    consoles = [block for block in BLOCKS if block.language in ("console", "python")]
    assert sum(block.kind != "shown" for block in consoles) > len(consoles) / 2


def test_blocks_are_found_with_their_kind_and_commands_with_their_answers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# T\n\n```console shown=docker\n$ a \\\n    b\nc\n\n$ d\n```\n\n```json\n{}\n```\n")
    first, second = blocks_of(page)
    assert (first.line, first.language, first.kind, first.argument) == (3, "console", "shown", "docker")
    assert commands_of(first.body) == [("a \\\n    b", "c\n\n"), ("d", "")]
    assert (second.line, second.language, second.kind, second.argument) == (11, "json", "", "")


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("score: [[3.0646]]", "score: [[3.0647]]"),
        ("converted (3.4 s)", "converted (11.25 s)"),
        ("a    b\n1.2e-07  3", "a b\n3.1e-08 3\n"),
        ("from /home/ada/ranker.pt2", "from /tmp/x-1/ranker.pt2"),
        ("first\n...\nlast", "first\nsecond\nthird\nlast"),
        ("first\n...", "first\nsecond"),
        ("since 2026-01-02T03:04:05+00:00", "since 2027-11-12T13:14:15.678+00:00"),
    ],
)
def test_answers_that_differ_between_machines_are_alike(shown: str, came: str) -> None:
    assert unlike(shown, came) is None


@pytest.mark.parametrize(
    ("shown", "came", "line"),
    [
        ("score: 3.06", "score: 3.16", "score: 3.06"),
        ("version 1", "version 2", "version 1"),
        ("READY", "FAILED", "READY"),
        ("one\ntwo", "one", "two"),
        ("one", "one\ntwo", "(nothing more, but came: two)"),
        ("http://127.0.0.1:8080/v2", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v2"),
        ("first\n...\nlast", "first\nsecond", "last"),
    ],
)
def test_answers_that_say_something_else_are_not(shown: str, came: str, line: str) -> None:
    assert unlike(shown, came) == line
