"""The console in a real browser: Node runs the tests beside this file against `served.py`.

They need Chromium (`apt install chromium`, or `CONSOLE_CHROMIUM`) and what `npm ci` installs in `serve/console/source`.
With `CONSOLE_SCREENSHOTS` pictures of all pages are kept in that folder.
"""

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

pytestmark = pytest.mark.skipif(
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


def run(tests: str, console: Served) -> None:
    told = {"CONSOLE_ADDRESSES": json.dumps(console.addresses), "CONSOLE_CHROMIUM": str(CHROMIUM)}
    told["CONSOLE_PID"] = str(console.process.pid)
    assert NODE is not None
    result = subprocess.run(
        [NODE, "--test", "--test-reporter=spec", str(HERE / tests)],
        env=os.environ | told,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr


@pytest.fixture(scope="module")
def open_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that asks for no key."""
    with served(tmp_path_factory.mktemp("open")) as console:
        yield console


def test_every_page_is_accessible_in_both_themes_and_fits_a_phone(open_console: Served) -> None:
    run("pages.test.mjs", open_console)


def test_people_find_try_and_change_models(open_console: Served) -> None:
    run("use.test.mjs", open_console)


def test_keys_hundreds_of_models_and_a_controller_that_goes_away(tmp_path: Path) -> None:
    with served(tmp_path, "--key", "--crowd", "300") as console:
        run("trouble.test.mjs", console)
