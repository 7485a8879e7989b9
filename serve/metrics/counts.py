"""What gateways count, as plain data: for their reports, and for the sums that the controller makes of them.

All figures are added up since the gateway that counts them started.
"""

from __future__ import annotations

import msgspec

from serve.metrics.buckets import FILL_BOUNDS, ROW_BOUNDS, Durations, Sizes, add_counts

Refusals = dict[tuple[str, str, str], int]
"""Model, which is empty for a name that is none of the table's, dialect and kind of error -> requests for which no
version was found."""


class RequestCounts(msgspec.Struct, array_like=True):
    """Requests of one dialect for a version. `took` is of all that ended but `cancelled` ones, from when a request was
    whole until its answer, or refusal, was there to be written; `errors` are those of them that failed, by kind, and
    `failed_ns` what these took."""

    took: Durations = msgspec.field(default_factory=Durations)
    errors: dict[str, int] = {}
    failed_ns: int = 0
    cancelled: int = 0

    @property
    def failed(self) -> int:
        """All errors."""
        return sum(self.errors.values())

    def merge(self, other: RequestCounts) -> None:
        """Takes in those of another gateway."""
        self.took.merge(other.took)
        add_counts(self.errors, other.errors)
        self.failed_ns += other.failed_ns
        self.cancelled += other.cancelled


class VersionCounts(msgspec.Struct, array_like=True):
    """A version. `requests` are by dialect, `queue` is what requests waited for a batch, `batch`, `batch_rows` and
    `fill` tell of batches; `hits` and `misses` are look-ups in the cache, with the nanoseconds that they took."""

    requests: dict[str, RequestCounts] = {}
    rows: int = 0
    queue: Durations = msgspec.field(default_factory=Durations)
    batch: Durations = msgspec.field(default_factory=Durations)
    batch_rows: Sizes = msgspec.field(default_factory=lambda: Sizes.within(ROW_BOUNDS))
    fill: Sizes = msgspec.field(default_factory=lambda: Sizes.within(FILL_BOUNDS))
    hits: int = 0
    hits_ns: int = 0
    misses: int = 0
    misses_ns: int = 0

    def merge(self, other: VersionCounts) -> None:
        """Takes in those of another gateway."""
        for dialect, counts in other.requests.items():
            self.requests.setdefault(dialect, RequestCounts()).merge(counts)
        self.rows += other.rows
        self.queue.merge(other.queue)
        self.batch.merge(other.batch)
        self.batch_rows.merge(other.batch_rows)
        self.fill.merge(other.fill)
        self.hits += other.hits
        self.hits_ns += other.hits_ns
        self.misses += other.misses
        self.misses_ns += other.misses_ns


class VersionReport(msgspec.Struct, array_like=True):
    """What a gateway has counted of a version. `life` is another number where it has begun anew."""

    model: str
    version: int
    life: int
    counts: VersionCounts


class Present(msgspec.Struct, array_like=True):
    """What there is of a version in a gateway now: requests that have not ended, and rows that no batch has taken."""

    model: str
    version: int
    in_flight: int
    waiting_rows: int


class GatewayCounts(msgspec.Struct, array_like=True):
    """A gateway's report: the versions of which something was counted since the last one that arrived, `refusals` where
    there are new ones, what is there now, and the memory that the process takes."""

    versions: list[VersionReport] = []
    refusals: Refusals | None = None
    present: list[Present] = []
    memory_bytes: int = 0

    def encoded(self) -> bytes:
        """As one piece."""
        return msgspec.msgpack.encode(self)


def decoded(report: bytes) -> GatewayCounts:
    """What `GatewayCounts.encoded` gave; nothing for an empty report."""
    return msgspec.msgpack.decode(report, type=GatewayCounts) if report else GatewayCounts()
