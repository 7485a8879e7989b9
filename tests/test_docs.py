"""What README and docs say exists: commands and options are real, links and files are there. Blocks: `tests/pages/`."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from serve.cli import COMMANDS, main
from serve.dialects.registry import grpc_services
from serve.openapi.document import endpoint_document, management_document
from tests.pages.blocks import PAGES, ROOT, blocks_of, commands_of, page_name

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _shell_lines(page: Path) -> Iterator[str]:
    """Commands of the page's consoles, lines that end in a backslash joined."""
    for block in blocks_of(page):
        if block.language == "console":
            yield from (command.replace("\\\n", " ") for command, _ in commands_of(block.body))


def _quoted(page: Path) -> list[str]:
    """Commands in running text: `onegate status --json`."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [span for span in re.findall(r"`([^`]+)`", prose) if "onegate " in span]


def _onegate_calls(page: Path) -> list[str]:
    """All calls of the command on a page, without what stands before them (`docker exec`)."""
    lines = [*_shell_lines(page), *_quoted(page)]
    return [found[1] for line in lines if (found := re.search(r"\bonegate ((?:[a-z]|COMMAND)[^|>]*)", line))]


CALLS = [(page_name(page), call) for page in PAGES for call in _onegate_calls(page)]


def test_readme_shows_every_command() -> None:
    assert {call.split()[0] for page, call in CALLS if page == "README.md"} >= set(COMMANDS) - {"schema"}


@pytest.mark.parametrize(("page", "call"), CALLS, ids=[f"{page}: {call}" for page, call in CALLS])
def test_command_in_the_docs_exists_with_its_options(page: str, call: str) -> None:
    words = shlex.split(call, comments=True)
    # `onegate COMMAND --help` stands for every command.
    names = list(COMMANDS) if words[0] == "COMMAND" else words[:1]
    assert all(name in COMMANDS for name in names), f"{page}: no command {words[0]!r}"
    for name in names:
        _check_options(name, words[1:])


def _check_options(name: str, words: list[str]) -> None:
    with click.Context(main) as context:
        command = main.get_command(context, name)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command, *words = command.get_command(context, words[0]), *words[1:]
    assert command is not None, f"onegate {name} has no such command"
    options = {name for param in command.params if isinstance(param, click.Option) for name in param.opts}
    used = [word.split("=")[0] for word in words if word.startswith("-")]
    assert [option for option in used if option not in options | {"--help"}] == []


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (page_name(page), target)
        for page in PAGES
        for target in re.findall(r"(?:`|\$ )make ([a-z0-9-]+)", page.read_text(encoding="utf-8"))
    }
    assert {target for _, target in named} >= {"run", "test", "check", "e2e"}
    assert sorted((page, target) for page, target in named if target not in targets) == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target]
    broken = []
    for target in targets:
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _tree_files() -> list[str]:
    """Paths in the tree of the architecture page; two blanks of indent are one folder deeper."""
    [tree] = [block.body for block in blocks_of(ROOT / "docs/architecture.md") if block.language == "tree"]
    paths: list[str] = []
    folder = ""
    for line in tree.splitlines():
        name, text = line.split(maxsplit=1)
        if line.startswith("  "):
            paths.append(folder + name)
        else:
            folder = name
            paths.append(name)
        # Files named in the explanation lie beside the one explained.
        parent = f"{paths[-1].rpartition('/')[0]}/"
        paths += [parent + also for also in re.findall(r"\b([a-z0-9_]+\.py)\b", text)]
    return paths


def test_every_file_of_the_tree_exists() -> None:
    paths = _tree_files()
    assert len(paths) > 50
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_file_named_in_running_text_exists() -> None:
    pattern = r"`((?:serve|converters|model_store|tests|configs|examples|docs)/[\w./-]+)`"
    named = {
        (page_name(page), path) for page in PAGES for path in re.findall(pattern, page.read_text(encoding="utf-8"))
    }
    assert ("CONTRIBUTING.md", "converters/base.py") in named
    assert sorted((page, path) for page, path in named if not (ROOT / path).exists()) == []


def test_every_rpc_of_the_endpoint_is_on_a_protocol_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/protocols").glob("*.md"))
    described = set(re.findall(r"`([A-Z]\w+)`", text))
    served = {method for service in grpc_services() for method in service.methods}
    assert sorted(served - described) == []
    meant = {name for name in described if re.match(r"(?:Server|Model|Repository)[A-Z]", name)}
    others = {name for name in meant if name.endswith(("Exception", "Service", "Request"))}
    assert sorted(meant - others - served) == []


def test_every_path_of_the_endpoint_is_on_a_protocol_page() -> None:
    pages = [ROOT / "docs/protocols.md", *(ROOT / "docs/protocols").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    documents = (endpoint_document([]), management_document())
    first = {path.split("/")[1] for document in documents for path in document["paths"]} - {"", "{model}"}
    assert sorted(segment for segment in first if f"/{segment}" not in text) == []


def test_changelog_has_an_open_section_and_agrees_with_the_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert headings[0] == "Unreleased"
    assert headings[1:] == [] or headings[1].startswith(version)


def test_decisions_are_numbered_without_gaps_and_have_their_sections() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [page.name[:5] for page in pages] == [f"{number:04}-" for number in range(1, len(pages) + 1)]
    for number, page in enumerate(pages, 1):
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. "), page.name
        assert re.search(r"^Status: \w", text, re.MULTILINE), page.name
        assert [part for part in ("## Context", "## Choice", "## Rejected") if part not in text] == [], page.name


def test_dockerfile_copies_what_dockerignore_lets_through() -> None:
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", docker, re.MULTILINE) for name in line.split()}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert copied == set(re.findall(r"^!(\S+)$", ignored, re.MULTILINE))
    assert [name for name in copied if not (ROOT / name).exists()] == []
