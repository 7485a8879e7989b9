"""What the shell is told: commands, options, names of models, and nothing where nobody can be asked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from model_store.store import Store
from serve.cli import COMMANDS, main
from tests.serve.administered import convert, export
from tests.serve.live.recorded import row
from tests.serve.management_port import ManagementPort, management_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> Iterator[ManagementPort]:
    with management_port() as port:
        port.answers["/api/state"] = {"models": [row("digits"), row("digits"), row("dogs"), row("ranker")]}
        yield port


def complete(*words: str, **environment: str) -> list[str]:
    """What bash gets for the last word, from a process of its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'onegate'; from serve.cli import main; main(prog_name='onegate')",
        ],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "_ONEGATE_COMPLETE": "bash_complete"}
        | {"COMP_WORDS": " ".join(["onegate", *words]), "COMP_CWORD": str(len(words))}
        | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_and_options_are_completed() -> None:
    assert complete("hi") == ["history"]
    assert complete("status", "--js") == ["--json"]
    assert complete("keys", "ro") == ["rotate"]
    assert complete("completion", "z") == ["zsh"]


@pytest.mark.parametrize("command", ["infer", "history", "rollback", "traffic", "label", "compare", "logs", "bench"])
def test_models_of_the_running_gateway_are_completed(port: ManagementPort, command: str) -> None:
    assert complete(command, "d", ONEGATE_MANAGEMENT=port.url) == ["digits", "dogs"]


def test_the_gateway_may_stand_in_the_line(port: ManagementPort) -> None:
    # A colon splits words in bash, unless they are quoted.
    assert complete("history", "--management", f"'{port.url}'", "ra") == ["ranker"]


def test_models_of_a_local_store_are_completed(tmp_path: Path) -> None:
    convert(Store.open(str(tmp_path / "store")), str(export(tmp_path / "2.onnx", 2)), "one", "other", "third")
    for command in ("versions", "verify", "sign"):
        assert complete(command, "o", ONEGATE_STORE=str(tmp_path / "store")) == ["one", "other"]
    assert complete("versions", "o", ONEGATE_STORE="s3://nowhere/store") == []
    assert complete("versions", "o", ONEGATE_STORE=str(tmp_path / "absent")) == []


def test_without_a_gateway_nothing_is_said(free_port: int) -> None:
    assert complete("history", "d", ONEGATE_MANAGEMENT=f"http://127.0.0.1:{free_port}") == []
    assert complete("history", "d", ONEGATE_MANAGEMENT="nonsense") == []


def test_a_gateway_that_refuses_or_answers_nonsense_is_passed_over(port: ManagementPort) -> None:
    port.answers["/api/state"] = "no JSON"
    assert complete("history", "d", ONEGATE_MANAGEMENT=port.url) == []
    del port.answers["/api/state"]
    assert complete("history", "d", ONEGATE_MANAGEMENT=port.url) == []


def test_a_gateway_that_stays_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert complete("history", "d", ONEGATE_MANAGEMENT=f"http://127.0.0.1:{silent.getsockname()[1]}") == []
        # The default timeout of other calls is 30 s.
        assert time.monotonic() - start < 20


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_ONEGATE_COMPLETE={shell}_complete" in result.output


def test_the_script_works_in_bash(port: ManagementPort, tmp_path: Path) -> None:
    onegate = tmp_path / "onegate"
    onegate.write_text(f"#!{sys.executable}\nfrom serve.cli import main\nmain()\n")
    onegate.chmod(0o755)
    script = CliRunner().invoke(main, ["completion", "bash"]).output
    asked = 'COMP_WORDS=(onegate history di); COMP_CWORD=2; _onegate_completion onegate; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "ONEGATE_MANAGEMENT": port.url, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["digits"]


def test_no_command_is_imported_to_complete_its_name() -> None:
    code = "import sys; from serve.cli import main\nmain(['co'], prog_name='onegate', complete_var='X')\n"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT,
        env=os.environ | {"X": "bash_complete", "COMP_WORDS": "onegate co", "COMP_CWORD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == [
        name for name in COMMANDS if name.startswith("co")
    ]
    assert "serve.commands" not in done.stderr
