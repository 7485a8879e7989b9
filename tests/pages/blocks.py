"""The fenced blocks of README and docs, and how each is held to what it says.

The words behind the opening fence say it: a language, and where that isn't enough a kind.

| Words | Meaning |
| --- | --- |
| `console run`, `python run` | run in the page's own folder, in the order of the page; no gateway is there |
| `console gateway`, `python gateway` | the same beside a gateway; `onegate up FILE` has it serve what FILE says |
| `console quickstart`, `python quickstart` | run beside the quickstart's gateway, from the top of the repository |
| `console shown=REASON`, `python shown=REASON` | not run, for one of the reasons below; its syntax is checked |
| `yaml` | a config, read as `onegate up` reads it; `yaml file=NAME` is also written for the blocks that follow |
| `python file=NAME` | written for the blocks that follow |
| `yaml document` | YAML of something else |
| `json` | parsed |
| `text`, `tree` | read by people; `text file=NAME` is written for the blocks that follow |

An answer that a console shows is compared with what came (`tests/pages/answers.py`); a command without one has to end
with success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("benchmarks/*.md"))]

NOT_RUN = {
    "minutes": "it takes minutes, or installs gigabytes; `make newcomer` runs the first of them",
    "serves": "it serves until it is ended; the end-to-end tests start it with these words",
    "docker": "it needs Docker",
    "kubernetes": "it needs Kubernetes",
    "cluster": "it needs a Ray cluster of its own; tests/e2e/test_cluster.py starts one",
    "gpu": "it needs a GPU",
    "tls": "it needs certificates; tests/e2e/test_tls.py makes them",
    "mxnet": "it needs an MXNet; tests/e2e/test_against_mxnet.py has one",
    "old-server": "it starts or calls the server that is left behind",
    "other-client": "its client forbids the protobuf that is tested; tests/e2e/test_real_clients.py has it elsewhere",
    "own-files": "it names files or hosts of the reader's",
    "benchmark": "it measures, for minutes on a machine that does nothing else",
}
"""Reason -> why a block can't be run here."""

LANGUAGES = {
    "console": {"run", "gateway", "quickstart", "shown"},
    "python": {"run", "gateway", "quickstart", "shown", "file"},
    "yaml": {"", "file", "document"},
    "json": {""},
    "text": {"", "file"},
    "tree": {""},
}
"""Language -> kinds that it may have; "" stands for none."""

_FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what its opening fence says, and its lines."""

    page: Path
    line: int
    language: str
    kind: str
    argument: str
    body: str

    @property
    def name(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{page_name(self.page)}:{self.line}"


def page_name(page: Path) -> str:
    """The page's path from the top of the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        language, _, words = found[1].partition(" ")
        kind, _, argument = words.partition("=")
        yield Block(page, text.count("\n", 0, found.start()) + 1, language, kind, argument, found[2])


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page)]


def commands_of(body: str) -> list[tuple[str, str]]:
    """Commands of a console with the answer that is shown below each; a command goes on behind a backslash."""
    commands: list[tuple[str, str]] = []
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        found = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)\Z", part, re.DOTALL)
        assert found is not None
        commands.append((found[1], found[2]))
    return commands
