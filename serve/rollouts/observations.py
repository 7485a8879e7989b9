"""What gateways have seen of models whose calls several versions share, or get copies of: plain data for their reports,
and the sum over gateways that the controller makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import msgspec

from model_store.errors import Forbidden, InvalidInput, ModelNotFound, Unsupported
from serve.metrics.buckets import add_counts
from serve.rollouts.comparison import Comparison
from serve.rollouts.histogram import Histogram
from serve.routing import ModelRoute, VersionKey

PairKey = tuple[str, int, int]
"""Model, version that answered, version that got the copy."""

CLIENTS_FAULTS = (InvalidInput, ModelNotFound, Unsupported, Forbidden)
"""Kinds of error that say nothing of a version by themselves: another one may have taken the same call."""

MOST_GATEWAYS = 256
"""Gateways, living and gone, whose figures are kept apart; those of the others are one sum."""


class VersionCounters(msgspec.Struct):
    """A version's share of the calls that name none. `requests` are those that it answered or failed to; `faults` are
    the kinds of error that were not their caller's fault; `latency` is that of answers, in nanoseconds. `refused` are
    further calls, for what it took for their caller's fault."""

    requests: int = 0
    faults: dict[str, int] = {}
    latency: Histogram = msgspec.field(default_factory=Histogram)
    refused: int = 0

    def count_answer(self, ns: int) -> None:
        """One more answer, after so long."""
        self.requests += 1
        self.latency.add(ns)

    def count_fault(self, kind: str) -> None:
        """One that was not answered as it should."""
        self.requests += 1
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def merge(self, other: VersionCounters) -> None:
        """Takes in what another gateway counted."""
        self.requests += other.requests
        add_counts(self.faults, other.faults)
        self.latency.merge(other.latency)
        self.refused += other.refused

    @property
    def failed(self) -> int:
        """All faults."""
        return sum(self.faults.values())


class Observations(msgspec.Struct):
    """Counters of versions and comparisons of pairs of them, all added up since the model's route asked for it."""

    counters: dict[VersionKey, VersionCounters] = {}
    comparisons: dict[PairKey, Comparison] = {}

    def encoded(self) -> bytes:
        """As one piece: that takes a sixtieth of the time of a copy, which each heartbeat would need."""
        return msgspec.msgpack.encode(self)

    def merge(self, other: Observations) -> None:
        """Takes in what another gateway saw."""
        for key, counters in other.counters.items():
            self.counters.setdefault(key, VersionCounters()).merge(counters)
        for pair, comparison in other.comparisons.items():
            self.comparisons.setdefault(pair, Comparison(comparison.since_ms)).merge(comparison)

    def keep(self, counters: Iterable[VersionKey], pairs: Iterable[PairKey]) -> None:
        """Forgets all else."""
        self.counters = {key: self.counters[key] for key in counters if key in self.counters}
        self.comparisons = {pair: self.comparisons[pair] for pair in pairs if pair in self.comparisons}


def decoded(report: bytes) -> Observations:
    """What `Observations.encoded` gave; nothing for an empty report."""
    return msgspec.msgpack.decode(report, type=Observations) if report else Observations()


def watched_keys(model: str, route: ModelRoute) -> list[VersionKey]:
    """The versions of a route whose calls are counted."""
    return [(model, version) for version, _ in route.split]


def watched_pairs(model: str, route: ModelRoute) -> list[PairKey]:
    """The versions of a route that are compared."""
    return [
        (model, reference, version)
        for reference, _ in route.split
        for version, _ in route.shadows
        if version != reference
    ]


def is_clients_fault(error: BaseException) -> bool:
    """Whether an error says nothing of the version that was asked, by itself."""
    return isinstance(error, CLIENTS_FAULTS)


class Observatory:
    """What all gateways have seen. They may go and new ones come: what they reported counts on.

    Figures live as long as the table's route asks for them: a version that becomes a shadow again begins anew.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Observations] = {}
        self._gone = Observations()
        self._since: dict[tuple[str | int, ...], int] = {}
        """What is watched -> the first table that asked for it: what gateways with older ones say is of an earlier
        life."""

    def follow(self, number: int, routes: dict[str, ModelRoute]) -> None:
        """Takes over a new table's routes."""
        watched = [(model, route) for model, route in routes.items() if route.is_watched]
        keys = [key for model, route in watched for key in watched_keys(model, route)]
        pairs = [pair for model, route in watched for pair in watched_pairs(model, route)]
        known = self._since
        self._since = {key: known.get(key, number) for key in keys} | {pair: known.get(pair, number) for pair in pairs}
        for seen in (*self._latest.values(), self._gone):
            seen.keep(keys, pairs)

    def hear(self, gateway: str, table: int, seen: Observations) -> None:
        """A gateway's newest figures, which include its earlier ones."""
        seen.keep(
            [key for key in seen.counters if self._since.get(key, table + 1) <= table],
            [pair for pair in seen.comparisons if self._since.get(pair, table + 1) <= table],
        )
        self._latest.pop(gateway, None)
        self._latest[gateway] = seen
        if len(self._latest) > MOST_GATEWAYS:
            self._gone.merge(self._latest.pop(next(iter(self._latest))))

    def total(self) -> Observations:
        """The sum over all gateways."""
        total = deepcopy(self._gone)
        for seen in self._latest.values():
            total.merge(seen)
        return total
