"""The frames of an HTTP/2 client, read out of a connection's bytes (RFC 9113, section 4), header blocks put together.

Small frames are read from one buffer that all connections share; sockets write large bodies where they stay. What
frames mean is `http2_connection.py`'s, DATA apart, which go their own way (`http2_data.py`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import NoReturn

from serve.front_doors.http2_connections import Http2Connections
from serve.front_doors.http2_data import IncomingData
from serve.front_doors.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    FRAME_HEAD,
    FRAME_HEAD_BYTES,
    PADDED,
    PREFACE,
    SETTINGS,
    STREAM_BITS,
    Code,
    ConnectionFault,
    StreamFault,
    block_in,
)
from serve.front_doors.http2_headers import MAX_HEADER_BYTES
from serve.front_doors.http2_limits import chatter

COPIED_BYTES = 16 * 1024
"""As much is copied before it is looked at: parts of `bytes` are cheaper to have than those of a view."""

MAX_FRAME_BYTES = 1024 * 1024
"""A large body comes in few frames; a stream with one keeps others waiting for no longer."""

LONGEST_WHOLE = MAX_HEADER_BYTES + 261
"""Of frames that are read as a whole; with the padding and priority of HEADERS."""


class FrameReader(asyncio.BufferedProtocol, ABC):
    """The side of a connection that the client writes to."""

    def __init__(self, shared: Http2Connections) -> None:
        self.shared = shared
        self.chatter = chatter()
        self._data: IncomingData
        self._rest = b""
        """The beginning of a frame."""
        self._greeted = False
        self.expected_kind: int | None = SETTINGS
        """The kind of the next frame, where no other may come."""
        self._block = bytearray()
        self._block_of = (0, 0)
        """Whose it is, and the flags of its HEADERS."""
        self._deaf = False
        """What still comes is nobody's."""
        self._since = shared.tick
        """When what is coming has begun, or writing was paused, or the connection has ended, or a slow client was seen
        to read."""
        self._heard = shared.tick
        self._asked: int | None = None
        """When the client was asked whether it is there."""

    @abstractmethod
    def _frame(self, kind: int, number: int, flags: int, content: bytes | memoryview) -> None:
        """A whole frame."""

    @abstractmethod
    def _head(self, number: int, flags: int, block: bytes) -> None:
        """A whole header block."""

    @abstractmethod
    def _fail(self, fault: StreamFault) -> None:
        """Ends a stream for what the client did."""

    @abstractmethod
    def _end(self, code: Code, text: str) -> None:
        """Ends the connection for what the client did."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._data.room(self.shared.buffer)

    def buffer_updated(self, count: int) -> None:
        """Bytes have come."""
        if self._deaf:
            return
        self._heard = self.shared.tick
        self._asked = None
        if not self._is_in_the_middle():
            self._since = self.shared.tick
        try:
            if self._data.filled(count):
                return
            data: bytes | memoryview = self.shared.buffer[:count]
            if self._rest:
                data, self._rest = self._rest + data, b""
            elif count <= COPIED_BYTES:
                data = bytes(data)
            if self._greeted:
                self._read(data)
            else:
                self._greet(bytes(data))
        except ConnectionFault as fault:
            self._end(fault.code, fault.text)

    def _greet(self, data: bytes) -> None:
        if data[: len(PREFACE)] != PREFACE[: len(data)]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks HTTP/2 with prior knowledge: gRPC")
        if len(data) < len(PREFACE):
            self._rest = data
            return
        self._greeted = True
        self._read(data[len(PREFACE) :])

    def _read(self, data: bytes | memoryview) -> None:
        begin = self._data.go_on(data) if self._data.is_missing else 0
        size, first = len(data), begin
        while size - begin >= FRAME_HEAD_BYTES and not self._deaf:
            word, flags, number = FRAME_HEAD.unpack_from(data, begin)
            kind, length, number = word & 0xFF, word >> 8, number & STREAM_BITS
            if length > MAX_FRAME_BYTES or (self.expected_kind is not None and kind != self.expected_kind):
                self._refuse_frame(kind, length)
            content = begin + FRAME_HEAD_BYTES
            end = content + length
            try:
                if end <= size:
                    begin = end
                    if kind == DATA and not flags & PADDED:
                        self._data.frame(number, flags, data[content:end])
                    else:
                        self._frame(kind, number, flags, data[content:end])
                elif self._begin_frame(kind, number, flags, data[content:size], length):
                    begin = size
                else:
                    break
            except StreamFault as fault:
                self._fail(fault)
        if begin > first and self.expected_kind is None:
            self._since = self.shared.tick
        self._rest = bytes(data[begin:])

    def _begin_frame(self, kind: int, number: int, flags: int, part: bytes | memoryview, length: int) -> bool:
        """Takes what has come of a frame of `length` bytes, unless it has to be there as a whole."""
        if kind == DATA and part:
            self._data.begin(number, flags, part, length)
            return True
        if kind > CONTINUATION:
            self.chatter.spend()
            self._data.pass_over(length - len(part))
            return True
        if kind != DATA and length > LONGEST_WHOLE:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a frame of {length} bytes is too much to read")
        return False

    def _refuse_frame(self, kind: int, length: int) -> NoReturn:
        if length > MAX_FRAME_BYTES:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame may have {MAX_FRAME_BYTES} bytes, got {length}")
        raise ConnectionFault(
            Code.PROTOCOL_ERROR, f"expected a frame of kind {self.expected_kind}, got one of kind {kind}"
        )

    def _is_in_the_middle(self) -> bool:
        """Whether the client has more to send before the connection is as if it had sent nothing."""
        return bool(self._rest) or self.expected_kind is not None or self._data.is_missing

    # -- header blocks ---------------------------------------------------------------------------------------------

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} is none that a client opens")
        block = block_in(payload, flags)
        if flags & END_HEADERS:
            self._head(number, flags, block)
            return
        self._block = bytearray(block)
        self._block_of = (number, flags)
        self.expected_kind = CONTINUATION

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        if self.expected_kind != CONTINUATION or number != self._block_of[0]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"CONTINUATION of stream {number} continues nothing")
        self._block += payload
        if len(self._block) > MAX_HEADER_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"headers may have {MAX_HEADER_BYTES} bytes")
        if not flags & END_HEADERS:
            self.chatter.spend()
            return
        block, self._block, self.expected_kind = bytes(self._block), bytearray(), None
        self._head(number, self._block_of[1], block)
