"""The doors of a gateway and of a controller without sockets: inputs in, and what would have been sent back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from serve.dialects.grpc_base import GrpcMethod
from serve.dialects.registry import grpc_services, http_dialects, management_dialects
from serve.front_doors.grpc_calls import Calls
from serve.front_doors.http import HttpFrontDoor
from serve.inference import Answer, Query, ServerDescription, ServerQuery
from serve.management import Management
from serve.operations import Operation
from tests.serve.fuzzing.controller import Authority, administer
from tests.serve.fuzzing.inputs import GrpcInput, HttpInput
from tests.serve.fuzzing.models import make_dispatcher

MAX_BODY_BYTES = 1024 * 1024
CHUNK_BYTES = 4096

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


@dataclass
class HttpSent:
    """A reply, as it was given to the server to send."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    times: int = 0

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    def unsendable(self) -> str | None:
        """Why the server could not send it, None where it can."""
        if self.times != 1:
            return f"{self.times} replies"
        for name, value in self.headers:
            if not (_TOKEN.fullmatch(name) and _VALUE.fullmatch(value)):
                return f"the header {name!r}: {value!r}"
        return None if isinstance(self.body, bytes) else f"a body of {type(self.body).__name__}"


@dataclass
class GrpcSent:
    """What ended a call: the code, its text, and the messages sent before."""

    code: str = "OK"
    text: str = ""
    trailers: tuple[tuple[str, str], ...] = ()
    messages: list[bytes] = field(default_factory=list)


class Endpoint:
    """To be made on the event loop that it is used on."""

    def __init__(self) -> None:
        self.dispatcher = make_dispatcher()
        managed = HttpFrontDoor(management_dialects("torchserve"), self._manage, MAX_BODY_BYTES)
        self._doors: dict[str, Any] = {
            "torchserve": HttpFrontDoor(http_dialects("torchserve"), self._answer, MAX_BODY_BYTES),
            "mms": HttpFrontDoor(http_dialects("mms"), self._answer, MAX_BODY_BYTES),
            "management": Management(Authority(), managed),
        }
        calls = Calls(self._answer, None, None)
        # Streams that watch for changes then end with what they tell first.
        calls.stop()
        self._methods = {
            f"{service.name}/{name}": (method, _handler(calls, service, method))
            for service in grpc_services()
            for name, method in service.methods.items()
        }

    async def _answer(self, query: Query) -> Answer:
        return administer(query) if isinstance(query, Operation) else await self.dispatcher.answer(query)

    async def _manage(self, query: Query) -> Answer:
        return ServerDescription(True) if isinstance(query, ServerQuery) else await self._answer(query)

    async def http(self, door: str, request: HttpInput) -> HttpSent:
        """The reply of the door `torchserve`, `mms` or `management`."""
        protocol = _Protocol(request.body)
        await self._doors[door](_Scope(request), protocol)
        return protocol.sent

    async def grpc(self, call: GrpcInput) -> GrpcSent:
        """What a call is answered with; UNIMPLEMENTED where there is no such method."""
        known = self._methods.get(call.method)
        if known is None:
            return GrpcSent("UNIMPLEMENTED", "Method not found!")
        method, handler = known
        context = _Context()
        try:
            if method.each is not None:
                await handler(_stream(call.messages), context)
            else:
                reply = await handler(call.messages[0] if call.messages else b"", context)
                if method.unary is not None:
                    context.sent.messages.append(reply)
        except grpc.aio.AbortError:
            pass
        return context.sent

    async def close(self) -> None:
        """Ends the threads."""
        for loaded in self.dispatcher.loaded.values():
            await loaded.executor.close()


def _handler(calls: Calls, service: Any, method: GrpcMethod) -> Any:
    if method.unary is not None:
        return calls.unary(service, method.request, method.unary)
    if method.streaming is not None:
        return calls.streaming(service, method.request, method.streaming)
    return calls.each(service, method)


async def _stream(messages: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


class _Scope:
    """A request as granian describes it."""

    def __init__(self, request: HttpInput) -> None:
        self.method = request.method
        self.path = request.path
        self.query_string = request.query
        self.authority = None
        self.headers = dict(request.headers)
        if "transfer-encoding" not in self.headers:
            self.headers["content-length"] = str(len(request.body))
        self.headers.setdefault("host", "127.0.0.1:8080")


class _Protocol:
    """What a request's body comes from, and where the reply goes."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.sent = HttpSent()

    async def __call__(self) -> bytes:
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), CHUNK_BYTES):
            yield self._body[start : start + CHUNK_BYTES]

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.sent = HttpSent(status, headers, body, self.sent.times + 1)


class _Context:
    """A gRPC call of a client that waits for ever."""

    def __init__(self) -> None:
        self.sent = GrpcSent()

    def time_remaining(self) -> float | None:
        return None

    async def write(self, message: bytes) -> None:
        self.sent.messages.append(message)

    async def abort(self, code: grpc.StatusCode, text: str, trailers: tuple[tuple[str, str], ...]) -> None:
        self.sent.code, self.sent.text, self.sent.trailers = code.name, text, trailers
        raise grpc.aio.AbortError
