"""HTTP/2 frames and header blocks as bytes, right or wrong (RFC 9113, RFC 7541), and gRPC's messages in them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST = 0xFFFF_FFFF

Fields = Iterable[tuple[str, str]]


class Kind(IntEnum):
    """Types of frames (RFC 9113, 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntEnum):
    """Bits of a frame's flags."""

    END_STREAM = 1
    ACK = 1
    END_HEADERS = 4
    PADDED = 8
    PRIORITY = 32


class Setting(IntEnum):
    """Identifiers of settings (6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Reasons of RST_STREAM and GOAWAY (7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Frame(NamedTuple):
    """One that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def __bytes__(self) -> bytes:
        return frame(self.kind, self.stream, self.payload, self.flags)


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0, length: int | None = None) -> bytes:
    """A frame; `length` is what it says to be long where that is not so."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(values: Mapping[int, int] | None = None) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(struct.pack(">HI", each, value) for each, value in (values or {}).items())
    return frame(Kind.SETTINGS, payload=payload)


def window_update(increment: int, stream: int = 0) -> bytes:
    return frame(Kind.WINDOW_UPDATE, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Kind.RST_STREAM, stream, code.to_bytes(4, "big"))


def request(method: str = "Say", **changed: str | None) -> list[tuple[str, str]]:
    """The fields of a call, with those of `changed`: `content_type=None` leaves that one out."""
    fields: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/test.Echo/{method}",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    return [(name, value) for name, value in fields.items() if value is not None]


def literal(fields: Fields) -> bytes:
    """A header block that neither uses nor changes the table: literals without indexing (RFC 7541, 6.2.2)."""
    return b"".join(b"\0" + text(name.encode("latin-1")) + text(value.encode("latin-1")) for name, value in fields)


def text(data: bytes) -> bytes:
    """A string of a header block, not Huffman coded (5.2)."""
    return integer(len(data), 7) + data


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """A number of a header block; `first` holds the bits before it (5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    value -= most
    out = [first | most]
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def headers(stream: int, fields: Fields | bytes, flags: int = Flag.END_HEADERS) -> bytes:
    """A HEADERS frame with the fields as literals, or a block as it is."""
    return frame(Kind.HEADERS, stream, fields if isinstance(fields, bytes) else literal(fields), flags)


def data(stream: int, payload: bytes = b"", end: bool = True, flags: int = 0) -> bytes:
    return frame(Kind.DATA, stream, payload, flags | (Flag.END_STREAM if end else 0))


def message(content: bytes, packed: int = 0, length: int | None = None) -> bytes:
    """A message with its length before it."""
    return struct.pack(">BI", packed, len(content) if length is None else length) + content


def call(stream: int, content: bytes = b"hello", method: str = "Say", **changed: str | None) -> bytes:
    """A whole call with one message."""
    return headers(stream, request(method, **changed)) + data(stream, message(content))
