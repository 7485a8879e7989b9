"""One stream of an HTTP/2 connection: what it may receive, and what it has to send (RFC 9113, sections 5 and 8)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from serve.front_doors.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    LARGEST_WINDOW,
    Code,
    ConnectionFault,
    StreamFault,
    window_update,
)
from serve.front_doors.http2_limits import CHATTER_BYTES, RESTORED_BY_MESSAGE

if TYPE_CHECKING:
    from serve.front_doors.http2_connection import Http2Connection

STREAM_WINDOW = 256 * 1024
"""What a client may send of a request before anything was granted to it."""

TURN_BYTES = 16 * 1024
TURN_MESSAGES = 64
"""Sent in one turn of the event loop, where more may follow."""

_ENDING = END_HEADERS | END_STREAM


class Stream(ABC):
    """A request and its answer. The application makes a class of it.

    It counts among the connection's streams until it has ended on the wire and, while `working`, here.
    """

    __slots__ = (
        "_counted", "_made", "_trailers", "_unsent", "_waiting", "closed", "connection", "credit", "ended", "expected",
        "moved", "number", "window", "working",
    )  # fmt: skip

    def __init__(self, connection: Http2Connection, number: int, expected: int | None) -> None:
        self.connection = connection
        self.number = number
        self.expected = expected
        """Bytes of the body that are missing; None where the client doesn't say."""
        self.credit = STREAM_WINDOW
        """What the client may send."""
        self.window = connection.out.initial_window
        """What it lets us send."""
        self.ended = False
        """The client has sent all."""
        self.closed = False
        """Nothing is sent or received any more."""
        self.working = False
        self.moved = 0
        """The tick in which data was last sent."""
        self._counted = True
        self._made = 0
        """Messages of a stream so far."""
        self._unsent: deque[memoryview] | None = None
        self._trailers = b""
        self._waiting: asyncio.Future[None] | None = None

    # -- the application's side ------------------------------------------------------------------------------------

    @abstractmethod
    def opened(self) -> None:
        """The headers are there."""

    @abstractmethod
    def received(self, part: bytes | memoryview) -> None:
        """Part of the body, to be copied if it is kept. More may follow unless the stream has `ended`."""

    @abstractmethod
    def room(self) -> memoryview | None:
        """Where the next bytes of the body go, for the socket to write them there, or None."""

    @abstractmethod
    def filled(self, count: int) -> None:
        """So many bytes were written into the last `room`."""

    @abstractmethod
    def finished(self) -> None:
        """The request is whole."""

    @abstractmethod
    def gone(self) -> None:
        """Nobody waits for the answer any more."""

    @abstractmethod
    def give_up(self) -> None:
        """The server waits no longer: the client is told."""

    @abstractmethod
    def look(self) -> None:
        """Called once a tick: ends what has taken too long."""

    # -- in --------------------------------------------------------------------------------------------------------

    def take(self, part: bytes | memoryview, last: bool) -> None:
        """Data that has come."""
        self._measure(len(part), last)
        self.received(part)
        if last and not self.closed:
            self.finished()

    def take_in_place(self, count: int, last: bool) -> None:
        """Data that is in `room`."""
        self._measure(count, last)
        self.filled(count)
        if last and not self.closed:
            self.finished()

    def end(self) -> None:
        """The client has nothing more to send, and says so without data."""
        self._measure(0, True)
        self.finished()

    def _measure(self, size: int, last: bool) -> None:
        self.credit -= size
        if last:
            self.ended = True
        if self.expected is not None:
            self.expected -= size
            if self.expected < 0 or (last and self.expected):
                # Section 8.1.1.
                raise StreamFault(self.number, Code.PROTOCOL_ERROR)

    def grant(self, wanted: int) -> None:
        """Lets the client send so many bytes from now on, where that is much more than it may."""
        missing = min(wanted, LARGEST_WINDOW) - self.credit
        if missing >= STREAM_WINDOW // 2 and not (self.closed or self.ended):
            self.credit += missing
            self.connection.out.say(window_update(self.number, missing))

    # -- out -------------------------------------------------------------------------------------------------------

    def widen(self, change: int) -> None:
        """The client has room for more, or by its settings for less."""
        self.window += change
        if self.window > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"the window of stream {self.number} is too large")

    def send_frames(self, head: bytes, body: Iterable[bytes], size: int, trailers: bytes) -> None:
        """Sends headers, `size` bytes of data and trailers, those that are there; trailers are the end.

        What the client's windows have no room for waits here for them.
        """
        if self.closed:
            return
        connection, number = self.connection, self.number
        out = connection.out
        parts: list[bytes] = []
        if head:
            parts += (FRAME_HEAD.pack(len(head) << 8 | HEADERS, END_HEADERS, number), head)
        # Windows may be below zero, where settings made them smaller; without data, it is no matter.
        if self._unsent or (size and size > min(self.window, out.window, out.frame_limit)):
            if parts:
                out.write(parts, len(head))
            self._keep(body, trailers)
            return
        if size:
            self.window -= size
            out.window -= size
            connection.chatter.restore(RESTORED_BY_MESSAGE + size / CHATTER_BYTES)
            parts.append(FRAME_HEAD.pack(size << 8 | DATA, 0, number))
            parts += body
        if trailers:
            parts += (FRAME_HEAD.pack(len(trailers) << 8 | HEADERS, _ENDING, number), trailers)
        out.write(parts, size + len(trailers))
        if trailers:
            connection.sent(self)

    def _keep(self, body: Iterable[bytes], trailers: bytes) -> None:
        if not self._unsent:
            self._unsent = deque()
            self.moved = self.connection.shared.tick
        self._unsent.extend(memoryview(part) for part in body if part)
        self._trailers = trailers
        out = self.connection.out
        out.waiting[self.number] = self
        out.send_more()

    def send_frame(self) -> bool:
        """Sends a frame of what waits, if there is room for one."""
        unsent, connection = self._unsent, self.connection
        out = connection.out
        size = min(self.window, out.window, out.frame_limit)
        if size <= 0 or not unsent:
            return False
        parts = _cut(unsent, size)
        size = sum(map(len, parts))
        self.window -= size
        out.window -= size
        self.moved = connection.shared.tick
        connection.chatter.restore(size / CHATTER_BYTES)
        frames = [FRAME_HEAD.pack(size << 8 | DATA, 0, self.number), *parts]
        ends = not unsent and bool(self._trailers)
        if ends:
            frames += (FRAME_HEAD.pack(len(self._trailers) << 8 | HEADERS, _ENDING, self.number), self._trailers)
        out.write(frames, size)
        if not unsent:
            out.waiting.pop(self.number, None)
            self.wake()
        if ends:
            connection.sent(self)
        return True

    @property
    def is_held_back(self) -> bool:
        """Whether data waits for the client to make room."""
        return bool(self._unsent)

    async def sendable(self) -> None:
        """Returns when what was sent has left, so that it pays to make more."""
        out = self.connection.out
        self._made += 1
        if out.size > TURN_BYTES or not self._made % TURN_MESSAGES:
            # So that one who makes messages without waiting for anything leaves turns to others.
            await asyncio.sleep(0)
        while (self._unsent or not out.writable) and not self.closed:
            self._waiting = self.connection.loop.create_future()
            await self._waiting

    def wake(self) -> None:
        """There may be room again."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Called when the stream has ended on the wire."""
        self.closed = True
        self._unsent = None
        self.connection.out.waiting.pop(self.number, None)
        self.wake()
        self.settle()

    def settle(self) -> None:
        """The stream counts no more, once it has ended on the wire and here."""
        if self.closed and not self.working and self._counted:
            self._counted = False
            self.connection.streams.under_way -= 1


def _cut(unsent: deque[memoryview], size: int) -> list[bytes | memoryview]:
    """Takes so many bytes from its begin, or all."""
    parts: list[bytes | memoryview] = []
    while unsent and size:
        part = unsent.popleft()
        if len(part) > size:
            unsent.appendleft(part[size:])
            part = part[:size]
        size -= len(part)
        parts.append(part)
    return parts
