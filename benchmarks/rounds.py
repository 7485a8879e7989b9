"""Interleaved rounds: in each round everybody is measured once after the other, so that what the machine does
meanwhile meets all of them. What the numbers mean is `summary.py`'s."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from benchmarks.bare import BareOnnx
from benchmarks.client import run_load
from benchmarks.contestants import Contestant
from benchmarks.models import BenchmarkModel

BARE = "bare"
ALONE = "bare alone"
"""Bare ONNX Runtime while no server is up: what the servers' own idle work takes from the other."""


class Sample(msgspec.Struct, frozen=True):
    """One measurement. Latencies are those of a request, or of a call of bare ONNX Runtime with its whole batch."""

    round: int
    contestant: str
    connections: int
    """0 for bare ONNX Runtime."""
    batch: int
    """Rows of a request or call."""
    rows: int
    duration_s: float
    rows_per_s: float
    p50_ms: float
    p99_ms: float


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int
    duration_s: int
    """Of each measurement."""
    warm_up_s: int
    many: int
    """Connections that keep a server busy."""
    batches: tuple[int, ...]
    """Of bare ONNX Runtime; the first is that of the request."""

    @property
    def loads(self) -> tuple[int, int]:
        """Numbers of connections that every server is measured with."""
        return (self.many, 1)


def measure(
    plan: Plan,
    model: BenchmarkModel,
    bare: BareOnnx,
    contestants: Sequence[Contestant],
    progress: Callable[[str], None],
) -> list[Sample]:
    """All rounds. Raises `BenchmarkFailed` when an answer or a connection is an error."""
    for contestant in contestants:
        progress(f"warming up {contestant.name}")
        run_load(contestant.url, model.body, connections=plan.many, duration_s=plan.warm_up_s)
    samples: list[Sample] = []
    for number in range(1, plan.rounds + 1):
        progress(f"round {number} of {plan.rounds}: bare ONNX Runtime")
        samples += [_bare_sample(BARE, number, plan, model, bare, batch) for batch in plan.batches]
        for connections in plan.loads:
            for contestant in contestants:
                progress(f"round {number} of {plan.rounds}: {contestant.name} at {connections}")
                samples.append(_server_sample(number, plan, model, contestant, connections))
    return samples


def measure_alone(plan: Plan, model: BenchmarkModel, bare: BareOnnx, number: int) -> Sample:
    """Bare ONNX Runtime at the batch of the request, for when no server is up. It is no part of a round: `number` tells
    before (0) from after."""
    bare.run_for(plan.warm_up_s, model.row, plan.batches[0])
    return _bare_sample(ALONE, number, plan, model, bare, plan.batches[0])


def _bare_sample(name: str, number: int, plan: Plan, model: BenchmarkModel, bare: BareOnnx, batch: int) -> Sample:
    calls = bare.run_for(plan.duration_s, model.row, batch)
    return Sample(
        round=number,
        contestant=name,
        connections=0,
        batch=batch,
        rows=calls.rows,
        duration_s=calls.duration_s,
        rows_per_s=calls.rows / calls.duration_s,
        p50_ms=calls.p50_ms,
        p99_ms=calls.p99_ms,
    )


def _server_sample(number: int, plan: Plan, model: BenchmarkModel, contestant: Contestant, connections: int) -> Sample:
    load = run_load(contestant.url, model.body, connections=connections, duration_s=plan.duration_s)
    duration_s = load.duration_us / 1e6
    return Sample(
        round=number,
        contestant=contestant.name,
        connections=connections,
        batch=len(model.row),
        rows=load.requests * len(model.row),
        duration_s=duration_s,
        rows_per_s=load.requests * len(model.row) / duration_s,
        p50_ms=load.p50_us / 1000,
        p99_ms=load.p99_us / 1000,
    )
