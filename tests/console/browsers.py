"""Node with a browser, and a console of its own process for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCE = ROOT / "serve" / "console" / "source"
CHROMIUM = os.environ.get("CONSOLE_CHROMIUM") or shutil.which("chromium")
NODE = shutil.which("node")

needs_browser = pytest.mark.skipif(
    CHROMIUM is None or NODE is None or not (SOURCE / "node_modules" / "playwright-core").is_dir(),
    reason="needs Node, Chromium, and `npm ci` in serve/console/source",
)


class Served:
    """A console of its own process. `addresses` is what it printed."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.console.served", str(folder), *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.addresses: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        assert self.addresses, "the console did not start"

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@contextmanager
def served(folder: Path, *words: str) -> Iterator[Served]:
    console = Served(folder, *words)
    try:
        yield console
    finally:
        console.end()


def run(tests: str, addresses: dict[str, Any], pid: int) -> None:
    """Runs a file of tests beside this one against the console at `addresses`, of the process `pid`."""
    told = {
        "CONSOLE_ADDRESSES": json.dumps(addresses),
        "CONSOLE_CHROMIUM": str(CHROMIUM),
        "CONSOLE_PID": str(pid),
    }
    assert NODE is not None
    result = subprocess.run(
        [NODE, "--test", "--test-reporter=spec", str(HERE / tests)],
        env=os.environ | told,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr
