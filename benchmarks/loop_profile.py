"""Where the event loop of a running gateway spends its time: py-spy's samples of it, by module.

A sample counts for the innermost Python function of the loop's thread. Compiled code has none: what the event
loop and the sockets take counts for the function that runs the loop, and protobuf and numpy for their callers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.failure import BenchmarkFailed

RATE = 400
"""Samples a second."""
LOOP = "_run_user_code_event_loop"
"""Ray Serve's function that runs the loop on which the gateway lives."""
COMPILED = "event loop, sockets"
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^:()]+):\d+\)$")


class Profile(msgspec.Struct, frozen=True):
    """Shares of the loop's busy samples, in percent, largest first."""

    samples: int
    modules: tuple[tuple[str, float], ...]
    functions: tuple[tuple[str, float], ...]


def find_sampler() -> str | None:
    """The path of py-spy, None where it is not installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def profile_loop(sampler: str, pid: int, duration_s: int) -> Profile:
    """Samples process `pid`, which is under load meanwhile, for `duration_s`. Raises `BenchmarkFailed`."""
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        out = Path(folder) / "stacks"
        command = [sampler, "record", "--format", "raw", "--rate", str(RATE), "--duration", str(duration_s)]
        done = subprocess.run(
            [*command, "--output", str(out), "--pid", str(pid)], capture_output=True, text=True, check=False
        )
        if not out.exists():
            raise BenchmarkFailed(f"py-spy took no samples: {(done.stderr or done.stdout).strip()[-300:]}")
        return summarise(out.read_text().splitlines())


def summarise(stacks: Iterable[str]) -> Profile:
    """Lines of `frame;frame;.. count`, outermost frame first. Raises `BenchmarkFailed` when none is of the loop."""
    modules: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any(LOOP in frame for frame in frames):
            continue
        module, function = _place(frames[-1])
        modules[module] += int(count)
        functions[f"{module}: {function}" if function else module] += int(count)
    if not modules:
        raise BenchmarkFailed(f"py-spy saw nothing of the event loop, no frame is called {LOOP}")
    total = modules.total()
    return Profile(total, _shares(modules, total), _shares(functions, total))


def _place(frame: str) -> tuple[str, str]:
    """Module and function of a frame."""
    if LOOP in frame:
        return COMPILED, ""
    found = _FRAME.match(frame)
    if found is None:
        return "other", frame
    path = found["file"].removesuffix(".py")
    return path.replace("/", "."), found["function"]


def _shares(counts: Counter[str], total: int) -> tuple[tuple[str, float], ...]:
    return tuple((name, round(100 * count / total, 1)) for name, count in counts.most_common())
