"""What a server sends on an HTTP/2 connection: when it leaves, and how much the client has room for (RFC 9113, section
5.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serve.front_doors.http2_frames import (
    DEFAULT_WINDOW,
    LARGEST_WINDOW,
    SMALLEST_FRAME_LIMIT,
    Code,
    ConnectionFault,
)

if TYPE_CHECKING:
    from serve.front_doors.http2_stream import Stream
    from serve.front_doors.http2_stream_table import StreamTable

JOINED_TO_BYTES = 64 * 1024
"""Smaller answers are copied behind their headers, to be sent as one piece."""


class Outbox:
    """A connection's side that sends. What is sent in one turn of the event loop leaves together: each system call
    costs as much as a small answer."""

    __slots__ = (
        "_loop", "_parts", "_streams", "_transport", "frame_limit", "initial_window", "size", "waiting", "window",
        "writable",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, streams: StreamTable) -> None:
        self._transport = transport
        self._loop = loop
        self._streams = streams
        self._parts: list[bytes | memoryview] = []
        self.size = 0
        """About so many bytes leave at the end of the turn."""
        self.writable = True
        """The client reads what is sent."""
        self.window = DEFAULT_WINDOW
        """What the client lets us send on all streams together; the next two are its settings."""
        self.initial_window = DEFAULT_WINDOW
        self.frame_limit = SMALLEST_FRAME_LIMIT
        self.waiting: dict[int, Stream] = {}
        """Streams with data for which there was no room."""

    def write(self, parts: Sequence[bytes | memoryview], size: int) -> None:
        """Sends frames of about `size` bytes."""
        if not self._parts:
            if self._streams.under_way <= 1 and size < JOINED_TO_BYTES:
                # There is nothing else to wait for.
                if not self._transport.is_closing():
                    self._transport.write(b"".join(parts))
                return
            self._loop.call_soon(self.flush)
        self._parts += parts
        self.size += size
        if self.size >= JOINED_TO_BYTES:
            self.flush()

    def say(self, frame: bytes) -> None:
        """Sends a frame."""
        self.write((frame,), len(frame))

    def flush(self) -> None:
        """Sends what waits for the end of the turn."""
        parts, size = self._parts, self.size
        self._parts, self.size = [], 0
        if not parts or self._transport.is_closing():
            return
        if size < JOINED_TO_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def widen(self, increment: int) -> None:
        """The client has room for more."""
        self.window += increment
        if not increment or self.window > LARGEST_WINDOW:
            code = Code.FLOW_CONTROL_ERROR if increment else Code.PROTOCOL_ERROR
            raise ConnectionFault(code, f"the connection's window can't grow by {increment}")
        self.send_more()

    def send_more(self) -> None:
        """A frame of each stream that waits in turn, as long as there is room."""
        waiting, sends = self.waiting, True
        while sends and waiting and self.window > 0:
            sends = False
            for stream in list(waiting.values()):
                if stream.send_frame():
                    sends = True
                    if stream.is_held_back:
                        # Behind the others, who may have to wait for another window.
                        waiting[stream.number] = waiting.pop(stream.number)
