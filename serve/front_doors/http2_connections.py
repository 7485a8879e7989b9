"""What the HTTP/2 connections of a listener share, and what answers their requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from serve.front_doors.http2_headers import RequestHead
from serve.front_doors.http2_stream import Stream
from serve.front_doors.listener import Connections

if TYPE_CHECKING:
    from serve.front_doors.http2_connection import Http2Connection

READ_BYTES = 256 * 1024
"""Read at once, at most."""


class Http2Application(Protocol):
    """What answers the requests of a listener."""

    def open(self, connection: Http2Connection, number: int, head: RequestHead) -> Stream:
        """The stream for a request whose headers are there."""


class Http2Connections(Connections["Http2Connection"]):
    """What all connections of a listener share."""

    def __init__(self, application: Http2Application, on_close: Callable[[], None], *, timeout_s: float) -> None:
        super().__init__(on_close, timeout_s)
        self.application = application
        self.timeout_s = timeout_s
        """For a frame, a message, and to make room for an answer."""
        self.deserted = asyncio.Event()
        """Set when the last connection has ended."""
        self.buffer = memoryview(bytearray(READ_BYTES))

    def closed(self, connection: Http2Connection) -> None:
        """Called by a connection at its end."""
        super().closed(connection)
        if not self.open:
            self.deserted.set()
