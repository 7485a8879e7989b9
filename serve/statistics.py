"""What a gateway has counted of one version since it started. Times are nanoseconds, all added up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from serve.metrics.buckets import FILL_BOUNDS, ROW_BOUNDS, Durations, Sizes
from serve.metrics.counts import RequestCounts, VersionCounts

BATCH_SIZES = 256
"""Sizes of batches that are told apart. A version whose requests are never merged takes any number of rows in one, and
clients must not decide how much is kept here."""


@dataclass(slots=True)
class Duration:
    """How often something took place, and how long all of them took."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """One more that took `ns`."""
        self.count += 1
        self.ns += ns


@dataclass(slots=True)
class VersionStatistics:
    """Counters of one version (Open Inference's `statistics` extension has the same ones).

    `success` and `fail` are whole requests, the queue included, `queue` the time until a batch took a request's first
    rows, `compute` the batches themselves by number of rows. Answers from the cache count in `success` and `cache_hit`,
    and in neither `rows` nor `compute`. `requests` are those of front doors, by dialect: whole from their last byte
    until their answer was encoded.
    """

    model: str
    version: str
    last_inference_ms: int = 0
    """Of the newest request, in milliseconds since 1970; 0 where there was none."""
    rows: int = 0
    """Rows of all requests that batches were made of."""
    unrecorded_success: Duration = field(default_factory=Duration)
    """Of requests that no front door records."""
    unrecorded_fail: Duration = field(default_factory=Duration)
    cancelled: Duration = field(default_factory=Duration)
    queue: Durations = field(default_factory=Durations)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    compute: dict[int, Duration] = field(default_factory=dict)
    """Rows of a batch -> the batches of that size."""
    batch: Durations = field(default_factory=Durations)
    fill: Sizes = field(default_factory=lambda: Sizes.within(FILL_BOUNDS))
    """Rows of batches, as a share of the most that they might have."""
    requests: dict[str, RequestCounts] = field(default_factory=dict)
    begun: int = 0
    """Recorded requests for which this version was found."""
    changed: bool = True
    """Something was counted since this was last told (`serve/metrics/tally.py`)."""
    life: int = 0
    """Tells it from an earlier one of the same version in this gateway."""

    # What can be known from the rest is not counted: each number would cost every request as much again.

    @property
    def success(self) -> Duration:
        """All requests that were answered."""
        recorded, answered = self.requests.values(), self.unrecorded_success
        count = sum(counts.took.count - counts.failed for counts in recorded)
        ns = sum(counts.took.ns - counts.failed_ns for counts in recorded)
        return Duration(answered.count + count, answered.ns + ns)

    @property
    def fail(self) -> Duration:
        """All requests that were refused, or failed."""
        recorded, failed = self.requests.values(), self.unrecorded_fail
        count, ns = sum(counts.failed for counts in recorded), sum(counts.failed_ns for counts in recorded)
        return Duration(failed.count + count, failed.ns + ns)

    @property
    def in_flight(self) -> int:
        """Recorded requests that have not ended."""
        return self.begun - sum(counts.took.count + counts.cancelled for counts in self.requests.values())

    @property
    def batches(self) -> int:
        """How many batches ran."""
        return sum(duration.count for duration in self.compute.values())

    @property
    def busy_s(self) -> float:
        """How long all batches took together."""
        return sum(duration.ns for duration in self.compute.values()) / 1e9

    @property
    def idle_s(self) -> float | None:
        """Seconds since the last batch ended; None where none did."""
        return max(0.0, time.time() - self.last_inference_ms / 1000) if self.last_inference_ms else None

    def count_batch(self, rows: int, ns: int, limit: int = 1, *, used: bool = True) -> None:
        """A batch of `rows` rows, of at most `limit`, took `ns` in the executor. `used` says that somebody waited for
        one of its requests; what they waited is counted in `queue`.

        A size that is new when there are many goes to the next power of two.
        """
        if used:
            self.last_inference_ms = int(time.time() * 1000)
        self.changed = True
        self.rows += rows
        self.batch.add(ns)
        self.fill.add(rows / limit, FILL_BOUNDS)
        size = self.compute.get(rows) or self._new_size(rows)
        size.count += 1
        size.ns += ns

    def counts(self) -> VersionCounts:
        """All of it as data; to be used before more is counted: it is not copied."""
        batch_rows = Sizes.within(ROW_BOUNDS)
        for rows, batches in self.compute.items():
            batch_rows.add(rows, ROW_BOUNDS, batches.count)
        # Sizes that were rounded would add up to more.
        batch_rows.total = self.rows
        hit, miss = self.cache_hit, self.cache_miss
        return VersionCounts(
            self.requests,
            self.rows,
            self.queue,
            self.batch,
            batch_rows,
            self.fill,
            hit.count,
            hit.ns,
            miss.count,
            miss.ns,
        )

    def _new_size(self, rows: int) -> Duration:
        if len(self.compute) >= BATCH_SIZES:
            rows = 1 << max(rows - 1, 0).bit_length()
        return self.compute.setdefault(rows, Duration())
