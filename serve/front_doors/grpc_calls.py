"""gRPC calls under way: their bounds, their errors, and how each kind of method is called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

import msgspec

from model_store.errors import Overloaded
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.scopes import Need
from serve.access_log import AccessLog
from serve.asking import ASKED, Asked
from serve.dialects.base import retry_after
from serve.dialects.grpc_base import GrpcMethod, GrpcService, Streaming, Unary, parsed, serialised
from serve.errors import ERROR_KIND, kind_of, presentable
from serve.front_doors.grpc_streams import Readers
from serve.front_doors.grpc_wire import Refusal
from serve.inference import Answer, InferenceRequest, Query
from serve.request_record import ANSWERED, CANCELLED, Recorder, RequestRecord
from serve.tracing.tracer import Tracer

MAX_TEXT_BYTES = 2048
"""UTF-8 bytes of an error's text. It travels in the trailers, each byte outside of ASCII as three, and clients refuse
trailers of more than 8 KB."""

WATCH_PAUSE_S = 1.0

Answerer = Callable[[Query], Awaitable[Answer]]


class Exchange(Protocol):
    """The client's side of a call."""

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock."""

    @property
    def caller(self) -> Caller | None:
        """Who calls, where a guard has let them in."""

    @property
    def received_ns(self) -> int:
        """When its only message was whole, of `time.perf_counter_ns()`."""

    @property
    def asked(self) -> Asked:
        """Its id, which the client is told with the status."""

    @property
    def peer(self) -> str:
        """The client's address, as `HOST:PORT`."""

    def header(self, name: str) -> str | None:
        """A header, or metadata, that the client sent, by lower-case name."""

    def answer(self, message: bytes) -> None:
        """Sends the only message, and that the call has succeeded."""

    async def send(self, message: bytes) -> None:
        """Sends one of several messages; returns when the next one may be made."""

    def succeed(self) -> None:
        """Sends that the call has succeeded, behind its messages."""

    def refuse(self, refusal: Refusal) -> None:
        """Sends that the call has failed."""


OneMessage = Callable[[bytes, Exchange], Awaitable[None]]
ManyMessages = Callable[[AsyncIterator[bytes], Exchange], Awaitable[None]]


_CODES = {ANSWERED: "OK", CANCELLED: "CANCELLED"}
"""Outcomes that are no errors, and gRPC's code for each."""


class Recorded(msgspec.Struct, frozen=True):
    """Who is told of the requests of a method, and of which dialect they are."""

    dialect: str
    recorder: Recorder
    tracer: Tracer | None = None

    def begin(self, asked: Asked, received_ns: int, decoded_ns: int) -> RequestRecord:
        """The record of a request; decides whether it is traced in any case."""
        if self.tracer is not None:
            self.tracer.begin(asked)
        return RequestRecord(self.dialect, received_ns, decoded_ns, asked=asked)

    def note_refused(self, kind: str, asked: Asked, received_ns: int = 0) -> RequestRecord:
        """A call was refused before it was known what it asks."""
        record = self.begin(asked, received_ns or time.perf_counter_ns(), 0)
        self.recorder.end(record, kind)
        return record


