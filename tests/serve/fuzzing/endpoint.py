"""The doors of a gateway and of a controller without sockets: inputs in, and what would have been sent back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from model_store.errors import InternalError, OnegateError
from serve.access.scopes import method_need
from serve.asking import Asked
from serve.control.management import Management
from serve.dialects.base import HttpReply, HttpRequest
from serve.dialects.registry import grpc_services, http_dialects, management_dialects
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.grpc_methods import Calls
from serve.front_doors.grpc_wire import Refusal
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_messages import head_of
from serve.inference import Answer, Query, ServerDescription, ServerQuery
from serve.operations import Operation
from tests.serve.fuzzing.controller import Authority, administer
from tests.serve.fuzzing.credentials import guard
from tests.serve.fuzzing.http2_answers import Http2Sent
from tests.serve.fuzzing.http2_answers import converse as converse_http2
from tests.serve.fuzzing.inputs import GrpcInput, Http2Input, HttpInput, WireInput
from tests.serve.fuzzing.models import make_dispatcher
from tests.serve.fuzzing.wire import WireSent, converse

MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class HttpSent:
    """A reply, as it was given to the server to send."""

    reply: HttpReply

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def body(self) -> bytes:
        return b"".join((self.reply.body, *self.reply.tail))

    def header(self, name: str) -> str:
        return next((value for key, value in self.reply.headers if key == name), "")

    def unsendable(self) -> str | None:
        """Why the server could not send it, None where it can."""
        try:
            head_of(self.reply, len(self.body), "", "")
        except (InternalError, UnicodeError) as error:
            return str(error)
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
            "keyed": HttpFrontDoor(http_dialects("torchserve"), self._answer, MAX_BODY_BYTES, guard=guard()),
        }
        self._grpc_door = GrpcFrontDoor(grpc_services(), self._answer, max_message_bytes=MAX_BODY_BYTES)
        calls = Calls(self._answer, None)
        # Streams that watch for changes then end with what they tell first.
        calls.stop()
        self._methods = {
            f"{service.name}/{name}": calls.method(service, method, method_need(service.name, name))
            for service in grpc_services()
            for name, method in service.methods.items()
        }

    async def _answer(self, query: Query) -> Answer:
        return administer(query) if isinstance(query, Operation) else await self.dispatcher.answer(query)

    async def _manage(self, query: Query) -> Answer:
        return ServerDescription(True) if isinstance(query, ServerQuery) else await self._answer(query)

    async def http(self, door: str, request: HttpInput) -> HttpSent:
        """The reply of the door `torchserve`, `mms`, `management` or `keyed`."""
        application = self._doors[door]
        headers = {"host": "127.0.0.1:8080"} | dict(request.headers)
        asked = HttpRequest(request.method, request.path, request.body, headers.get, headers, request.query)
        try:
            application.admit(asked, 0)
        except OnegateError as error:
            return HttpSent(application.refuse(asked, error))
        return HttpSent(await application.answer(asked))

    async def wire(self, sent: WireInput) -> WireSent:
        """What a connection of the door `torchserve` answers."""
        return await converse(self._doors["torchserve"], sent)

    async def http2(self, sent: Http2Input) -> Http2Sent:
        """What a connection of the gRPC door answers."""
        return await converse_http2(self._grpc_door, sent)

    async def grpc(self, call: GrpcInput) -> GrpcSent:
        """What a call is answered with; UNIMPLEMENTED where there is no such method."""
        known = self._methods.get(call.method)
        if known is None:
            return GrpcSent("UNIMPLEMENTED", "Method not found!")
        exchange = _Exchange()
        if known.many is not None:
            await known.many(_stream(call.messages), exchange)
        else:
            assert known.one is not None
            await known.one(call.messages[0] if call.messages else b"", exchange)
        return exchange.sent

    async def close(self) -> None:
        """Ends the threads."""
        for loaded in self.dispatcher.loaded.values():
            await loaded.executor.close()


async def _stream(messages: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


class _Exchange:
    """A gRPC call of a client that waits for ever."""

    deadline = None
    peer = ""
    received_ns = 0

    def __init__(self) -> None:
        self.sent = GrpcSent()
        self.asked = Asked(self.header)

    def header(self, name: str) -> str | None:
        return None

    def answer(self, message: bytes) -> None:
        self.sent.messages.append(message)

    async def send(self, message: bytes) -> None:
        self.sent.messages.append(message)

    def succeed(self) -> None:
        """A call that is not refused succeeds."""

    def refuse(self, refusal: Refusal) -> None:
        self.sent.code, self.sent.text, self.sent.trailers = refusal.code, refusal.text, refusal.metadata
