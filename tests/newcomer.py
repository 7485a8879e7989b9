"""How long does it take from nothing to the first answer? `make newcomer`.

Clones the repository, types what README.md and the pages below `docs/migrate/` show, and prints seconds and commands
until the first answer. The set-up installs the frameworks, which takes minutes. Uses free ports, and needs no more than
Python, git, make and curl. `--clone FOLDER` keeps the clone, and goes on with the one that is there already.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.pages.blocks import ROOT, Block, blocks_of, commands_of
from tests.pages.story import Story, addresses

PATIENCE_S = 1800.0
STOP_S = 60.0
READY = "Ctrl-C drains"


@dataclass(frozen=True)
class Way:
    """What a newcomer had to do until the first answer."""

    name: str
    commands: tuple[str, ...]
    seconds: float


def main() -> int:
    """Goes every way and prints a line each; returns 0, or 1 if the README's takes more than two commands."""
    options = argparse.ArgumentParser(prog="python -m tests.newcomer")
    options.add_argument("--clone", type=Path, metavar="FOLDER")
    with tempfile.TemporaryDirectory(prefix="onegate-newcomer-") as folder:
        clone = (options.parse_args().clone or Path(folder) / "onegate").absolute()
        if not clone.exists():
            subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        ways = [first_answer(clone)]
        print_way(ways[0])
        for page in sorted((ROOT / "docs/migrate").glob("*.md")):
            ways.append(first_answer_after(page, clone, Path(folder) / page.stem))
            print_way(ways[-1])
    return int(len(ways[0].commands) > 2)


def print_way(way: Way) -> None:
    """A line for people: seconds, and the commands that were typed."""
    print(f"{way.name:32} {way.seconds:7.1f} s  {len(way.commands)} commands: {'; '.join(way.commands)}", flush=True)


def first_answer(clone: Path) -> Way:
    """README.md: what is typed in the clone, from the set-up to the first `curl`."""
    blocks = list(blocks_of(ROOT / "README.md"))
    typed = [command for block in blocks if block.argument == "minutes" for command, _ in commands_of(block.body)]
    *prepare, serve = [command for command in typed if not command.startswith(("git clone ", "cd "))]
    ask, shown = next(pair for block in blocks if block.kind == "quickstart" for pair in commands_of(block.body))
    story = _story(clone, clone)
    start = time.monotonic()
    for command in prepare:
        story.type(command, "", "README.md")
    with _serving(serve, story):
        story.type(ask, shown, "README.md")
        return Way("README.md", (*prepare, serve, _short(ask)), time.monotonic() - start)


def first_answer_after(page: Path, clone: Path, folder: Path) -> Way:
    """A page of `docs/migrate/`: from the old server's files to the first answer of an unchanged client."""
    folder.mkdir()
    (folder / "examples").symlink_to(clone / "examples")
    story = _story(folder, clone)
    blocks = [block for block in blocks_of(page) if block.kind in ("file", "run", "gateway")]
    story.run([block for block in blocks if block.kind != "gateway"])
    typed: list[str] = []
    start = time.monotonic()
    with contextlib.ExitStack() as gateway:
        for command, shown in _commands(blocks):
            typed.append(_short(command))
            if command.startswith("onegate up"):
                gateway.enter_context(_serving(command, story))
            else:
                story.type(command, shown, page.name)
            if command.startswith("curl"):
                break
        return Way(f"docs/migrate/{page.name}", tuple(typed), time.monotonic() - start)


def _commands(blocks: list[Block]) -> Iterator[tuple[str, str]]:
    for block in blocks:
        if block.kind == "gateway":
            yield from commands_of(block.body)


def _short(command: str) -> str:
    return command if len(command) < 60 else f"{command[:56]} .."


def _story(folder: Path, clone: Path) -> Story:
    ports = _free_ports()
    names = ("ONEGATE_GATEWAY_HTTP_PORT", "ONEGATE_GATEWAY_GRPC_PORT", "ONEGATE_GATEWAY_MANAGEMENT_PORT")
    http, grpc, management = (f"127.0.0.1:{port}" for port in ports)
    environment = dict(zip(names, map(str, ports), strict=True)) | {"ONEGATE_MANAGEMENT": f"http://{management}"}
    where = addresses(f"http://{http}", grpc, f"http://{management}")
    story = Story(folder, environment, where, programs=clone / ".venv/bin")
    story.environment.pop("PYTHONPATH", None)  # the clone's own installation is what is tried
    return story


def _free_ports() -> list[int]:
    with contextlib.ExitStack() as open_:
        sockets = [open_.enter_context(contextlib.closing(socket.socket())) for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def _serving(command: str, story: Story) -> Iterator[None]:
    """Starts what serves, waits until it says that all is ready, and ends it after the block."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=story.folder,
            env=story.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + PATIENCE_S
            while READY not in os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace"):
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{command}:\n{os.pread(log.fileno(), 1 << 20, 0).decode(errors='replace')}")
                time.sleep(0.1)
            yield
        finally:
            # As Ctrl-C does: to all of the terminal's group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            process.wait(STOP_S)


if __name__ == "__main__":
    sys.exit(main())
