"""From samples to what is claimed: medians, ratios, and which bars are reached.

A ratio is taken within each round, between neighbours in time, and then the median over the rounds: a machine that is
slower for a while is so for both sides.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.rounds import ALONE, BARE, Plan, Sample

RAY_SERVE = "ray serve"


class Spread(msgspec.Struct, frozen=True):
    """A figure over all rounds."""

    median: float
    least: float
    most: float


class Row(msgspec.Struct, frozen=True):
    """All that is said of one contestant (or batch of bare ONNX Runtime). Latencies are [p50, p99] in milliseconds,
    medians over the rounds; for bare ONNX Runtime, a call's."""

    contestant: str
    batch: int
    rows_per_s: Spread
    times_ray_serve: Spread | None
    share_of_bare: Spread
    """Of bare ONNX Runtime at the batch of the request."""
    share_of_best_bare: Spread
    """Of bare ONNX Runtime at its fastest batch."""
    ms_at_many: tuple[float, float]
    ms_at_one: tuple[float, float] | None


class Bar(msgspec.Struct, frozen=True):
    """Something that has to be reached."""

    claim: str
    wanted: float
    measured: Spread
    reached: bool
    """By the median of the rounds."""


class Summary(msgspec.Struct, frozen=True):
    """What is claimed of one model."""

    rows: list[Row]
    bars: list[Bar]
    best_batch: int
    """The batch at which bare ONNX Runtime is fastest."""


def summarise(plan: Plan, samples: Sequence[Sample]) -> Summary:
    """Medians and ratios of all contestants, in the order of the samples."""
    table = _Table(plan, samples)
    servers = list(dict.fromkeys(sample.contestant for sample in samples if sample.connections))
    rows = [table.row(ALONE, 0, plan.batches[0]), *(table.row(BARE, 0, batch) for batch in plan.batches)]
    rows += [table.row(server, plan.many, plan.batches[0]) for server in servers]
    bars = _bars_beside_ray_serve(table) if RAY_SERVE in servers else _bars_beside_bare(table)
    return Summary(rows, bars, table.best_batch)


class _Table:
    """Samples by contestant, connections and batch; lists are in the order of the rounds."""

    def __init__(self, plan: Plan, samples: Sequence[Sample]) -> None:
        self._samples: dict[tuple[str, int, int], list[Sample]] = {}
        for sample in sorted(samples, key=lambda sample: sample.round):
            key = (sample.contestant, sample.connections, sample.batch)
            self._samples.setdefault(key, []).append(sample)
        self._plan = plan
        self.request = plan.batches[0]
        self.best_batch = max(plan.batches, key=lambda batch: statistics.median(self.rates(BARE, 0, batch)))

    def rates(self, contestant: str, connections: int, batch: int) -> list[float]:
        return [sample.rows_per_s for sample in self._samples.get((contestant, connections, batch), [])]

    def busy_rates(self, server: str) -> list[float]:
        return self.rates(server, self._plan.many, self.request)

    def bare_rates(self) -> list[float]:
        return self.rates(BARE, 0, self.request)

    def p50s_ms(self, contestant: str, connections: int) -> list[float]:
        return [sample.p50_ms for sample in self._samples[contestant, connections, self.request]]

    def row(self, contestant: str, connections: int, batch: int) -> Row:
        rates = self.rates(contestant, connections, batch)
        ray_rates = self.busy_rates(RAY_SERVE)
        return Row(
            contestant,
            batch,
            _spread(rates),
            ratio(rates, ray_rates) if ray_rates else None,
            ratio(rates, self.bare_rates()),
            ratio(rates, self.rates(BARE, 0, self.best_batch)),
            self._latencies_ms(contestant, connections, batch),
            self._latencies_ms(contestant, 1, batch) if connections else None,
        )

    def _latencies_ms(self, contestant: str, connections: int, batch: int) -> tuple[float, float]:
        samples = self._samples[contestant, connections, batch]
        p50_ms = statistics.median(sample.p50_ms for sample in samples)
        return p50_ms, statistics.median(sample.p99_ms for sample in samples)


def ratio(numbers: Sequence[float], references: Sequence[float]) -> Spread:
    """Each round's number over the same round's reference; over the median reference for what is no part of a round."""
    if len(numbers) != len(references):
        references = [statistics.median(references)] * len(numbers)
    return _spread([number / reference for number, reference in zip(numbers, references, strict=True)])


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def _bar(claim: str, wanted: float, measured: Spread) -> Bar:
    return Bar(claim, wanted, measured, reached=measured.median >= wanted)


def _bars_beside_ray_serve(table: _Table) -> list[Bar]:
    reference = table.busy_rates(RAY_SERVE)
    latency = ratio(table.p50s_ms(RAY_SERVE, 1), table.p50s_ms("inline", 1))
    return [
        _bar("inline, requests/s over Ray Serve's", 100, ratio(table.busy_rates("inline"), reference)),
        _bar("replicas, requests/s over Ray Serve's", 60, ratio(table.busy_rates("replicas"), reference)),
        _bar("Ray Serve's p50 at one connection over inline's", 15, latency),
    ]


def _bars_beside_bare(table: _Table) -> list[Bar]:
    best = table.rates(BARE, 0, table.best_batch)
    return [
        _bar(
            f"{server}, requests/s over bare ONNX Runtime's at its best batch",
            0.96,
            ratio(table.busy_rates(server), best),
        )
        for server in ("inline", "replicas")
    ]
