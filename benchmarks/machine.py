"""Where and with what a result was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from benchmarks.client import wrk_version

DISTRIBUTIONS = (
    "onegate", "ray", "onnxruntime-gpu", "onnxruntime", "httptools", "grpcio", "uvloop", "msgspec", "numpy",
    "starlette",
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent


class Machine(msgspec.Struct, frozen=True):
    """The machine, and how busy it was with other things before the start."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    busy_percent: float
    """Of all cores, over two seconds before anything of the benchmark ran."""


def describe_machine() -> Machine:
    """Takes two seconds."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        busy_percent=psutil.cpu_percent(interval=2.0),
    )


def installed_versions() -> dict[str, str]:
    """Name -> version of what takes part, as far as it is installed."""
    versions = {"python": platform.python_version(), "wrk": wrk_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_revision() -> str | None:
    """The checkout's revision, with `+changes` when files differ from it; None outside of a checkout."""
    try:
        revision, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{revision}+changes" if changes else revision


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
