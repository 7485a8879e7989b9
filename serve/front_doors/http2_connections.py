"""What the HTTP/2 connections of a listener share, and what answers their requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from serve.front_doors.http2_headers import RequestHead
from serve.front_doors.http2_stream import Stream

if TYPE_CHECKING:
    from serve.front_doors.http2_connection import Http2Connection

READ_BYTES = 256 * 1024
"""Read at once, at most."""


class Http2Application(Protocol):
    """What answers the requests of a listener."""

    def open(self, connection: Http2Connection, number: int, head: RequestHead) -> Stream:
        """The stream for a request whose headers are there."""


class Http2Connections:
    """What all connections of a listener share. Times are counted in ticks of `tick_s` seconds."""

    def __init__(self, application: Http2Application, on_close: Callable[[], None], *, timeout_s: float) -> None:
        self.application = application
        self._on_close = on_close
        self.timeout_s = timeout_s
        """For a frame, a message, and to make room for an answer."""
        self.tick_s = max(0.02, min(1.0, timeout_s / 4))
        self.tick = 0
        self.draining = False
        self.open: set[Http2Connection] = set()
        self.deserted = asyncio.Event()
        """Set when the last connection has ended."""
        self.buffer = memoryview(bytearray(READ_BYTES))

    def is_late(self, since: int, limit_s: float) -> bool:
        """Whether more than `limit_s` have passed since that tick."""
        return (self.tick - since) * self.tick_s > limit_s

    def closed(self, connection: Http2Connection) -> None:
        """Called by a connection at its end."""
        self.open.discard(connection)
        if not self.open:
            self.deserted.set()
        self._on_close()
