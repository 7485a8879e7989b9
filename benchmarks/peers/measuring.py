"""Interleaved rounds of one workload: in each, every contestant is measured once at each number of connections."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.bare import BareOnnx
from benchmarks.client import run_load
from benchmarks.failure import BenchmarkFailed
from benchmarks.peers.contestants import CONTESTANTS, NOT_COMPARED, Target
from benchmarks.peers.environments import REQUIREMENTS, environment
from benchmarks.peers.workloads import Workload
from benchmarks.servers import Server

TOLERANCE = 1e-5
"""Largest difference from bare ONNX Runtime, relative to the largest value of the answer."""

AWAKE_S = 1.0
"""From the end of a server's pause to its first measurement."""

Progress = Callable[[str], None]


class Sample(msgspec.Struct, frozen=True):
    """One measurement of one contestant. `cpu_us` is processor time of all its processes, a request."""

    round: int
    contestant: str
    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mib: float


class Cell(msgspec.Struct, frozen=True):
    """Medians over the rounds, and the extremes of the rate."""

    contestant: str
    connections: int
    requests_per_s: float
    least: float
    most: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mib: float


class Result(msgspec.Struct, frozen=True):
    """One workload. `absent` says of those that do not take part why."""

    workload: str
    title: str
    cells: tuple[Cell, ...]
    absent: dict[str, str]
    samples: tuple[Sample, ...]


def measure(
    workload: Workload, folder: Path, names: Sequence[str], rounds: int, seconds: int, progress: Progress
) -> Result:
    """All rounds. A contestant that can't be installed or started, or answers wrongly, is left out and said to be; one
    that fails under some number of connections is left out at that number."""
    absent: dict[str, str] = {}
    failed: set[tuple[str, int]] = set()
    samples: list[Sample] = []
    with ExitStack() as stack:
        running = list(_started(stack, workload, folder, names, absent, progress))
        for number in range(rounds + 1):
            for server, targets in running:
                with _awake(server):
                    for target, connections in itertools.product(targets, workload.connections):
                        if (target.contestant, connections) in failed:
                            continue
                        progress(f"{workload.name}, round {number} of {rounds}: {target.contestant} at {connections}")
                        try:
                            # Round 0 warms up and is thrown away.
                            sample = _sample(number, server, target, connections, seconds if number else 1)
                        except BenchmarkFailed as error:
                            absent[f"{target.contestant} at {connections} connections"] = error.message
                            failed.add((target.contestant, connections))
                            continue
                        samples += [sample] if number else []
    kept = tuple(sample for sample in samples if (sample.contestant, sample.connections) not in failed)
    return Result(workload.name, workload.title, tuple(_cells(kept)), absent, kept)


@contextmanager
def _awake(server: Server) -> Iterator[None]:
    """A paused server goes on for the block."""
    server.resume()
    # Timers that ran out meanwhile are late now, all at once.
    time.sleep(AWAKE_S)
    try:
        yield
    finally:
        server.pause()


def _started(
    stack: ExitStack, workload: Workload, folder: Path, names: Sequence[str], absent: dict[str, str], progress: Progress
) -> Iterator[tuple[Server, list[Target]]]:
    """Those that take part, each paused as soon as it answers."""
    expected = BareOnnx(workload.model.path, workload.threads).run(workload.model.row)
    for name in names:
        if reason := NOT_COMPARED.get((name, workload.name)):
            absent[name] = reason
            continue
        progress(f"{workload.name}: starting {name}")
        installed = environment(name) if name in REQUIREMENTS else None
        if installed is not None and installed.python is None:
            absent[name] = f"not installed: {installed.reason}"
            continue
        place = folder / name.replace(", ", "-").replace(" ", "-")
        place.mkdir()
        try:
            server, targets = stack.enter_context(CONTESTANTS[name](workload, place, installed))
        except (BenchmarkFailed, OSError, StopIteration) as error:
            absent[name] = f"not started: {error}"
            continue
        wrong = {target.contestant: _difference(target, expected) for target in targets}
        absent |= {contestant: difference for contestant, difference in wrong.items() if difference}
        server.pause()
        if right := [target for target in targets if target.contestant not in absent]:
            yield server, right


def _difference(target: Target, expected: np.ndarray) -> str | None:
    if target.contestant == "granian echo":
        return None
    got = target.ask()
    if got.shape != expected.shape:
        return f"answered a shape of {got.shape} instead of {expected.shape}"
    difference = float(np.abs(expected - got).max() / np.abs(expected).max())
    return None if difference <= TOLERANCE else f"its answer differs from bare ONNX Runtime's by {difference:.1e}"


def _sample(number: int, server: Server, target: Target, connections: int, seconds: int) -> Sample:
    paths = target.paths if len(target.paths) > 1 else ()
    before = server.cpu_s()
    load = run_load(
        target.base + target.paths[0], target.body, connections=connections, duration_s=seconds, paths=paths
    )
    cpu_s = server.cpu_s() - before
    return Sample(
        round=number,
        contestant=target.contestant,
        connections=connections,
        requests_per_s=load.requests / (load.duration_us / 1e6),
        p50_ms=load.p50_us / 1000,
        p99_ms=load.p99_us / 1000,
        cpu_us=1e6 * cpu_s / load.requests,
        memory_mib=server.memory_mib(),
    )


def _cells(samples: Sequence[Sample]) -> Iterator[Cell]:
    seen = dict.fromkeys((sample.contestant, sample.connections) for sample in samples)
    for contestant, connections in seen:
        own = [s for s in samples if (s.contestant, s.connections) == (contestant, connections)]
        rates = [sample.requests_per_s for sample in own]
        yield Cell(
            contestant=contestant,
            connections=connections,
            requests_per_s=statistics.median(rates),
            least=min(rates),
            most=max(rates),
            p50_ms=statistics.median(sample.p50_ms for sample in own),
            p99_ms=statistics.median(sample.p99_ms for sample in own),
            cpu_us=statistics.median(sample.cpu_us for sample in own),
            memory_mib=statistics.median(sample.memory_mib for sample in own),
        )
