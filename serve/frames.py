"""Frames: what travels between a gateway and a model replica, on one stream of bytes each.

A frame is a header of 25 bytes, little-endian, and its content:

| bytes | what |
| --- | --- |
| 8 | length of the content |
| 8 | number of the call, chosen by the gateway |
| 8 | seconds that the gateway will wait (float64); 0 where there is nothing to wait for |
| 1 | kind |
"""

from __future__ import annotations

import asyncio
import enum
import logging
import struct
import threading
from abc import ABC, abstractmethod
from functools import cache
from typing import cast

import msgspec

from model_store.errors import OutOfMemory
from serve.in_place import InPlaceBytes

log = logging.getLogger("onegate")

_HEADER = struct.Struct("<QQdB")

_READ_BYTES = 256 * 1024
"""Read at once, at most."""

_IN_PLACE_FROM_BYTES = 64 * 1024
"""A content of which as much is missing is written by the socket where it stays."""

_JOINED_TO_BYTES = 64 * 1024
"""A smaller content is copied behind its header, to be sent as one piece."""


class Kind(enum.IntEnum):
    """What a frame's content is."""

    HELLO = 1
    """The cluster's secret: the first frame of a gateway."""
    INFER = 2
    """A `ModelInferRequest`."""
    READY = 3
    """A `ModelReadyRequest`."""
    CANCEL = 4
    """Nothing: the call of that number is given up, and will not be answered."""
    ANSWER = 5
    """The response's message."""
    REFUSAL = 6
    """A `Refusal` in place of it."""
    PING = 7
    """Nothing, both ways: is the other end there?"""
    TRACED_INFER = 8
    """As `INFER`; the replica is to send `TIMES` before the answer."""
    TIMES = 9
    """`TIMES_LAYOUT`: when the runtime began, when it had ended, and when the answer was written, in nanoseconds since
    the call was there."""


TIMES_LAYOUT = struct.Struct("<QQQ")


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """An error: its kind (`ERROR_KINDS`), its text, and when to come again, where that is known."""

    kind: str
    text: str
    retry_after_s: float | None = None


@cache
def _buffer_of(thread_id: int) -> memoryview:
    """What all streams of a thread read into: nothing stays there from one read to the next."""
    return memoryview(bytearray(_READ_BYTES))


class FrameConnection(asyncio.BufferedProtocol, ABC):
    """One end of a stream. Sending never waits: what is under way at once is bounded by who calls."""

    longest_bytes: int | None = None
    """Of a frame's content that the other end may send; None is no limit."""
    heard = False
    """Set with whatever comes; who wants to know clears it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = _buffer_of(threading.get_ident())
        self._rest = b""
        self._head = (0, 0, 0.0)
        self._content: InPlaceBytes | None = None
        self._unwanted = 0
        """Bytes still to come of a content for which there is no room."""

    @abstractmethod
    def received(self, kind: int, number: int, seconds: float, content: bytes) -> None:
        """A frame has come."""

    @abstractmethod
    def not_received(self, kind: int, number: int, error: OutOfMemory) -> None:
        """A frame is coming for whose content there is no room; it is passed over."""

    @abstractmethod
    def ended(self) -> None:
        """The stream has ended, on either side."""

    def send(self, kind: Kind, number: int = 0, content: bytes = b"", seconds: float = 0.0) -> None:
        """Sends a frame, unless the stream has ended."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        head = _HEADER.pack(len(content), number, seconds, kind)
        if len(content) < _JOINED_TO_BYTES:
            transport.write(head + content)
        else:
            transport.writelines((head, content))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The stream is there."""
        # uvloop's transports are of no class that asyncio knows.
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The stream has ended."""
        self.transport = None
        self.ended()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer if self._content is None else self._content.room()

    def buffer_updated(self, count: int) -> None:
        """Bytes have come."""
        self.heard = True
        content = self._content
        if content is None:
            passed = min(count, self._unwanted)
            self._unwanted -= passed
            self._read(self._buffer[passed:count])
            return
        content.fill(count)
        if content.whole:
            self._content = None
            self.received(*self._head, content.content())

    def _read(self, data: memoryview) -> None:
        if self._rest:
            data, self._rest = memoryview(self._rest + data), b""
        begin, size = 0, len(data)
        while size - begin >= _HEADER.size and self.transport is not None:
            length, number, seconds, kind = _HEADER.unpack_from(data, begin)
            if self.longest_bytes is not None and length > self.longest_bytes:
                self.abort(f"expected a frame of at most {self.longest_bytes} bytes, got one of {length}")
                return
            content, end = begin + _HEADER.size, begin + _HEADER.size + length
            if end - size >= _IN_PLACE_FROM_BYTES:
                self._head = (kind, number, seconds)
                self._begin(length, bytes(data[content:]))
                return
            if end > size:
                break
            self.received(kind, number, seconds, bytes(data[content:end]))
            begin = end
        self._rest = bytes(data[begin:])

    def _begin(self, length: int, begin: bytes) -> None:
        try:
            self._content = InPlaceBytes(length)
        except OutOfMemory as error:
            self._unwanted = length - len(begin)
            kind, number, _ = self._head
            self.not_received(kind, number, error)
        else:
            self._content.begin(begin)

    def abort(self, reason: str) -> None:
        """Ends the stream at once; what was not sent yet is not sent."""
        log.info("a stream between gateway and replica is cut: %s", reason)
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
