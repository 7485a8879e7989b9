"""The HTTP front door: granian's embedded server on the caller's event loop, and dialects behind it.

Sockets are bound with SO_REUSEPORT, so that several gateway replicas of a node share the port; whoever starts the first
one has to make sure that no stranger listens there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.rsgi import ProtocolClosed
from granian.server.embed import Server

from model_store.errors import InvalidInput, OnegateError, Overloaded
from serve.dialects.base import ANY_SEGMENT, HttpDialect, HttpReply, HttpRequest
from serve.errors import presentable
from serve.front_doors.bodies import BodyTimeout, read_body
from serve.front_doors.compression import COMPRESSED_FROM_BYTES, compressed
from serve.inference import Answer, Query

log = logging.getLogger("onegate")

_NOT_FOUND = HttpReply(404, b'{"error":"Not Found"}', [("content-type", "application/json")])

WATCH_AFTER_S = 0.2

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers; the server answers larger ones with 431."""

MAX_URL_BYTES = 8 * 1024

BUSY_RETRY_S = 1.0


class HttpListener:
    """A granian server in this process, from `start` to `stop`.

    Connections beyond `max_connections` wait to be accepted. One whose request's headers do not arrive within
    `header_timeout_s`, or that stays idle for as long, is closed.
    """

    def __init__(
        self,
        app: Callable[[Any, Any], Awaitable[None]],
        host: str,
        port: int,
        *,
        max_connections: int = 4096,
        header_timeout_s: float = 60.0,
    ) -> None:
        self._address = (host, port)
        self._server = Server(
            app,
            host,
            port,
            interface=Interfaces.RSGI,
            websockets=False,
            log_enabled=False,
            backlog=1024,
            backpressure=max_connections,
            http1_settings=HTTP1Settings(
                header_read_timeout=math.ceil(header_timeout_s * 1000), max_buffer_size=MAX_HEAD_BYTES
            ),
            http2_settings=HTTP2Settings(max_headers_size=MAX_HEAD_BYTES),
        )
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Opens the socket; raises `OSError` when it can't be bound."""
        # granian binds later, in its task, where nobody would see the error.
        with socket.socket(socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(self._address)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve())

    def check(self) -> None:
        """Raises when the server has ended on its own."""
        if self._serving is not None and self._serving.done():
            self._serving.result()
            raise OSError(f"the server on {self._address[0]}:{self._address[1]} has ended")

    async def stop(self) -> None:
        """Takes no new connections and returns when the requests under way are answered."""
        if self._serving is not None:
            self._server.stop()
            await self._serving


class _OpenRequest(msgspec.Struct):
    """A request under way. `looks` counts how often it was looked at since its body, or then its answer, is waited for;
    `watch` ends with its client."""

    protocol: Any
    looks: int = 0
    reading: bool = True
    watch: asyncio.Task[None] | None = None


