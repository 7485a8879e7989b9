"""Spans, made of the records of requests that have ended.

A request has a server span with `decode`, `queue` and `encode` in it. Its batch is one span for all its requests: it
stands in the trace of one of them, with links to the others that were kept, and their `queue` links to it. In it is
`run`, or a `hop` for each server that the batch was sent to, with the replica's `run` inside.

Names of attributes follow OpenTelemetry's semantic conventions for HTTP and RPC; those of our own begin with `onegate`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from serve.asking import Asked
from serve.request_record import ANSWERED, CANCELLED, BatchRecord, HopRecord, RequestRecord
from serve.tracing.context import TraceContext, begun, new_span_id
from serve.tracing.tracer import Kept
from serve.version import VERSION

_SCOPE = InstrumentationScope("onegate", VERSION)

_FLAGS = TraceFlags(TraceFlags.SAMPLED)

_SERVER_ERRORS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
"""Codes of gRPC that are the server's fault, as the conventions have it; all others are told in attributes alone."""


class SpanMaker:
    """Makes the spans of one gateway, whose attributes are `resource`."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        self._resource = Resource.create(dict(resource))
        self._to_unix_ns = 0

    def spans(self, kept: Iterable[Kept]) -> list[ReadableSpan]:
        """The spans of some requests, each batch once."""
        kept = list(kept)
        # Anew each time: the clock of the records is not set, the other is.
        self._to_unix_ns = time.time_ns() - time.perf_counter_ns()
        spans: list[ReadableSpan] = []
        batches: dict[int, tuple[BatchRecord, list[RequestRecord]]] = {}
        for each in kept:
            record = each.record
            _ensure_trace(record.asked)
            for batch in record.batches:
                batches.setdefault(id(batch), (batch, []))[1].append(record)
        for batch, records in batches.values():
            spans += self._batch(batch, records)
        for each in kept:
            spans += self._request(each)
        return spans

    def _request(self, kept: Kept) -> Iterable[ReadableSpan]:
        record = kept.record
        trace = _trace_of(record)
        begun_ns, ended_ns = record.received_ns, record.encoded_ns
        yield self._span(
            f"infer {record.statistics.model}" if record.statistics is not None else "infer",
            trace,
            trace.span_id,
            trace.parent_id,
            (begun_ns, ended_ns),
            kind=SpanKind.SERVER,
            attributes=_attributes(record, kept.why),
            status=_status(record),
        )

        def part(name: str, begin_ns: int, end_ns: int, links: list[Link] | None = None) -> ReadableSpan:
            times = (begin_ns, end_ns)
            return self._span(name, trace, new_span_id(), trace.span_id, times, links=links or [])

        decoded_ns, queued_ns = record.decoded_ns, record.queued_ns
        if decoded_ns:
            yield part("decode", begun_ns, decoded_ns)
        batches = record.batches
        if queued_ns:
            links = [_link(batch.trace_id, batch.span_id) for batch in batches if batch.parent_id != trace.span_id]
            yield part("queue", queued_ns, batches[0].began_ns if batches else ended_ns, links)
        if record.outcome == ANSWERED:
            computed_ns = max((batch.ended_ns for batch in batches), default=decoded_ns)
            yield part("encode", computed_ns or ended_ns, ended_ns)

    def _batch(self, batch: BatchRecord, records: list[RequestRecord]) -> Iterable[ReadableSpan]:
        if batch.trace_id:
            # Told of before, with another request: this one links to it.
            return
        owner = batch.trace
        if owner is None or not owner.sampled:
            # None is kept in any case: it goes to the first one that is after all.
            owner = _trace_of(records[0])
        batch.trace_id, batch.span_id, batch.parent_id = owner.trace_id, new_span_id(), owner.span_id
        ended_ns = batch.ended_ns or max(record.encoded_ns for record in records)
        # A caller may have several requests in one trace, so it is spans that differ.
        others = [trace for trace in map(_trace_of, records) if trace.span_id != owner.span_id]
        yield self._span(
            "batch",
            owner,
            batch.span_id,
            owner.span_id,
            (batch.began_ns, ended_ns),
            attributes={
                "onegate.batch.rows": batch.rows,
                "onegate.batch.requests": len(batch.requests),
                "onegate.batch.unfinished": not batch.ended_ns,
            },
            links=[_link(other.trace_id, other.span_id) for other in others],
        )
        if not batch.hops:
            # On the event loop the runtime has it from beginning to end.
            times = (batch.run_began_ns or batch.began_ns, batch.run_ended_ns or ended_ns)
            yield self._span("run", owner, new_span_id(), batch.span_id, times)
        for hop in batch.hops:
            yield from self._hop(hop, owner, batch.span_id, ended_ns)

    def _hop(self, hop: HopRecord, owner: TraceContext, parent_id: str, batch_ended_ns: int) -> Iterable[ReadableSpan]:
        ended_ns = hop.ended_ns or batch_ended_ns
        failed = hop.outcome != ANSWERED
        yield self._span(
            "hop",
            owner,
            hop.span_id,
            parent_id,
            (hop.began_ns, ended_ns),
            kind=SpanKind.CLIENT,
            attributes={"onegate.server": hop.server} | ({"error.type": hop.outcome} if failed else {}),
            # One that was given up, because another server was faster, is no error.
            status=Status(StatusCode.ERROR) if failed and hop.outcome != CANCELLED else Status(),
        )
        if hop.away is not None:
            yield self._span("run", owner, new_span_id(), hop.span_id, _run_within(hop, ended_ns))

    def _span(
        self,
        name: str,
        trace: TraceContext,
        span_id: str,
        parent_id: str,
        times_ns: tuple[int, int],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: list[Link] | None = None,
        status: Status | None = None,
    ) -> ReadableSpan:
        state = TraceState.from_header([trace.state]) if trace.state else None
        begin_ns, end_ns = times_ns
        return ReadableSpan(
            name,
            _context(trace.trace_id, span_id, state),
            # The caller's own span is elsewhere, those in it are here.
            _context(trace.trace_id, parent_id, state, remote=parent_id == trace.parent_id) if parent_id else None,
            self._resource,
            attributes or {},
            (),
            links or [],
            kind,
            None,
            status or Status(),
            begin_ns + self._to_unix_ns,
            max(begin_ns, end_ns) + self._to_unix_ns,
            _SCOPE,
        )


def _ensure_trace(asked: Asked) -> None:
    if asked.trace is None:
        assert asked.header is not None
        asked.trace = begun(asked.header, sampled=True)


def _trace_of(record: RequestRecord) -> TraceContext:
    assert record.asked.trace is not None
    return record.asked.trace


def _context(trace_id: str, span_id: str, state: TraceState | None = None, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, _FLAGS, state)


def _link(trace_id: str, span_id: str) -> Link:
    return Link(_context(trace_id, span_id))


def _attributes(record: RequestRecord, why: str) -> dict[str, Any]:
    asked, statistics = record.asked, record.statistics
    told: dict[str, Any] = {"onegate.dialect": record.dialect, "onegate.request_id": asked.id, "onegate.kept": why}
    if statistics is not None:
        told |= {"onegate.model": statistics.model, "onegate.version": statistics.version}
    if record.outcome != ANSWERED:
        told["error.type"] = record.outcome
    if asked.method:
        told |= {"http.request.method": asked.method, "url.path": asked.target}
        if asked.status:
            told["http.response.status_code"] = asked.status
    elif asked.target:
        told |= {"rpc.system.name": "grpc", "rpc.method": asked.target.lstrip("/")}
        if asked.status:
            told["rpc.response.status_code"] = asked.status
    return told


def _status(record: RequestRecord) -> Status:
    status = record.asked.status
    is_ours = status >= 500 if isinstance(status, int) else status in _SERVER_ERRORS
    return Status(StatusCode.ERROR) if is_ours else Status()


def _run_within(hop: HopRecord, ended_ns: int) -> tuple[int, int]:
    """When the replica ran the batch, on our clock: it says how long after it had the batch, and the way there is taken
    to be as long as the way back."""
    assert hop.away is not None
    began_ns, run_ended_ns, answered_ns = hop.away
    there_ns = hop.began_ns + max(ended_ns - hop.began_ns - answered_ns, 0) // 2
    return there_ns + began_ns, there_ns + run_ended_ns
