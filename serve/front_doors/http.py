"""The HTTP front door: asks the dialect of a request's first path segment, and writes its reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from model_store.errors import InvalidInput, Overloaded, Unauthenticated
from serve.access.guard import Guard
from serve.asking import ASKED, REQUEST_ID, Asked
from serve.dialects.base import ANY_SEGMENT, HttpDialect, HttpReply, HttpRequest, NoSuchRoute, own_error
from serve.errors import ERROR_KIND, kind_of, presentable
from serve.front_doors.compression import COMPRESSED_FROM_BYTES, compressed, inflated
from serve.front_doors.cors import refuse_foreign_page
from serve.front_doors.http_bodies import BodyTimeout
from serve.in_place import InPlace, InPlaceBytes
from serve.inference import Answer, InferenceRequest, Query
from serve.operations import Operation
from serve.request_record import ANSWERED, CANCELLED, Recorder, RequestRecord
from serve.shared_memory import SHARED_FROM_BYTES, RegionPool
from serve.tracing.tracer import Tracer

_NOT_FOUND = HttpReply(404, b'{"error":"Not Found"}', [("content-type", "application/json")])

MAX_URL_BYTES = 8 * 1024

BUSY_RETRY_S = 1.0

FAILED_FROM_STATUS = 400
"""Answers of models with this status or a higher one count as errors."""

ALIGNED_BYTES = 64
"""A line of the processor's cache, and the widest vector."""


