"""gRPC calls under way: their bounds, their errors, and how each kind of method is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

import msgspec

from model_store.errors import Overloaded
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.scopes import Need
from serve.dialects.base import retry_after
from serve.dialects.grpc_base import GrpcMethod, GrpcService, Streaming, Unary, parsed, serialised
from serve.errors import presentable
from serve.front_doors.grpc_streams import Readers
from serve.front_doors.grpc_wire import Refusal
from serve.inference import Answer, InferenceRequest, Query

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


class Call(msgspec.Struct):
    """A call under way (`GrpcCall`)."""

    exchange: Exchange
    answerer: Answerer
    stopping: asyncio.Event

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock."""
        return self.exchange.deadline

    def answer(self, query: Query) -> Awaitable[Answer]:
        """The answer to a query, which is told who asks."""
        if type(query) is InferenceRequest:
            query.header = self.exchange.header
        return self.answerer(query)

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
    `bound`."""

    service: GrpcService
    bound: Bound
    one: OneMessage | None = None
    many: ManyMessages | None = None


class Calls:
    """The calls of one server."""

    def __init__(self, answer: Answerer, max_requests: int | None, guard: Guard | None = None) -> None:
        self._answer = answer
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
        if method.unary is not None:
            return Method(service, self._requests, one=self._unary(service, method.request, method.unary))
        bound = self._open_streams if need is Need.NOTHING else self._streams
        if method.streaming is not None:
            return Method(service, bound, one=self._streaming(service, method.request, method.streaming))
        return Method(service, bound, many=self._each(service, method))

    def _unary(self, service: GrpcService, request: Any, method: Unary) -> OneMessage:
        """A message in, a message out."""

        async def call(data: bytes, exchange: Exchange) -> None:
            try:
                reply = await method(parsed(request, data), self._call(exchange))
                exchange.answer(serialised(reply))
            except Exception as error:
                exchange.refuse(refusal_of(service, error))

        return call

    def _streaming(self, service: GrpcService, request: Any, method: Streaming) -> OneMessage:
        """A message in, several out."""

        async def call(data: bytes, exchange: Exchange) -> None:
            try:
                async with aclosing(method(parsed(request, data), self._call(exchange))) as replies:  # type: ignore[type-var]
                    async for reply in replies:
                        await exchange.send(serialised(reply))
                exchange.succeed()
            except Exception as error:
                exchange.refuse(refusal_of(service, error))

        return call

    def _each(self, service: GrpcService, method: GrpcMethod) -> ManyMessages:
        """A stream of messages in, one of their replies out."""

        async def call(messages: AsyncIterator[bytes], exchange: Exchange) -> None:
            try:
                await self._readers.in_order(messages, self._one(method, self._call(exchange)), exchange.send)
                exchange.succeed()
            except Exception as error:
                exchange.refuse(refusal_of(service, error))

        return call

    def _one(self, method: GrpcMethod, call: Call) -> Callable[[bytes], Awaitable[bytes]]:
        assert method.each is not None
        assert method.refusal is not None
        each, refusal = method.each, method.refusal

        async def answer(data: bytes) -> bytes:
            message = None
            try:
                # Before the bounds, so that a refusal can say which message it is for.
                message = parsed(method.request, data)
                if (overload := self._requests.enter()) is not None:
                    raise overload
                try:
                    return serialised(await each(message, call))
                finally:
                    self._requests.under_way -= 1
            except Exception as error:
                return serialised(refusal(message, presentable(error)))

        return answer

    def _call(self, exchange: Exchange) -> Call:
        answer = self._answer
        if self._guard is not None:
            answer = self._guard.answerer(exchange.caller or self._guard.anonymous, answer)
        return Call(exchange, answer, self._stopping)


def refusal_of(service: GrpcService, error: Exception) -> Refusal:
    """How a service tells an error."""
    told = presentable(error)
    return Refusal(service.code_of(told), _cut(told.message), tuple(retry_after(told)))


def _cut(text: str) -> str:
    """The beginning of a text that would be too long."""
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
