"""`python -m benchmarks.peers.environments`: a virtual environment for each peer, made once.

Each peer has its own, because their requirements exclude each other. They lie in `$ONEGATE_PEERS`, by default
`~/.cache/onegate-peers`; a peer whose requirements change here gets a new one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

INSTALL_S = 1800.0

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "triton": ("nvidia-pytriton==0.7.0", "onnxruntime==1.31.0"),
    # It asks for a loop that newer ones do not make.
    "mlserver": ("mlserver==1.7.1", "uvloop<0.22", "onnxruntime==1.31.0"),
    "litserve": ("litserve==0.2.19", "onnxruntime==1.31.0"),
    "bentoml": ("bentoml==1.4.40", "onnxruntime==1.31.0"),
    # Its default handlers import torch, and its launcher setuptools.
    "torchserve": (
        *("torchserve==0.12.0", "torch==2.13.0", "onnxruntime==1.31.0"),
        *("captum", "packaging", "psutil", "pynvml", "pyyaml", "requests", "setuptools<81"),
    ),
    "granian": ("granian==2.8.7", "uvloop"),
}
"""Peer -> what pip installs. Ray Serve is in onegate's own environment."""
PROGRAMS = {"torchserve": "java"}
"""Peer -> a program that it needs beside Python."""


@dataclass(frozen=True)
class Environment:
    """Where a peer is installed, or why it is not."""

    peer: str
    python: Path | None
    reason: str | None = None

    def command(self, name: str) -> str:
        """The path of a console script."""
        assert self.python is not None
        return str(self.python.with_name(name))


def environment(peer: str) -> Environment:
    """The peer's environment, installed now where it is not; a peer that can't be has a reason instead."""
    program = PROGRAMS.get(peer)
    if program is not None and shutil.which(program) is None:
        return Environment(peer, None, f"it needs {program}, which is not installed")
    requirements = REQUIREMENTS[peer]
    digest = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    folder = _folder() / f"{peer}-{digest}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return Environment(peer, python)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        lines = str(error.stderr or error).strip().splitlines()
        return Environment(peer, None, f"pip failed: {lines[-1] if lines else error}"[:300])
    (folder / "complete").touch()
    return Environment(peer, python)


def _folder() -> Path:
    return Path(os.environ.get("ONEGATE_PEERS") or Path.home() / ".cache" / "onegate-peers")


@click.command()
@click.argument("peers", nargs=-1, type=click.Choice(sorted(REQUIREMENTS)))
def command(peers: tuple[str, ...]) -> None:
    """Install the PEERS, all by default; exit status 1 when one can't be.

    \b
    Example:
      python -m benchmarks.peers.environments triton mlserver
    """
    console = Console()
    failed = False
    for peer in peers or sorted(REQUIREMENTS):
        console.print(f"{peer}: installing ..")
        found = environment(peer)
        failed = failed or found.python is None
        console.print(f"{peer}: {found.reason or found.python}", soft_wrap=True, markup=False)
    sys.exit(int(failed))


if __name__ == "__main__":
    command()
