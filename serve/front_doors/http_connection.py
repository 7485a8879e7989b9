"""One HTTP/1.1 connection (RFC 9112): requests in, replies out in the same order, on the event loop's own thread.

llhttp, by httptools, reads heads and small bodies from one buffer that all connections share; sockets write large
bodies where they stay. No other thread takes part, so a request costs no hop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, cast

import httptools
import msgspec

from model_store.errors import InternalError, InvalidInput, OutOfMemory
from serve.access_log import GONE, AccessLog
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.http_bodies import BodyTimeout, too_large
from serve.front_doors.http_messages import has_body, head_of, read_target
from serve.front_doors.listener import Connections, peer_of
from serve.in_place import InPlace

log = logging.getLogger("onegate")

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers; larger ones are answered with 431."""

READ_BYTES = 256 * 1024
"""Read at once, at most."""

LARGE_FROM_BYTES = 64 * 1024
"""As much of a body must be missing for the socket to write it in its place; of a refused one, what is still read."""

MAX_FRAMING = 8
"""Bytes on the wire for one of a chunked body, at most: six, if each byte is a chunk."""

JOINED_TO_BYTES = 64 * 1024
"""Smaller replies are copied behind their headers, to be sent as one piece."""

MAX_PIPELINED = 16
"""Requests that may wait for their turn in a connection; then it is not read from."""

LINGER_S = 2.0
"""How long a client that is still sending may take to read why nobody listens."""

_CLOSE = "connection: close\r\n"
_STAY = "connection: keep-alive\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpApplication(Protocol):
    """What answers the requests of a listener."""

    def admit(self, request: HttpRequest, under_way: int) -> int:
        """How many bytes the body of a request may have whose head is there; raises where it is refused. `under_way`
        requests are not answered yet."""

    def room(self, request: HttpRequest, length: int) -> InPlace:
        """Where a large body of so many bytes is received; raises `OutOfMemory`."""

    async def answer(self, request: HttpRequest) -> HttpReply:
        """The reply to a whole request. Raises nothing; is cancelled when the client goes away."""

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        """The reply to a request that did not get as far as `answer`."""


class Exchange(msgspec.Struct):
    """A request on its way to its reply; `reply` is set where it is known without the application.

    `request` is None for what was no HTTP.
    """

    request: HttpRequest | None
    keep_alive: bool = False
    http_1_0: bool = False
    """Its client has to be told that the connection stays open."""
    reply: HttpReply | None = None


class HttpConnections(Connections["HttpConnection"]):
    """What all connections of a listener share."""

    def __init__(
        self,
        application: HttpApplication,
        on_close: Callable[[], None],
        *,
        header_timeout_s: float,
        body_timeout_s: float,
        access_log: AccessLog | None = None,
    ) -> None:
        super().__init__(on_close, header_timeout_s, body_timeout_s)
        self.application = application
        self.header_timeout_s = header_timeout_s
        self.body_timeout_s = body_timeout_s
        self.access_log = access_log
        self.date = ""
        """The header line, of this second."""
        self.under_way = 0
        self.buffer = memoryview(bytearray(READ_BYTES))


