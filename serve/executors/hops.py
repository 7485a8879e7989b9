"""What is noted of a batch's way to a server and back, where requests are traced, and what that server is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serve.asking import REQUEST_ID
from serve.errors import kind_of
from serve.request_record import BATCH, CANCELLED, HOP, BatchRecord, HopRecord
from serve.tracing.context import new_span_id, passed_on


@contextmanager
def hop_to(server: str, batch: BatchRecord) -> Iterator[None]:
    """The block is one attempt to have the batch answered by `server`."""
    span_id = new_span_id()
    hop = HopRecord(server, span_id, _told(batch, span_id), time.perf_counter_ns())
    batch.hops += (hop,)
    before = HOP.set(hop)
    try:
        yield
    except asyncio.CancelledError:
        hop.outcome = CANCELLED
        raise
    except Exception as error:
        hop.outcome = kind_of(error)
        raise
    finally:
        hop.ended_ns = time.perf_counter_ns()
        HOP.reset(before)


def told_to_others() -> tuple[tuple[str, str], ...]:
    """The headers for a server that is not ours, with the batch that is sent to it: of the hop; where no traces are
    made, the context that came with the first request that has one, and the id by which the only one is known."""
    hop, batch = HOP.get(), BATCH.get()
    if hop is not None:
        return hop.headers
    if batch is None:
        return ()
    contexts = (passed_on(asked.header) for asked in batch.requests if asked.header is not None)
    context = next(filter(None, contexts), ())
    id = batch.requests[0].known if len(batch.requests) == 1 else ""
    return (*context, (REQUEST_ID, id)) if id else context


def note_failed_hop(kind: str) -> None:
    """The attempt under way has failed, and there may be another."""
    hop = HOP.get()
    if hop is not None:
        hop.outcome = kind


def _told(batch: BatchRecord, span_id: str) -> tuple[tuple[str, str], ...]:
    """The headers for a server that is not ours: the trace, and the request's id where it is only one."""
    headers = batch.trace.headers(span_id) if batch.trace is not None else ()
    if len(batch.requests) == 1:
        headers = (*headers, (REQUEST_ID, batch.requests[0].id))
    return headers