class Call(msgspec.Struct):
    """A call under way (`GrpcCall`), or a message of a stream and its reply."""

    exchange: Exchange
    answerer: Answerer
    stopping: asyncio.Event
    asked: Asked
    received_ns: int
    recorded: Recorded | None = None
    access_log: AccessLog | None = None
    bytes_in: int = 0
    records: list[RequestRecord] = []
    """Of the requests that the dialect made of it."""

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock."""
        return self.exchange.deadline

    def answer(self, query: Query) -> Awaitable[Answer]:
        """The answer to a query, which is told who asks."""
        if type(query) is InferenceRequest:
            query.header = self.exchange.header
            if self.recorded is not None:
                now_ns = time.perf_counter_ns()
                asked, begin_ns = (self.asked.another(), now_ns) if self.records else (self.asked, self.received_ns)
                query.record = self.recorded.begin(asked, begin_ns, now_ns)
                self.records.append(query.record)
        return self.answerer(query)

    def refused(self, service: GrpcService, error: Exception) -> Refusal:
        """How the service tells an error, which ends the call."""
        refusal = refusal_of(service, error, self.asked.id)
        self.asked.status = refusal.code
        self.end(kind_of(error))
        return refusal

    def end(self, outcome: str = ANSWERED, bytes_out: int = 0) -> None:
        """To be called when the reply, of so many bytes, is there to be written, or there is to be none."""
        if outcome in _CODES and not self.asked.status:
            self.asked.status = _CODES[outcome]
        if self.recorded is not None:
            self._end_records(self.recorded, outcome)
        if self.access_log is not None:
            caller = self.exchange.caller
            self.access_log.note(
                self.asked,
                self.received_ns,
                bytes_in=self.bytes_in,
                bytes_out=bytes_out,
                caller="" if caller is None else caller.name,
                peer=self.exchange.peer,
                record=self.records[0] if self.records else None,
            )

    def _end_records(self, recorded: Recorded, outcome: str) -> None:
        for record in self.records:
            record.asked.status = self.asked.status
            recorded.recorder.end(record, outcome)
        if not self.records and outcome not in _CODES:
            self.records.append(recorded.note_refused(outcome, self.asked, self.received_ns))

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        """The answer now, again after each pause, and once more when the server stops."""
        while True:
            last = self.stopping.is_set()
            yield await self.answer(query)
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), WATCH_PAUSE_S)


class Bound:
    """How many of one kind may be under way at once."""

    __slots__ = ("_at_most", "_what", "under_way")

    def __init__(self, what: str, at_most: int | None) -> None:
        self._what = what
        self._at_most = at_most or float("inf")
        self.under_way = 0

    def enter(self) -> Overloaded | None:
        """One more is under way, unless there are as many as may be."""
        if self.under_way >= self._at_most:
            return Overloaded(f"{self.under_way} {self._what} are under way, as many as may be; try again later")
        self.under_way += 1
        return None


class Method(msgspec.Struct, frozen=True):
    """How a method is called: with one message, or with all of a stream. While a call is under way it takes a place of
    `bound`. `recorded` is set for those that answer inference; calls that end before they began are noted in
    `access_log`, where there is one."""

    service: GrpcService
    bound: Bound
    recorded: Recorded | None = None
    access_log: AccessLog | None = None
    one: OneMessage | None = None
    many: ManyMessages | None = None


class Calls:
    """The calls of one server."""

    def __init__(
        self,
        answer: Answerer,
        max_requests: int | None,
        guard: Guard | None = None,
        recorder: Recorder | None = None,
        tracer: Tracer | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._answer = answer
        self._access_log = access_log
        self._recorder = recorder
        self._tracer = tracer
        self._guard = guard
        self._requests = Bound("requests", max_requests)
        self._streams = Bound("streams", max_requests)
        self._open_streams = Bound("streams", max_requests)
        """Those that need no key, as of health: who has none must not take the places of who has one."""
        self._stopping = asyncio.Event()
        self._readers = Readers()

    def stop(self) -> None:
        """No stream is read any further."""
        self._stopping.set()
        self._readers.stop()

    def method(self, service: GrpcService, method: GrpcMethod, need: Need) -> Method:
        """How to call a method of a service, which needs `need`."""
        recorder, recorded = self._recorder, None
        if recorder is not None and need is Need.INFER:
            recorded = Recorded(service.dialect, recorder, self._tracer)
        if method.unary is not None:
            one = self._unary(service, method.request, method.unary, recorded)
            return Method(service, self._requests, recorded, self._access_log, one=one)
        bound = self._open_streams if need is Need.NOTHING else self._streams
        if method.streaming is not None:
            one = self._streaming(service, method.request, method.streaming, recorded)
            return Method(service, bound, recorded, self._access_log, one=one)
        return Method(service, bound, recorded, self._access_log, many=self._each(service, method, recorded))

    def _unary(self, service: GrpcService, request: Any, method: Unary, recorded: Recorded | None) -> OneMessage:
        """A message in, a message out."""

        async def answer(data: bytes, exchange: Exchange) -> None:
            call = self._call(exchange, exchange.asked, exchange.received_ns, recorded)
            call.bytes_in = len(data)
            try:
                message = serialised(await method(parsed(request, data), call))
                call.end(ANSWERED, len(message))
                exchange.answer(message)
            except asyncio.CancelledError:
                call.end(CANCELLED)
                raise
            except Exception as error:
                exchange.refuse(call.refused(service, error))

        return answer

    def _streaming(
        self, service: GrpcService, request: Any, method: Streaming, recorded: Recorded | None
    ) -> OneMessage:
        """A message in, several out."""

        async def answer(data: bytes, exchange: Exchange) -> None:
            call = self._call(exchange, exchange.asked, exchange.received_ns, recorded)
            try:
                async with aclosing(method(parsed(request, data), call)) as replies:  # type: ignore[type-var]
                    async for reply in replies:
                        await exchange.send(serialised(reply))
                call.end()
                exchange.succeed()
            except asyncio.CancelledError:
                call.end(CANCELLED)
                raise
            except Exception as error:
                exchange.refuse(call.refused(service, error))

        return answer

    def _each(self, service: GrpcService, method: GrpcMethod, recorded: Recorded | None) -> ManyMessages:
        """A stream of messages in, one of their replies out."""

        async def call(messages: AsyncIterator[bytes], exchange: Exchange) -> None:
            try:
                await self._readers.in_order(messages, self._one(service, method, exchange, recorded), exchange.send)
                exchange.succeed()
            except Exception as error:
                exchange.refuse(refusal_of(service, error, exchange.asked.id))

        return call

    def _one(
        self, service: GrpcService, method: GrpcMethod, exchange: Exchange, recorded: Recorded | None
    ) -> Callable[[bytes], Awaitable[bytes]]:
        assert method.each is not None
        assert method.refusal is not None
        each, refusal = method.each, method.refusal

        async def answer(data: bytes) -> bytes:
            message = None
            # The stream's own headers are those of all its messages.
            asked = Asked(exchange.header, target=exchange.asked.target)
            call = self._call(exchange, asked, time.perf_counter_ns(), recorded)
            call.bytes_in = len(data)
            try:
                # Before the bounds, so that a refusal can say which message it is for.
                message = parsed(method.request, data)
                if (overload := self._requests.enter()) is not None:
                    raise overload
                try:
                    reply = serialised(await each(message, call))
                finally:
                    self._requests.under_way -= 1
                call.end(ANSWERED, len(reply))
                return reply
            except asyncio.CancelledError:
                call.end(CANCELLED)
                raise
            except Exception as error:
                told = presentable(error, asked.id)
                asked.status = service.code_of(told)
                call.end(kind_of(error))
                return serialised(refusal(message, told))

        return answer

    def _call(self, exchange: Exchange, asked: Asked, received_ns: int, recorded: Recorded | None) -> Call:
        ASKED.set(asked)
        if self._access_log is not None:
            # So that the client is told what the line has.
            asked.ensure_id()
        answer = self._answer
        if self._guard is not None:
            answer = self._guard.answerer(exchange.caller or self._guard.anonymous, answer)
        return Call(exchange, answer, self._stopping, asked, received_ns, recorded, self._access_log)


def refusal_of(service: GrpcService, error: Exception, request_id: str = "") -> Refusal:
    """How a service tells an error of a request."""
    told = presentable(error, request_id)
    return Refusal(service.code_of(told), _cut(told.message), (*retry_after(told), (ERROR_KIND, kind_of(told))))


def _cut(text: str) -> str:
    """The beginning of a text that would be too long."""
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
