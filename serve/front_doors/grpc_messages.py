"""The messages that come on the HTTP/2 stream of a gRPC call, cut out of its data: each behind a prefix, packed or not.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. What is made of them is `grpc_exchange.py`'s.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Self

from model_store.errors import InternalError, InvalidInput, OutOfMemory, PayloadTooLarge
from serve.front_doors.compression import inflated
from serve.front_doors.grpc_streams import AT_ONCE
from serve.front_doors.grpc_wire import PREFIX, Refusal
from serve.front_doors.http2_stream import STREAM_WINDOW, Stream
from serve.in_place import InPlaceBytes

if TYPE_CHECKING:
    from serve.front_doors.grpc_heads import CallHead
    from serve.front_doors.http2_connection import Http2Connection

CUT_OFF = "the last message is cut off"


class MessageStream(Stream):
    """A stream whose data are messages: one, or as many as are asked for, once there is a `_queue`. Each may have
    `max_bytes`, unpacked where it comes compressed."""

    __slots__ = (
        "_flag", "_head", "_held", "_large", "_left", "_max_bytes", "_message", "_prefix", "_queue", "_reader",
        "_refused", "_since",
    )  # fmt: skip

    def __init__(
        self, connection: Http2Connection, number: int, expected: int | None, head: CallHead, max_bytes: int
    ) -> None:
        # For every call: `super()` takes as long as what it finds.
        Stream.__init__(self, connection, number, expected)
        self._head = head
        self._max_bytes = max_bytes
        self._refused = b""
        """The only header block of a call that is not taken, whose messages are passed over."""
        self._prefix = b""
        """The beginning of a message, as long as its length is not known."""
        self._flag = 0
        """Whether the message is compressed, and what it has of it and of how much is missing, while it comes."""
        self._large: InPlaceBytes | None = None
        self._left = 0
        self._message: tuple[int, bytes] | None = None
        """The one of a call with one."""
        self._queue: deque[tuple[int, bytes]] | None = None
        """Of a stream, those that nobody has asked for yet, and bytes of those behind them."""
        self._held = bytearray()
        self._reader: asyncio.Future[None] | None = None
        self._since = connection.shared.tick
        """When what is coming has begun."""

    @abstractmethod
    def fail(self, refusal: Refusal) -> None:
        """Ends the call before its time."""

    @abstractmethod
    def note_too_large(self) -> None:
        """A message that is longer than it may be is about to end the call."""

    # -- in --------------------------------------------------------------------------------------------------------

    def received(self, part: bytes | memoryview) -> None:
        """Part of the messages; one that has come as a whole is cut out, another collected in its place."""
        if self._held:
            self._held += part
        elif not self._refused:
            self._read(part)
        if not self.ended:
            self._grant()

    def _read(self, part: bytes | bytearray | memoryview) -> None:
        begin, size = 0, len(part)
        while begin < size and not self.closed:
            if self._queue is not None and len(self._queue) >= AT_ONCE:
                # Many small messages are larger as objects than as bytes.
                self._held += part[begin:]
                return
            if self._large is not None:
                count = min(self._left, size - begin)
                self._large.room()[:count] = part[begin : begin + count]
                begin += count
                self.filled(count)
                continue
            missing = PREFIX.size - len(self._prefix)
            prefix = self._prefix + bytes(part[begin : begin + missing])
            begin += missing
            if len(prefix) < PREFIX.size:
                self._prefix = prefix
                break
            self._prefix = b""
            flag, length = PREFIX.unpack(prefix)
            if self._is_refused(flag, length):
                return
            if size - begin >= length:
                self._take(flag, bytes(part[begin : begin + length]))
                begin += length
            else:
                self._collect(flag, length)

    def _collect(self, flag: int, length: int) -> None:
        try:
            self._large = InPlaceBytes(length)
        except OutOfMemory as error:
            self.fail(Refusal("RESOURCE_EXHAUSTED", error.message))
            return
        self._flag, self._left = flag, length
        self._since = self.connection.shared.tick

    def room(self) -> memoryview | None:
        """Where a message goes that is being collected."""
        return None if self._large is None else self._large.room()

    def filled(self, count: int) -> None:
        """More of it is there."""
        large = self._large
        assert large is not None
        large.fill(count)
        self._left -= count
        if not self._left:
            self._large = None
            self._take(self._flag, large.content())

    def _is_refused(self, flag: int, length: int) -> bool:
        """Whether the call ends for what the message is to be."""
        refusal = None
        if 0 <= self._max_bytes < length:
            text = f"SERVER: Received message larger than max ({length} vs. {self._max_bytes})"
            refusal = Refusal("RESOURCE_EXHAUSTED", text)
            self.note_too_large()
        elif flag > 1 or (flag and self._head.encoding is None):
            refusal = Refusal("INTERNAL", f"a message has the flag {flag} and the encoding {self._head.encoding}")
        elif self._queue is None and self._message is not None:
            refusal = Refusal("UNIMPLEMENTED", "the method takes one message, got more")
        if refusal is not None:
            self.fail(refusal)
        return refusal is not None

    def _take(self, flag: int, message: bytes) -> None:
        self._since = self.connection.shared.tick
        if self._queue is None:
            self._message = (flag, message)
        else:
            self._queue.append((flag, message))
            self._wake_reader()

    def _grant(self) -> None:
        """Room for the message that is coming, and for the next, unless others wait."""
        if not (self._queue or self._held):
            self.grant(self._left + STREAM_WINDOW)

    @property
    def _is_cut_off(self) -> bool:
        """Whether the last message is there in part."""
        return self._large is not None or bool(self._prefix)

    def _is_owed(self) -> bool:
        """Whether the client has to send more: a stream only what it has begun, and may send."""
        if self.ended:
            return False
        return self._queue is None or (not self._queue and self._is_cut_off)

    # -- out of a stream, one by one -------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next message of a stream. No generator: one that is left in the middle is closed by a task of its own."""
        queue = self._queue
        assert queue is not None
        while not queue:
            if self._held:
                held, self._held = self._held, bytearray()
                self._read(held)
                continue
            if self.ended and self._is_cut_off:
                raise InternalError(CUT_OFF)
            if self.ended or self.closed:
                raise StopAsyncIteration
            self._reader = self.connection.loop.create_future()
            await self._reader
        flag, message = queue.popleft()
        if not queue:
            # What comes behind it had to wait until now.
            self._since = self.connection.shared.tick
        self._grant()
        return await self._unpacked(message) if flag else message

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _unpacked(self, message: bytes) -> bytes:
        encoding = self._head.encoding
        assert encoding is not None
        try:
            return await inflated(message, encoding, self._max_bytes if self._max_bytes >= 0 else 1 << 62)
        except PayloadTooLarge:
            raise PayloadTooLarge("Decompressed message larger than max") from None
        except InvalidInput as error:
            # The code that gRPC has for it, though it is the client's mistake.
            raise InternalError(error.message) from None
