"""One HTTP/1.1 connection (RFC 9112): requests in, replies out in the same order, on the event loop's own thread.

How requests are read is `http_requests.py`'s. No other thread takes part, so a request costs no hop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from model_store.errors import InternalError
from serve.access_log import GONE
from serve.dialects.base import HttpReply
from serve.front_doors.http_bodies import BodyTimeout
from serve.front_doors.http_connections import HttpConnections
from serve.front_doors.http_messages import has_body, head_of
from serve.front_doors.http_requests import MAX_PIPELINED, Exchange, RequestReader, bare_reply
from serve.front_doors.listener import peer_of

log = logging.getLogger("onegate")

JOINED_TO_BYTES = 64 * 1024
"""Smaller replies are copied behind their headers, to be sent as one piece."""

LINGER_S = 2.0
"""How long a client that is still sending may take to read why nobody listens."""

_CLOSE = "connection: close\r\n"
_STAY = "connection: keep-alive\r\n"


class HttpConnection(RequestReader):
    """See the module. A connection without a sign of life for its listener's times is closed."""

    __slots__ = ("_loop", "_peer", "_task", "_unread", "_writable")

    def __init__(self, shared: HttpConnections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared)
        self._loop = loop
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
                self._end(Exchange(None, reply=bare_reply(408, "the headers did not arrive in time")))
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
