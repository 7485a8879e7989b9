"""The gRPC methods of a server: how each kind is called, and how many calls may be under way at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from model_store.errors import Overloaded
from serve.access.guard import Guard
from serve.access.scopes import Need
from serve.access_log import AccessLog
from serve.asking import ASKED, Asked
from serve.dialects.grpc_base import GrpcMethod, GrpcService, Streaming, Unary, parsed, serialised
from serve.errors import kind_of, presentable
from serve.front_doors.grpc_call import Answerer, Call, Exchange, Recorded, refusal_of
from serve.front_doors.grpc_streams import Readers
from serve.request_record import ANSWERED, CANCELLED, Recorder
from serve.tracing.tracer import Tracer

OneMessage = Callable[[bytes, Exchange], Awaitable[None]]
ManyMessages = Callable[[AsyncIterator[bytes], Exchange], Awaitable[None]]


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
