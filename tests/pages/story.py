"""Runs the blocks of a page as its reader would: files are written, commands typed, answers compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.pages.answers import unlike
from tests.pages.blocks import Block, commands_of

TIMEOUT_S = 300.0
"""Long enough for a conversion on a machine that does much else."""


class Story:
    """A folder and an environment in which the blocks of a page are run one after the other."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        addresses: dict[str, str] | None = None,
        programs: Path = Path(sys.executable).parent,
    ) -> None:
        """`addresses` are those of the page, with those to which its calls go here; `programs` has `onegate`."""
        self.folder = folder
        self.environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **environment}
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"
        self._addresses = addresses or {}

    def run(self, blocks: Sequence[Block]) -> None:
        """Writes, runs and compares; fails at the first block that isn't as it says."""
        for block in blocks:
            if block.kind == "file":
                self._write(block)
            elif block.language == "python":
                self._python(block)
            else:
                self._console(block)

    def _write(self, block: Block) -> None:
        path = self.folder / block.argument
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(block.body), encoding="utf-8")

    def _python(self, block: Block) -> None:
        done = self._started(["python", "-W", "ignore", "-c", self._here(block.body)])
        assert done.returncode == 0, f"{block.name}: {done.stdout}"

    def _console(self, block: Block) -> None:
        for command, shown in commands_of(block.body):
            self.type(command, shown, block.name)

    def type(self, command: str, shown: str, where: str) -> None:
        """Runs a command, and compares its answer with the one that is shown, if one is."""
        done = self._started(["bash", "-c", self._here(command)])
        assert done.returncode == 0 or shown.startswith("onegate: "), f"{where}: {command}\n{done.stdout}"
        line = unlike(self._here(shown), done.stdout) if shown else None
        assert line is None, f"{where}: {command}\nshown: {line}\ncame:\n{done.stdout}"

    def _here(self, text: str) -> str:
        """The text with this run's addresses in the place of the page's."""
        for address, here in self._addresses.items():
            text = text.replace(address, here)
        if "PAGES_GATEWAY" in self.environment:
            text = re.sub(r"\bonegate up (?=\S+(?: --trust \S+)*$)", "python -m tests.pages.up ", text)
        return text

    def _started(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )


def addresses(http: str, grpc: str, management: str) -> dict[str, str]:
    """Usual addresses of onegate, and of the servers that people come from -> those of this gateway."""
    managed = {f"http://127.0.0.1:{port}": management for port in (8082, 8002, 8081)}
    called = {f"http://127.0.0.1:{port}": http for port in (8080, 8000, 8501)}
    messaged = {f"127.0.0.1:{port}": grpc for port in (8081, 8001, 8500)}
    bare = {f"127.0.0.1:{port}": http.removeprefix("http://") for port in (8080, 8000)}
    return managed | called | messaged | bare