class HttpFrontDoor:
    """Reads requests, asks the dialect of the first path segment, writes its reply.

    Of more than `max_requests` under way only those without a body, as health checks, are taken; a body that takes
    longer than `body_timeout_s` is given up.

    When a client goes away, the work for its request is cancelled. To watch every connection would cost more than a
    small model does, so only requests that have waited for `WATCH_AFTER_S` or longer are watched.
    """

    def __init__(
        self,
        dialects: Iterable[HttpDialect],
        answer: Callable[[Query], Awaitable[Answer]],
        max_body_bytes: int,
        *,
        max_requests: int = 4096,
        body_timeout_s: float = 60.0,
    ) -> None:
        self._dialects = {segment: dialect for dialect in dialects for segment in dialect.segments}
        self._other = self._dialects.get(ANY_SEGMENT)
        self._answer = answer
        self._max_body_bytes = max_body_bytes
        self._max_requests = max_requests
        self._body_timeout_s = body_timeout_s
        self._open: dict[asyncio.Task[Any], _OpenRequest] = {}
        self._look: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """One request of granian's RSGI (https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md)."""
        path: str = scope.path
        dialect = self._dialects.get(path[1:].partition("/")[0], self._other)
        headers = scope.headers
        request = HttpRequest(scope.method, path, b"", headers.get, headers, scope.query_string)
        try:
            if dialect is None:
                reply = _NOT_FOUND
            else:
                try:
                    reply = await self._reply(dialect, request, scope, protocol)
                except ProtocolClosed:
                    raise
                except Exception as error:
                    reply = _refusal(dialect, request, presentable(error))
            if len(reply.body) >= COMPRESSED_FROM_BYTES:
                await _compress(reply, headers.get("accept-encoding"))
            protocol.response_bytes(reply.status, reply.headers, reply.body)
        except ProtocolClosed:
            log.debug("client went away during %s %s", request.method, path)

    def _admit(self, request: HttpRequest) -> None:
        url_bytes = len(request.path) + len(request.query)
        if url_bytes > MAX_URL_BYTES:
            raise InvalidInput(f"path and query may have {MAX_URL_BYTES} bytes, got {url_bytes}")
        if len(self._open) >= self._max_requests and request.method not in ("GET", "HEAD"):
            raise Overloaded(
                f"{len(self._open)} requests are under way and at most {self._max_requests} may be; try again later",
                retry_after_s=BUSY_RETRY_S,
            )

    async def _reply(self, dialect: HttpDialect, request: HttpRequest, scope: Any, protocol: Any) -> HttpReply:
        self._admit(request)
        task = asyncio.current_task()
        assert task is not None
        under_way = self._open[task] = _OpenRequest(protocol)
        if self._look is None:
            self._look_later()
        try:
            request.body = await read_body(scope, protocol, self._max_body_bytes)
            under_way.reading, under_way.looks = False, 0
            query = dialect.decode(request)
            return dialect.encode(request, query, await self._answer(query))
        except asyncio.CancelledError:
            if under_way.reading and self._is_late(under_way):
                task.uncancel()
                raise BodyTimeout(f"the body did not arrive within {self._body_timeout_s:g} s") from None
            raise
        finally:
            del self._open[task]
            if under_way.watch is not None:
                under_way.watch.cancel()

    def _is_late(self, request: _OpenRequest) -> bool:
        return request.looks * WATCH_AFTER_S > self._body_timeout_s

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._look_at_open)

    def _look_at_open(self) -> None:
        self._look = None
        for task, request in self._open.items():
            request.looks += 1
            if request.reading:
                if self._is_late(request):
                    task.cancel()
            elif request.looks > 1 and request.watch is None:
                request.watch = asyncio.get_running_loop().create_task(_cancel_on_leave(task, request.protocol))
        if self._open:
            self._look_later()


async def _cancel_on_leave(task: asyncio.Task[Any], protocol: Any) -> None:
    await protocol.client_disconnect()
    task.cancel()


def _refusal(dialect: HttpDialect, request: HttpRequest, error: OnegateError) -> HttpReply:
    """A dialect's reply to an error, with what HTTP itself has to say beside it."""
    reply = dialect.encode_error(request, error)
    if "accept_encoding" in error.details:
        # RFC 9110, section 12.5.3: what a client may use instead.
        reply.headers = [*reply.headers, ("accept-encoding", error.details["accept_encoding"])]
    if isinstance(error, BodyTimeout):
        # RFC 9110, section 15.5.9; the rest of the body may come yet and is no request.
        reply.status = 408
        reply.headers = [*reply.headers, ("connection", "close")]
    return reply


async def _compress(reply: HttpReply, accepted: str | None) -> None:
    reply.body, encoding = await compressed(reply.body, reply.headers, accepted)
    if encoding is not None:
        # A new list: dialects share theirs between replies.
        reply.headers = [*reply.headers, ("content-encoding", encoding), ("vary", "accept-encoding")]
