"""What is noted of a request on its way: which version it was for, when it came to each stage, and how it ended.

Front doors make a record for each request, it travels in `InferenceRequest.record`, and a `Recorder` gets it at the
end. All times are `time.perf_counter_ns()` of this process: the clock of uvloop's loops has whole milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from serve.statistics import VersionStatistics

ANSWERED = ""
CANCELLED = "cancelled"
"""Outcomes of requests. Any other is the kind of error, or `status N` for an answer of HTTP that is one."""


class BatchRecord(msgspec.Struct, gc=False):
    """A batch, shared by the records of its requests. `ended_ns` is 0 while it runs."""

    rows: int
    began_ns: int
    ended_ns: int = 0


class RequestRecord(msgspec.Struct, gc=False):
    """A time is 0 for a stage that the request has not come to.

    `dialect` is the short name of its protocol. `received_ns` is when the request was whole, `decoded_ns` when the
    dialect had read it, `queued_ns` when it began to wait for a batch, `encoded_ns` when its answer, or refusal, was
    there to be written. `batch` is the first that took rows of it, None for an answer from the cache; `further` are
    those of a large request, or of one whose batch was lost or failed and that ran again.

    It refers to nothing that refers to it, so the collector need not look at it.
    """

    dialect: str
    received_ns: int
    decoded_ns: int = 0
    queued_ns: int = 0
    encoded_ns: int = 0
    batch: BatchRecord | None = None
    further: tuple[BatchRecord, ...] = ()
    statistics: VersionStatistics | None = None
    """Of the version that was found for it."""
    model: str = ""
    """Where none was found, the model that it names, if that is one of the routing table."""
    outcome: str = ANSWERED

    @property
    def batches(self) -> tuple[BatchRecord, ...]:
        """All of them, in order."""
        return () if self.batch is None else (self.batch, *self.further)


class Recorder(Protocol):
    """Takes the records of requests that have ended."""

    def end(self, record: RequestRecord, outcome: str = ANSWERED) -> None:
        """The request has ended now; sets `encoded_ns` and `outcome`."""