class HttpConnection(asyncio.BufferedProtocol):
    """See the module. A connection without a sign of life for its listener's times is closed."""

    __slots__ = (
        "_deaf", "_exchange", "_expects", "_fed", "_headers", "_large", "_left", "_limit", "_loop", "_open", "_parser",
        "_parts", "_peer", "_shared", "_since", "_size", "_task", "_transport", "_unread", "_url", "_waiting",
        "_writable",
    )  # fmt: skip

    def __init__(self, shared: HttpConnections, loop: asyncio.AbstractEventLoop) -> None:
        self._shared = shared
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._since = shared.tick
        self._fed = 0
        """Bytes since the last whole request."""
        self._url = b""
        self._headers: dict[str, str] = {}
        self._exchange: Exchange | None = None
        """Whose body is being received."""
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = 0
        self._left: int | None = None
        """Bytes of the body that are missing; None where the client doesn't say."""
        self._expects = False
        self._large: InPlace | None = None
        self._deaf = False
        """What still comes is nobody's."""
        self._waiting: deque[Exchange] = deque()
        self._open = 0
        self._task: asyncio.Task[None] | None = None
        self._writable = True
        self._peer = ""
        """The client's address, where requests are noted."""
        self._unread = 0
        """What a slow client had not read at the last look."""

    # -- the event loop's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        # uvloop's transports are of no class that asyncio knows.
        self._transport = cast(asyncio.Transport, transport)
        self._shared.open.add(self)
        if self._shared.access_log is not None:
            self._peer = peer_of(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone: so does the work for it."""
        self._shared.under_way -= self._open
        self._open = 0
        self._waiting.clear()
        self._deaf = True
        self._large = None
        # Each holds the other.
        self._parser = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._shared.closed(self)

    def eof_received(self) -> None:
        """The client says that it has finished, which is how leaving looks: the connection is closed."""

    def pause_writing(self) -> None:
        """The client reads slower than replies are written."""
        self._writable = False

    def resume_writing(self) -> None:
        """The replies so far are on their way."""
        self._writable = True
        self._since = self._shared.tick
        self._go_on()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._shared.buffer if self._large is None else self._large.room()

    def buffer_updated(self, count: int) -> None:
        """Bytes have come."""
        if self._deaf:
            return
        if self._large is None:
            self._read(self._shared.buffer[:count], count)
            return
        self._large.fill(count)
        if self._large.whole:
            self._take_large(self._large)

    # -- in --------------------------------------------------------------------------------------------------------

    def _read(self, data: memoryview, count: int) -> None:
        if not self._fed:
            self._since = self._shared.tick
        self._fed += count
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # An offer to speak another protocol, which is not taken up (RFC 9110, section 7.8). llhttp believes that it
            # is: a body that follows the head all the same is announced to a new parser.
            self._parser = httptools.HttpRequestParser(self)
            if self._exchange is not None:
                framing = b"transfer-encoding: chunked" if self._left is None else b"content-length: %d" % self._left
                self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
            if rest := data[upgrade.args[0] :]:
                self._read(rest, len(rest))
            return
        except httptools.HttpParserError as error:
            self._end_with_nonsense(error)
            return
        if self._exchange is not None:
            self._wait_for_body(self._exchange)
        elif self._fed > MAX_HEAD_BYTES and not self._deaf:
            self._end(Exchange(None, reply=_bare(431, f"the headers may have {MAX_HEAD_BYTES} bytes")))

    def on_url(self, part: bytes) -> None:
        """Part of the target."""
        if self._exchange is None:
            self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header; of one that comes twice the values stand side by side (RFC 9110, section 5.3)."""
        if self._exchange is not None:
            # Behind the body, where nobody looks for it.
            return
        key, text = _header_name(name), value.decode("latin-1").rstrip(" \t")
        before = self._headers.get(key)
        self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        """The head is there: the request is admitted or refused."""
        if self._exchange is not None:
            return
        headers, shared = self._headers, self._shared
        path, query = _target(self._url) if len(self._url) < 256 else read_target(self._url)
        request = HttpRequest(_method(self._parser.get_method()), path, b"", headers.get, headers, query)
        exchange = Exchange(request, self._parser.should_keep_alive(), self._parser.get_http_version() == "1.0")
        self._exchange = exchange
        self._since = shared.tick
        length = headers.get("content-length")
        self._left = int(length) if length is not None else None if "transfer-encoding" in headers else 0
        self._expects = "expect" in headers and headers["expect"].lower() == "100-continue" and not exchange.http_1_0
        try:
            self._limit = shared.application.admit(request, shared.under_way)
            if self._left is not None and self._left > self._limit:
                raise too_large(self._limit, f"{self._left} bytes")
        except Exception as error:
            exchange.reply = shared.application.refuse(request, error)
        if self._fed > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            exchange.reply = _bare(431, f"the headers may have {MAX_HEAD_BYTES} bytes")
            exchange.keep_alive = False
        self._open += 1
        shared.under_way += 1
        self._url, self._headers = b"", {}

    def _head_bytes(self) -> int:
        # With `: ` and the end of each line.
        return len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers.items())

    def on_body(self, part: bytes) -> None:
        """Part of the body."""
        if self._left is not None:
            self._left -= len(part)
        exchange = self._exchange
        if exchange is None or exchange.reply is not None:
            return
        self._size += len(part)
        if self._size > self._limit:
            # Only where the client does not say how long it is.
            assert exchange.request is not None
            exchange.reply = self._shared.application.refuse(exchange.request, too_large(self._limit, "more"))
            self._parts.clear()
            return
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """The request is whole."""
        exchange, parts = self._exchange, self._parts
        if exchange is None or exchange.request is None or (self._left != 0 and self._parser.should_upgrade()):
            return
        if parts:
            exchange.request.content = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts = []
        self._received(exchange)

    def _received(self, exchange: Exchange) -> None:
        self._exchange = None
        self._fed = self._size = 0
        if exchange.request is not None:
            exchange.request.received_ns = time.perf_counter_ns()
        self._waiting.append(exchange)
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()
        self._go_on()

    def _wait_for_body(self, exchange: Exchange) -> None:
        """A request's head is there, and not all of its body."""
        left = self._left
        if exchange.reply is not None:
            if left is None or left > LARGE_FROM_BYTES or self._expects:
                self._end(exchange)
            return
        if left is None and self._fed > MAX_FRAMING * self._size + MAX_HEAD_BYTES:
            self._end_with_nonsense("it is more frame than body")
            return
        if left is not None and left >= LARGE_FROM_BYTES:
            self._receive_in_place(exchange, left)
        if self._expects and not self._size and not self._deaf:
            self._transport.write(_CONTINUE)
        self._expects = False

    def _receive_in_place(self, exchange: Exchange, left: int) -> None:
        assert exchange.request is not None
        try:
            self._large = self._shared.application.room(exchange.request, left + self._size)
        except OutOfMemory as error:
            exchange.reply = self._shared.application.refuse(exchange.request, error)
            self._end(exchange)
        else:
            self._large.begin(b"".join(self._parts))
        self._parts = []
        # The one that has read the head will not get to see the end.
        self._parser = httptools.HttpRequestParser(self)

    def _take_large(self, large: InPlace) -> None:
        exchange, self._large = self._exchange, None
        assert exchange is not None
        assert exchange.request is not None
        exchange.request.content = large.content()
        self._received(exchange)

    def _end_with_nonsense(self, error: object) -> None:
        exchange = self._exchange
        if exchange is None or exchange.request is None:
            self._end(Exchange(None, reply=_bare(400, f"this is no HTTP/1.1: {error}")))
            return
        told = InvalidInput(f"the body is not framed as HTTP/1.1 has it: {error}")
        exchange.reply = exchange.reply or self._shared.application.refuse(exchange.request, told)
        self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        """The last reply; what the client still sends is not read any more."""
        self._deaf = True
        self._large = None
        exchange.keep_alive = False
        if exchange.request is None:
            self._open += 1
            self._shared.under_way += 1
        self._waiting.append(exchange)
        self._go_on()

    # -- out -------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while self._waiting and self._task is None and self._writable:
            exchange = self._waiting.popleft()
            if exchange.reply is None:
                self._task = asyncio.Task(self._answer(exchange), loop=self._loop, name="request")
            else:
                self._send(exchange, exchange.reply)
            if len(self._waiting) == MAX_PIPELINED - 1 and not self._deaf:
                self._transport.resume_reading()

    async def _answer(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        try:
            reply = await self._shared.application.answer(exchange.request)
        except asyncio.CancelledError:
            if self._shared.access_log is not None:
                self._shared.access_log.note_http(exchange.request, GONE, 0, self._peer)
            raise
        except Exception:
            log.exception("a request was not answered")
            self._transport.abort()
            return
        self._task = None
        self._send(exchange, reply)
        if self._waiting:
            self._go_on()

    def _send(self, exchange: Exchange, reply: HttpReply) -> None:
        shared, transport = self._shared, self._transport
        if transport.is_closing():
            return
        keep = exchange.keep_alive and not shared.draining and ("connection", "close") not in reply.headers
        connection = _CLOSE if not keep else _STAY if exchange.http_1_0 else ""
        request = exchange.request
        try:
            head = head_of(reply, reply.size, shared.date, connection)
        except (InternalError, UnicodeError) as error:
            log.error("%s", error)
            assert request is not None
            reply = shared.application.refuse(request, error)
            head = head_of(reply, reply.size, shared.date, connection)
        if request is not None and not has_body(reply.status, request.method):
            transport.write(head)
        elif reply.tail or len(reply.body) >= JOINED_TO_BYTES:
            transport.writelines((head, reply.body, *reply.tail))
        else:
            transport.write(head + reply.body)
        if shared.access_log is not None:
            shared.access_log.note_http(request, reply.status, reply.size, self._peer)
        self._open -= 1
        shared.under_way -= 1
        self._since = shared.tick
        if not keep:
            self._close_when_sent()

    def _close_when_sent(self) -> None:
        # Requests behind one that ends the connection get no answer, so nobody works for them (RFC 9112, section 9.6).
        self._waiting.clear()
        if not self._deaf:
            self._deaf = True
            self._transport.close()
        elif self._transport.can_write_eof():
            # Closed at once, with bytes unread, the kernel would take the reply away from the client.
            self._transport.write_eof()

    # -- time ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Called once a tick: ends what has taken too long."""
        shared = self._shared
        if self._deaf or not self._writable:
            unread, before = self._transport.get_write_buffer_size(), self._unread
            self._unread = unread
            if unread < before:
                # It reads, if slowly.
                self._since = shared.tick
        since = self._since
        if self._task is not None or self._waiting:
            if not self._writable and shared.is_late(since, shared.body_timeout_s):
                self._transport.abort()
        elif self._deaf or self._transport.is_closing():
            unread = self._transport.get_write_buffer_size()
            if shared.is_late(since, shared.body_timeout_s if unread else LINGER_S):
                self._transport.abort()
        elif self._exchange is not None:
            self._look_at_body(self._exchange)
        elif not self._writable:
            if shared.is_late(since, shared.body_timeout_s):
                self._transport.abort()
        elif shared.is_late(since, shared.header_timeout_s):
            if self._fed:
                self._end(Exchange(None, reply=_bare(408, "the headers did not arrive in time")))
            else:
                self._transport.close()

    def _look_at_body(self, exchange: Exchange) -> None:
        shared = self._shared
        if not shared.is_late(self._since, shared.body_timeout_s):
            return
        assert exchange.request is not None
        error = BodyTimeout(f"the body did not arrive within {shared.body_timeout_s:g} s")
        exchange.reply = exchange.reply or shared.application.refuse(exchange.request, error)
        self._end(exchange)

    def close_if_idle(self) -> None:
        """Closes a connection that has no request to answer."""
        if not (self._open or self._deaf):
            self._transport.close()


def _bare(status: int, text: str) -> HttpReply:
    """A reply to what no dialect gets to see."""
    return HttpReply(status, text.encode(), [("content-type", "text/plain; charset=utf-8")])


@lru_cache(maxsize=512)
def _header_name(name: bytes) -> str:
    return name.decode("latin-1").lower()


_target = lru_cache(maxsize=1024)(read_target)


@lru_cache(maxsize=64)
def _method(method: bytes) -> str:
    return method.decode("latin-1")
