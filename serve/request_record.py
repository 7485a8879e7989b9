"""What is noted of a request on its way: which version it was for, when it came to each stage, and how it ended.

Front doors make a record for each request, it travels in `InferenceRequest.record`, and a `Recorder` gets it at the
end. All times are `time.perf_counter_ns()` of this process: the clock of uvloop's loops has whole milliseconds.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

import msgspec

from serve.asking import Asked
from serve.tracing.context import TraceContext

if TYPE_CHECKING:
    from serve.statistics import VersionStatistics

ANSWERED = ""
CANCELLED = "cancelled"
"""Outcomes of requests. Any other is the kind of error, or `status N` for an answer of HTTP that is one."""


class HopRecord(msgspec.Struct, gc=False):
    """A batch's way to one server and back; `ended_ns` is 0 while it is under way. `outcome` is the kind of error, or
    empty. `away` is what a replica says of it, in nanoseconds since it had the batch: when the runtime began, when it
    had ended, and when the answer was written."""

    server: str
    span_id: str
    headers: tuple[tuple[str, str], ...]
    """What the server is told of the trace."""
    began_ns: int
    ended_ns: int = 0
    outcome: str = ANSWERED
    away: tuple[int, int, int] | None = None


HOP: ContextVar[HopRecord | None] = ContextVar("hop", default=None)
"""The hop that is being made; set where traces are."""


class BatchRecord(msgspec.Struct, gc=False):
    """A batch, shared by the records of its requests. `ended_ns` is 0 while it runs.

    `requests` are those that somebody waits for, `hops` the servers that it was sent to. `run_began_ns` and
    `run_ended_ns` say when the runtime had it, where that is a part of the time. Once there is a span of it, `trace_id`
    and `span_id` are its own, and `parent_id` that of the request in whose trace it is.
    """

    rows: int
    began_ns: int
    ended_ns: int = 0
    requests: tuple[Asked, ...] = ()
    hops: tuple[HopRecord, ...] = ()
    run_began_ns: int = 0
    run_ended_ns: int = 0
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""

    @property
    def traced(self) -> bool:
        """Whether traces are made here."""
        return bool(self.requests) and self.requests[0].traced

    @property
    def trace(self) -> TraceContext | None:
        """The trace that it is part of, before it is known what becomes of its requests: that of the first one which
        is kept in any case, or which has one at all."""
        traces = [asked.trace for asked in self.requests if asked.trace is not None]
        return next((trace for trace in traces if trace.sampled), traces[0] if traces else None)


BATCH: ContextVar[BatchRecord | None] = ContextVar("batch", default=None)
"""The batch that is being run."""


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
    asked: Asked = msgspec.field(default_factory=Asked)
    """Whose it is."""

    @property
    def batches(self) -> tuple[BatchRecord, ...]:
        """All of them, in order."""
        return () if self.batch is None else (self.batch, *self.further)


class Recorder(Protocol):
    """Takes the records of requests that have ended."""

    def end(self, record: RequestRecord, outcome: str = ANSWERED) -> None:
        """The request has ended now; sets `encoded_ns` and `outcome`."""
