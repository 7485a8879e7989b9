"""The streams of an HTTP/2 connection, by number: those that are open, and how others have ended (RFC 9113, 5.1)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from serve.front_doors.http2_frames import Code, ConnectionFault, StreamFault

if TYPE_CHECKING:
    from serve.front_doors.http2_stream import Stream

MAX_ENDED = 128
"""Streams of which is remembered how they have ended."""


class Ended(enum.IntEnum):
    """How a stream has ended."""

    WHOLE = 0
    """The client had sent all."""
    RESET = 1
    """By the client."""
    EARLY = 2
    """By the server, while the client may have been sending still."""


class StreamTable:
    """See the module."""

    __slots__ = ("_ended", "last", "open", "taken", "under_way")

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        self.under_way = 0
        """Those that are open, and others for which work goes on."""
        self.last = 0
        """The highest number so far."""
        self.taken = 0
        """The highest of one that was not refused."""
        self._ended: dict[int, Ended] = {}

    def find(self, number: int) -> Stream | None:
        """The stream, None for one that has ended. Raises `ConnectionFault` for one that never was."""
        if not number & 1 or number > self.last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} is not open")
        return self.open.get(number)

    def add(self, stream: Stream) -> None:
        """A stream that the client has opened."""
        self.taken = stream.number
        self.open[stream.number] = stream
        self.under_way += 1

    def end(self, stream: Stream, how: Ended) -> None:
        """Nothing is sent on the stream any more."""
        self.open.pop(stream.number, None)
        self.remember(stream.number, how)
        stream.close()

    def remember(self, number: int, how: Ended) -> None:
        """How a stream has ended."""
        ended = self._ended
        ended[number] = how
        if len(ended) > MAX_ENDED:
            del ended[next(iter(ended))]

    def is_known(self, number: int) -> bool:
        """Whether it has ended, and not long ago."""
        return number in self._ended

    def look_back(self, number: int) -> None:
        """A frame has come that only open streams may get, for one that is not: raises, unless it may have crossed with
        the end that the server gave it. The benefit of the doubt has what ended long ago."""
        if not number & 1 or number > self.last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} is not open")
        how = self._ended.get(number)
        if how is Ended.WHOLE:
            raise ConnectionFault(Code.STREAM_CLOSED, f"stream {number} has ended")
        if how is Ended.RESET:
            raise StreamFault(number, Code.STREAM_CLOSED)
