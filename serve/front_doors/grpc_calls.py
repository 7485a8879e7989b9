"""gRPC calls under way: their bounds, their errors, and how each kind of method is called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, NoReturn

import grpc
import msgspec

from model_store.errors import Overloaded
from serve.dialects.base import retry_after
from serve.dialects.grpc_base import GrpcMethod, GrpcService, Streaming, Unary, parsed, serialised
from serve.errors import presentable
from serve.front_doors.grpc_streams import Readers
from serve.inference import Answer, Query

MAX_TEXT_BYTES = 2048
"""UTF-8 bytes of an error's text. It travels in the trailers, each byte outside of ASCII as three, and clients refuse
trailers of more than 8 KB."""

WATCH_PAUSE_S = 1.0

Answerer = Callable[[Query], Awaitable[Answer]]
UnaryHandler = Callable[[bytes, Any], Awaitable[bytes]]
StreamHandler = Callable[[Any, Any], Awaitable[None]]


class Call(msgspec.Struct):
    """A call under way (`GrpcCall`)."""

    context: Any
    answer: Answerer
    stopping: asyncio.Event

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock."""
        remaining_s = self.context.time_remaining()
        return None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s

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


class Calls:
    """The calls of one server."""

    def __init__(self, answer: Answerer, max_requests: int | None) -> None:
        self._answer = answer
        self._requests = Bound("requests", max_requests)
        self._streams = Bound("streams", max_requests)
        self._stopping = asyncio.Event()
        self._readers = Readers()

    def stop(self) -> None:
        """No stream is read any further."""
        self._stopping.set()
        self._readers.stop()

    def unary(self, service: GrpcService, request: Any, method: Unary) -> UnaryHandler:
        """A message in, a message out."""

        answer, requests, stopping = self._answer, self._requests, self._stopping

        async def call(data: bytes, context: Any) -> bytes:
            if (refused := requests.enter()) is not None:
                await _abort(service, context, refused)
            try:
                return serialised(await method(parsed(request, data), Call(context, answer, stopping)))
            except Exception as error:
                await _abort(service, context, error)
            finally:
                requests.under_way -= 1

        return call

    def streaming(self, service: GrpcService, request: Any, method: Streaming) -> StreamHandler:
        """A message in, several out."""

        async def call(data: bytes, context: Any) -> None:
            if (refused := self._streams.enter()) is not None:
                await _abort(service, context, refused)
            try:
                async with aclosing(method(parsed(request, data), self._call(context))) as replies:  # type: ignore[type-var]
                    async for reply in replies:
                        await context.write(serialised(reply))
            except Exception as error:
                await _abort(service, context, error)
            finally:
                self._streams.under_way -= 1

        return call

    def each(self, service: GrpcService, method: GrpcMethod) -> StreamHandler:
        """A stream of messages in, one of their replies out."""

        async def call(messages: AsyncIterator[bytes], context: Any) -> None:
            if (refused := self._streams.enter()) is not None:
                await _abort(service, context, refused)
            one = self._one(method, self._call(context))
            try:
                await self._readers.in_order(messages, one, context.write)
            except Exception as error:
                await _abort(service, context, error)
            finally:
                self._streams.under_way -= 1

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

    def _call(self, context: Any) -> Call:
        return Call(context, self._answer, self._stopping)


async def _abort(service: GrpcService, context: Any, error: Exception) -> NoReturn:
    told = presentable(error)
    await context.abort(grpc.StatusCode[service.code_of(told)], _cut(told.message), tuple(retry_after(told)))
    raise AssertionError("a call that is aborted goes no further")


def _cut(text: str) -> str:
    """The beginning of a text that would be too long."""
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
