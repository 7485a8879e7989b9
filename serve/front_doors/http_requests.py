"""The requests of one HTTP/1.1 connection, read out of its bytes and put in line (RFC 9112).

llhttp, by httptools, reads heads and small bodies from one buffer that all connections share; sockets write large
bodies where they stay. What becomes of requests is `http_connection.py`'s.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import httptools
import msgspec

from model_store.errors import InvalidInput, OutOfMemory
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.http_bodies import too_large
from serve.front_doors.http_connections import HttpConnections
from serve.front_doors.http_messages import header_name, kept_target, method_name, read_target
from serve.in_place import InPlace

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers; larger ones are answered with 431."""

LARGE_FROM_BYTES = 64 * 1024
"""As much of a body must be missing for the socket to write it in its place; of a refused one, what is still read."""

MAX_FRAMING = 8
"""Bytes on the wire for one of a chunked body, at most: six, if each byte is a chunk."""

MAX_PIPELINED = 16
"""Requests that may wait for their turn in a connection; then it is not read from."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange(msgspec.Struct):
    """A request on its way to its reply; `reply` is set where it is known without the application.

    `request` is None for what was no HTTP.
    """

    request: HttpRequest | None
    keep_alive: bool = False
    http_1_0: bool = False
    """Its client has to be told that the connection stays open."""
    reply: HttpReply | None = None


class RequestReader(asyncio.BufferedProtocol, ABC):
    """The side of a connection that the client writes to."""

    __slots__ = (
        "_deaf", "_exchange", "_expects", "_fed", "_headers", "_large", "_left", "_limit", "_open", "_parser", "_parts",
        "_shared", "_since", "_size", "_transport", "_url", "_waiting",
    )  # fmt: skip

    def __init__(self, shared: HttpConnections) -> None:
        self._shared = shared
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
        """Requests that are whole and not answered yet, in their order."""
        self._open = 0
        """Those for which there is a head and no reply."""

    @abstractmethod
    def _go_on(self) -> None:
        """There is a request in the line, or a reply to what was none."""

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
            self._end(Exchange(None, reply=bare_reply(431, f"the headers may have {MAX_HEAD_BYTES} bytes")))

    def on_url(self, part: bytes) -> None:
        """Part of the target."""
        if self._exchange is None:
            self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header; of one that comes twice the values stand side by side (RFC 9110, section 5.3)."""
        if self._exchange is not None:
            # Behind the body, where nobody looks for it.
            return
        key, text = header_name(name), value.decode("latin-1").rstrip(" \t")
        before = self._headers.get(key)
        self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        """The head is there: the request is admitted or refused."""
        if self._exchange is not None:
            return
        headers, shared = self._headers, self._shared
        path, query = kept_target(self._url) if len(self._url) < 256 else read_target(self._url)
        request = HttpRequest(method_name(self._parser.get_method()), path, b"", headers.get, headers, query)
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
            exchange.reply = bare_reply(431, f"the headers may have {MAX_HEAD_BYTES} bytes")
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
            self._end(Exchange(None, reply=bare_reply(400, f"this is no HTTP/1.1: {error}")))
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


def bare_reply(status: int, text: str) -> HttpReply:
    """A reply to what no dialect gets to see."""
    return HttpReply(status, text.encode(), [("content-type", "text/plain; charset=utf-8")])
