"""How long does it take from nothing to the first answer? `make newcomer`.

Clones the repository, types what README.md and the pages below `docs/migrate/` show, and prints seconds and commands
until the first answer, of which no way may take more than two (`tests/pages/test_newcomer.py` counts them without
running any). The set-up installs the frameworks, which takes minutes. Uses free ports, and needs no more than
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

from tests.pages.blocks import ROOT, blocks_of, commands_of
from tests.pages.story import Story, addresses

PATIENCE_S = 1800.0
STOP_S = 60.0
MOST_COMMANDS = 2
READY = "Ctrl-C drains"


@dataclass(frozen=True)
class Way:
    """What a newcomer had to do until the first answer."""

    name: str
    commands: tuple[str, ...]
    seconds: float


def main() -> int:
    """Goes every way and prints a line each; returns 0, or 1 if any takes more than two commands, its call included."""
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
    return int(any(len(way.commands) > MOST_COMMANDS for way in ways))


def print_way(way: Way) -> None:
    """A line for people: seconds, and the commands that were typed."""
    print(f"{way.name:32} {way.seconds:7.1f} s  {len(way.commands)} commands: {'; '.join(way.commands)}", flush=True)


def first_answer(clone: Path) -> Way:
    """README.md: what is typed in the clone, from the set-up to the first `curl`."""
    *prepare, (serve, _), (ask, shown) = readme_commands()
    story = _story(clone, clone)
    start = time.monotonic()
    for command, _ in prepare:
        story.type(command, "", "README.md")
    with _serving(serve, story):
        story.type(ask, shown, "README.md")
        typed = (*(command for command, _ in prepare), serve, _short(ask))
        return Way("README.md", typed, time.monotonic() - start)


def readme_commands() -> list[tuple[str, str]]:
    """What README.md has a newcomer type in the clone, up to the first call, each with the answer that is shown."""
    blocks = list(blocks_of(ROOT / "README.md"))
    typed = [pair for block in blocks if block.argument == "minutes" for pair in commands_of(block.body)]
    ask = next(pair for block in blocks if block.kind == "quickstart" for pair in commands_of(block.body))
    return [*(pair for pair in typed if not pair[0].startswith(("git clone ", "cd "))), ask]


def first_answer_after(page: Path, clone: Path, folder: Path) -> Way:
    """A page of `docs/migrate/`: from the old server's files to the first answer of an unchanged client."""
    folder.mkdir()
    (folder / "examples").symlink_to(clone / "examples")
    story = _story(folder, clone)
    story.run([block for block in blocks_of(page) if block.kind in ("file", "run")])
    commands = migration_commands(page)
    start = time.monotonic()
    with contextlib.ExitStack() as gateway:
        for command, shown in commands:
            if command.startswith("onegate up"):
                gateway.enter_context(_serving(command, story))
            else:
                story.type(command, shown, page.name)
        typed = tuple(_short(command) for command, _ in commands)
        return Way(f"docs/migrate/{page.name}", typed, time.monotonic() - start)


def migration_commands(page: Path) -> list[tuple[str, str]]:
    """What a page of `docs/migrate/` has people type instead of what they typed before, up to the client's first call,
    each with the answer that is shown."""
    blocks = [block for block in blocks_of(page) if block.kind == "gateway"]
    typed = [pair for block in blocks for pair in commands_of(block.body)]
    calls = [number for number, (command, _) in enumerate(typed) if command.startswith("curl")]
    return typed[: calls[0] + 1]


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
