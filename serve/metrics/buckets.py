"""Histograms with fixed buckets, as Prometheus has them: plain numbers that can be sent and added up.

Not locked: each is written by one event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

DURATION_BOUNDS_S = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""The largest values of the buckets of `Durations`; one more bucket takes what is longer."""

DURATION_BOUNDS_NS = tuple(round(bound * 1e9) for bound in DURATION_BOUNDS_S)
_NO_DURATIONS = [0] * (len(DURATION_BOUNDS_NS) + 1)

ROW_BOUNDS = tuple(1 << power for power in range(11))
"""1, 2, 4 to 1024 rows."""

FILL_BOUNDS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
"""Rows of a batch, as a share of the most that it may have."""


class Durations(msgspec.Struct, array_like=True):
    """How many took how long: `counts` by bucket, and nanoseconds of all."""

    counts: list[int] = msgspec.field(default_factory=_NO_DURATIONS.copy)
    ns: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return sum(self.counts)

    def add(self, ns: int) -> None:
        """One more that took `ns`."""
        self.counts[bisect_left(DURATION_BOUNDS_NS, ns)] += 1
        self.ns += ns

    def merge(self, other: Durations) -> None:
        """Takes in those of another one."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.ns += other.ns


class Sizes(msgspec.Struct, array_like=True):
    """How many were how large: `counts` by bucket, one more than there are bounds, and the sum of all."""

    counts: list[int]
    total: float = 0

    @classmethod
    def within(cls, bounds: Sequence[float]) -> Sizes:
        """None yet, for these bounds."""
        return cls([0] * (len(bounds) + 1))

    def add(self, value: float, bounds: Sequence[float], times: int = 1) -> None:
        """One more, or several of the same size."""
        self.counts[bisect_left(bounds, value)] += times
        self.total += value * times

    def merge(self, other: Sizes) -> None:
        """Takes in those of another one."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def add_counts(counts: dict[str, int], others: dict[str, int]) -> None:
    """Adds other counts to `counts`, name by name."""
    for name, count in others.items():
        counts[name] = counts.get(name, 0) + count