class HttpFrontDoor:
    """The application of an HTTP endpoint: `dialects` in front of `answer`.

    Of more than `max_requests` under way only those that ask, as health checks do, are taken. Large tensors are
    received in `regions`, where there are some. `guard` lets calls in; None is for everybody. Of pages in browsers only
    those of `origins` and the port's own may manage models without credentials. `recorder` is told of inference
    requests, and of others that were refused before it was known what they ask; `tracer` says which are traced.
    `tells_ids` is to tell clients the id of each request, and not only of those that fail or came with one.
    """

    def __init__(
        self,
        dialects: Iterable[HttpDialect],
        answer: Callable[[Query], Awaitable[Answer]],
        max_body_bytes: int,
        *,
        max_requests: int = 4096,
        regions: RegionPool | None = None,
        guard: Guard | None = None,
        origins: Collection[str] = (),
        recorder: Recorder | None = None,
        tracer: Tracer | None = None,
        tells_ids: bool = False,
    ) -> None:
        self._dialects = {segment: dialect for dialect in dialects for segment in dialect.segments}
        self._other = self._dialects.get(ANY_SEGMENT)
        self._answer = answer
        self._max_body_bytes = max_body_bytes
        self._max_requests = max_requests
        self._regions = regions
        self._guard = guard
        self._origins = origins
        self._recorder = recorder
        self._tracer = tracer
        self._tells_ids = tells_ids

    def admit(self, request: HttpRequest, under_way: int) -> int:
        """The largest body; raises `InvalidInput` for too long a URL, `Overloaded` for a request too many, and what the
        guard raises."""
        url_bytes = len(request.path) + len(request.query)
        if url_bytes > MAX_URL_BYTES:
            raise InvalidInput(f"path and query may have {MAX_URL_BYTES} bytes, got {url_bytes}")
        if under_way >= self._max_requests and request.method not in ("GET", "HEAD"):
            raise Overloaded(
                f"{under_way} requests are under way and at most {self._max_requests} may be; try again later",
                retry_after_s=BUSY_RETRY_S,
            )
        guard = self._guard
        if guard is None:
            return self._max_body_bytes
        request.caller = guard.admit(request.header)
        return guard.body_limit(request.caller, request.method, request.header("content-length"), self._max_body_bytes)

    def room(self, request: HttpRequest, length: int) -> InPlace:
        """A region for a body that brings tensors, so that these begin at a place where they are read fast; else as
        `bytes`."""
        tensors_begin = getattr(self._dialect(request), "tensors_begin", None)
        begin = 0 if tensors_begin is None or request.header("content-encoding") else tensors_begin(request)
        if self._regions is None or length < SHARED_FROM_BYTES or not 0 < begin <= length:
            return InPlaceBytes(length)
        free = -begin % ALIGNED_BYTES
        block = self._regions.take_if_few(free + length)
        return InPlaceBytes(length) if block is None else InPlace(block.data[free : free + length])

    def _dialect(self, request: HttpRequest) -> HttpDialect | None:
        return self._dialects.get(request.path[1:].partition("/")[0], self._other)

    def _unpacked_limit(self, request: HttpRequest) -> int:
        limit, caller = self._max_body_bytes, request.caller
        return limit if self._guard is None or caller is None else self._guard.message_limit(caller, limit)

    async def answer(self, request: HttpRequest) -> HttpReply:
        """The dialect's reply, to errors too."""
        dialect = self._dialect(request)
        if dialect is None:
            return _NOT_FOUND
        recorder, query = self._recorder, None
        record: RequestRecord | None = None
        asked = request.asked = Asked(request.header, request.method, request.path)
        ASKED.set(asked)
        try:
            encoding = request.header("content-encoding")
            if encoding is not None:
                request.content = await inflated(request.body, encoding, self._unpacked_limit(request))
            query = dialect.decode(request)
            if type(query) is InferenceRequest:
                query.header = request.header
                if recorder is not None:
                    if self._tracer is not None:
                        self._tracer.begin(asked)
                    now_ns = time.perf_counter_ns()
                    record = query.record = request.record = RequestRecord(
                        dialect.name, request.received_ns, now_ns, asked=asked
                    )
            elif isinstance(query, Operation):
                refuse_foreign_page(request, self._origins)
            if self._guard is None:
                answer = await self._answer(query)
            else:
                answer = await self._guard.answer(request.caller or self._guard.anonymous, query, self._answer)
            reply = dialect.encode(request, query, answer)
            asked.status = reply.status
            if record is not None and recorder is not None:
                recorder.end(record, ANSWERED if reply.status < FAILED_FROM_STATUS else f"status {reply.status}")
        except asyncio.CancelledError:
            if record is not None and recorder is not None:
                recorder.end(record, CANCELLED)
            raise
        except Exception as error:
            reply = self._refusal(request, error)
            asked.status = reply.status
            if record is not None and recorder is not None:
                recorder.end(record, kind_of(error))
            elif query is None:
                self._note_refused(request, error)
        if self._tells_ids:
            asked.ensure_id()
        if asked.made or asked.trace is not None or request.header(REQUEST_ID) is not None:
            _tell(reply, asked.told)
        if reply.tail or len(reply.body) >= COMPRESSED_FROM_BYTES:
            await _compress(reply, request.header("accept-encoding"))
        return reply

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        """As `_refusal`, to a request that did not get as far as `answer`."""
        asked = request.asked = request.asked or Asked(request.header, request.method, request.path)
        # The connection's own context is that of its later requests too.
        before = ASKED.set(asked)
        try:
            reply = self._refusal(request, error)
        finally:
            ASKED.reset(before)
        asked.status = reply.status
        if not request.received_ns:
            self._note_refused(request, error)
        _tell(reply, asked.told)
        return reply

    def _note_refused(self, request: HttpRequest, error: Exception) -> None:
        dialect = self._dialect(request)
        # What can be no inference is nobody's failed request.
        if self._recorder is None or dialect is None or request.method != "POST" or isinstance(error, NoSuchRoute):
            return
        assert request.asked is not None
        if self._tracer is not None:
            self._tracer.begin(request.asked)
        begin_ns = request.received_ns or time.perf_counter_ns()
        request.record = RequestRecord(dialect.name, begin_ns, asked=request.asked)
        self._recorder.end(request.record, kind_of(error))

    def _refusal(self, request: HttpRequest, error: Exception) -> HttpReply:
        """The dialect's reply to an error, with what HTTP itself has to say beside it."""
        dialect = self._dialect(request)
        assert request.asked is not None
        told = presentable(error, request.asked.id)
        reply = own_error(told) if dialect is None else dialect.encode_error(request, told)
        if "accept_encoding" in told.details:
            # RFC 9110, section 12.5.3: what a client may use instead.
            reply.headers = [*reply.headers, ("accept-encoding", told.details["accept_encoding"])]
        reply.headers = [*reply.headers, (ERROR_KIND, kind_of(told))]
        challenge(reply, told)
        if isinstance(error, BodyTimeout):
            # RFC 9110, section 15.5.9.
            reply.status = 408
        return reply


def _tell(reply: HttpReply, told: list[tuple[str, str]]) -> None:
    """Adds what is known of the request; some dialects tell its id themselves."""
    if any(name == REQUEST_ID for name, _ in reply.headers):
        told = [header for header in told if header[0] != REQUEST_ID]
    # A new list: dialects share theirs between replies.
    reply.headers = [*reply.headers, *told]


def challenge(reply: HttpReply, error: Exception) -> None:
    """Says in what form credentials are wanted, to who brought none that are valid (RFC 9110, section 11.6.1)."""
    if isinstance(error, Unauthenticated):
        reply.headers = [*reply.headers, ("www-authenticate", "Bearer")]


async def _compress(reply: HttpReply, accepted: str | None) -> None:
    if accepted is None:
        return
    body, encoding = await compressed(b"".join((reply.body, *reply.tail)), reply.headers, accepted)
    if encoding is not None:
        reply.body, reply.tail = body, ()
        # A new list: dialects share theirs between replies.
        reply.headers = [*reply.headers, ("content-encoding", encoding), ("vary", "accept-encoding")]
