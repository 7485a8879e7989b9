"""What a gateway tells the controller of what it has counted: with each heartbeat, what is new."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from serve.lanes import LoadedVersion
from serve.memory import used_bytes
from serve.metrics.counts import GatewayCounts, Present, Refusals, VersionReport
from serve.routing import VersionKey
from serve.statistics import VersionStatistics

KEPT_S = 1200.0
"""How long figures of a version are kept that is not loaded any more. The controller forgets them before."""


class Tally:
    """One gateway's. `counted` are the versions that it has counted something of, `loaded` those that are there now;
    `refusals` is what its `RequestCounter` counts."""

    def __init__(
        self,
        counted: dict[VersionKey, VersionStatistics],
        loaded: Mapping[VersionKey, LoadedVersion],
        refusals: Refusals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counted = counted
        self._loaded = loaded
        self._refusals = refusals
        self._clock = clock
        self._gone_at: dict[VersionKey, float] = {}
        self._told: list[VersionStatistics] = []
        """Of the report that is on its way."""
        self._refused = 0
        self._told_refused = 0

    def report(self) -> bytes:
        """What is new since the last report that arrived; those before it did not, unless `arrived` was called."""
        self._mark(self._told)
        self._forget_gone()
        told, self._told = [(key, each) for key, each in self._counted.items() if each.changed], []
        versions = []
        for (model, version), statistics in told:
            statistics.changed = False
            self._told.append(statistics)
            versions.append(VersionReport(model, version, statistics.life, statistics.counts()))
        self._told_refused = sum(self._refusals.values())
        refusals = self._refusals if self._told_refused != self._refused else None
        return GatewayCounts(versions, refusals, list(self._present()), used_bytes()).encoded()

    def arrived(self) -> None:
        """The last report has come to the controller."""
        self._told.clear()
        self._refused = self._told_refused

    def start_over(self) -> None:
        """The controller is another one, which knows nothing yet."""
        self._mark(self._counted.values())
        self._refused = 0

    def _mark(self, versions: Iterable[VersionStatistics]) -> None:
        for statistics in versions:
            statistics.changed = True

    def _present(self) -> Iterable[Present]:
        for key, version in self._loaded.items():
            in_flight, rows = version.statistics.in_flight, version.waiting_rows
            if in_flight or rows:
                yield Present(*key, in_flight, rows)

    def _forget_gone(self) -> None:
        now = self._clock()
        gone = self._counted.keys() - self._loaded.keys()
        self._gone_at = {key: self._gone_at.get(key, now) for key in gone}
        for key in [key for key, gone_at in self._gone_at.items() if now - gone_at > KEPT_S]:
            if not self._counted[key].in_flight:
                del self._counted[key], self._gone_at[key]
