"""The HTTP front door: granian's embedded server on the caller's event loop, and dialects behind it.

Sockets are bound with SO_REUSEPORT, so that several gateway replicas of a node share the port; whoever starts the first
one has to make sure that no stranger listens there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from granian.constants import Interfaces
from granian.rsgi import ProtocolClosed
from granian.server.embed import Server

from model_store.errors import InvalidInput, PayloadTooLarge
from serve.dialects.base import ANY_SEGMENT, HttpDialect, HttpReply, HttpRequest
from serve.errors import presentable
from serve.inference import Answer, Query

log = logging.getLogger("onegate")

_NOT_FOUND = HttpReply(404, b'{"error":"Not Found"}', [("content-type", "application/json")])


WATCH_AFTER_S = 0.2


class HttpListener:
    """A granian server in this process, from `start` to `stop`."""

    def __init__(self, app: Callable[[Any, Any], Awaitable[None]], host: str, port: int) -> None:
        self._address = (host, port)
        self._server = Server(
            app, host, port, interface=Interfaces.RSGI, websockets=False, log_enabled=False, backlog=1024
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


class _OpenRequest:
    """A request that waits for its answer. It is `old` from the second look at it on; `watch` ends with its client."""

    __slots__ = ("old", "protocol", "watch")

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.old = False
        self.watch: asyncio.Task[None] | None = None


class HttpFrontDoor:
    """Reads requests, asks the dialect of the first path segment, writes its reply.

    When a client goes away, the work for its request is cancelled. To watch every connection would cost more than a
    small model does, so only requests that have waited for `WATCH_AFTER_S` or longer are watched.
    """

    def __init__(
        self,
        dialects: Iterable[HttpDialect],
        answer: Callable[[Query], Awaitable[Answer]],
        max_body_bytes: int,
    ) -> None:
        self._dialects = {segment: dialect for dialect in dialects for segment in dialect.segments}
        self._other = self._dialects.get(ANY_SEGMENT)
        self._answer = answer
        self._max_body_bytes = max_body_bytes
        self._open: dict[asyncio.Task[Any], _OpenRequest] = {}
        self._look: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Any, protocol: Any) -> None:
        """One request of granian's RSGI (https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md)."""
        try:
            reply = await self._reply(scope, protocol)
            protocol.response_bytes(reply.status, reply.headers, reply.body)
        except ProtocolClosed:
            log.debug("client went away during %s %s", scope.method, scope.path)

    async def _reply(self, scope: Any, protocol: Any) -> HttpReply:
        path: str = scope.path
        dialect = self._dialects.get(path[1:].partition("/")[0], self._other)
        if dialect is None:
            return _NOT_FOUND
        headers = scope.headers
        request = HttpRequest(scope.method, path, b"", headers.get, headers, scope.query_string)
        try:
            request.body = await read_body(scope, protocol, self._max_body_bytes)
            query = dialect.decode(request)
            answer = await self._watched(query, protocol)
            return dialect.encode(request, query, answer)
        except ProtocolClosed:
            raise
        except Exception as error:
            return dialect.encode_error(request, presentable(error))

    async def _watched(self, query: Query, protocol: Any) -> Answer:
        task = asyncio.current_task()
        assert task is not None
        waiting = self._open[task] = _OpenRequest(protocol)
        if self._look is None:
            self._look_later()
        try:
            return await self._answer(query)
        finally:
            del self._open[task]
            if waiting.watch is not None:
                waiting.watch.cancel()

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._look_at_open)

    def _look_at_open(self) -> None:
        self._look = None
        for task, request in self._open.items():
            if request.old and request.watch is None:
                request.watch = asyncio.get_running_loop().create_task(_cancel_on_leave(task, request.protocol))
            request.old = True
        if self._open:
            self._look_later()


async def _cancel_on_leave(task: asyncio.Task[Any], protocol: Any) -> None:
    await protocol.client_disconnect()
    task.cancel()


async def read_body(scope: Any, protocol: Any, max_bytes: int) -> bytes:
    """The body of an RSGI request; raises `PayloadTooLarge` before more than `max_bytes` are held."""
    length = scope.headers.get("content-length")
    if length is not None:
        # The server underneath holds the client to this length.
        if not length.isdigit():
            raise InvalidInput(f"content-length must be a number, got {length[:40]!r}")
        if int(length) > max_bytes:
            raise _too_large(max_bytes, f"{length} bytes")
        body: bytes = await protocol()
        return body
    if scope.method in ("GET", "HEAD"):
        return b""
    chunks: list[bytes] = []
    size = 0
    async for chunk in protocol:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes, "more")
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int, got: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have {max_bytes} bytes, got {got}", max_body_bytes=max_bytes)
