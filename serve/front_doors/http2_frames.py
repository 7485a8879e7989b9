"""HTTP/2 frames as bytes: how they are read, and those that a server sends (RFC 9113, sections 4, 6 and 7)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

FRAME_HEAD = struct.Struct(">IBI")
"""Length and kind as one number, flags, stream: nine bytes. The stream's first bit means nothing."""
FRAME_HEAD_BYTES = FRAME_HEAD.size
STREAM_BITS = 0x7FFF_FFFF

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = 0x7FFF_FFFF
SMALLEST_FRAME_LIMIT = 16_384
LARGEST_FRAME_LIMIT = 0xFF_FFFF

_SETTING = struct.Struct(">HI")
_NUMBER = struct.Struct(">I")


class Setting(enum.IntEnum):
    """Identifiers of settings (section 6.5.2)."""

    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(enum.IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """What the other end did wrong, where the connection can't go on (section 5.4.1)."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class StreamFault(Exception):
    """What the other end did wrong on one stream (section 5.4.2)."""

    def __init__(self, number: int, code: Code) -> None:
        super().__init__(f"stream {number}: {code.name}")
        self.number = number
        self.code = code


# -- read --------------------------------------------------------------------------------------------------------------


def number_in(payload: bytes) -> int:
    """The one number of a RST_STREAM or WINDOW_UPDATE frame, with its first bit."""
    if len(payload) != 4:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected a frame of 4 bytes, got {len(payload)}")
    value: int = _NUMBER.unpack(payload)[0]
    return value


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    """Identifiers and values of a SETTINGS frame, those that are known here within their bounds (section 6.5.2)."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"{len(payload)} bytes are no list of settings")
    for identifier, value in _SETTING.iter_unpack(payload):
        if identifier == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"ENABLE_PUSH may be 0 or 1, got {value}")
        if identifier == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"a window may have {LARGEST_WINDOW} bytes, got {value}")
        if identifier == Setting.MAX_FRAME_SIZE and not SMALLEST_FRAME_LIMIT <= value <= LARGEST_FRAME_LIMIT:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"MAX_FRAME_SIZE is out of its bounds: {value}")
        yield identifier, value


def block_in(payload: bytes, flags: int) -> bytes:
    """The part of a header block in a HEADERS frame, without padding and priority (section 6.2)."""
    begin = (1 if flags & PADDED else 0) + (5 if flags & WITH_PRIORITY else 0)
    if len(payload) < begin:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected at least {begin} bytes of HEADERS, got {len(payload)}")
    end = len(payload) - (payload[0] if flags & PADDED else 0)
    if end < begin:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS are more padding than frame")
    return payload[begin:end]


# -- written -----------------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return FRAME_HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def window_update(stream: int, increment: int) -> bytes:
    """WINDOW_UPDATE of a stream, or of the connection: 0."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))


def reset(stream: int, code: Code) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last_stream: int, code: Code, text: str = "") -> bytes:
    """GOAWAY; `text` is for who debugs a client."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last_stream) + _NUMBER.pack(code) + text.encode("ascii", "replace"))
