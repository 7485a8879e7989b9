"""Header blocks (RFC 7541): those of requests read and checked (RFC 9113, section 8), those of answers written.

The library hpack decodes. Answers use no dynamic table, so that a block is the same bytes each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import hpack

from serve.front_doors.http2_frames import Code, ConnectionFault

MAX_HEADER_BYTES = 64 * 1024
"""Of a block, packed and unpacked."""

MAX_KNOWN = 16
LONGEST_KNOWN = 2048
MOST_KNOWN_FIELDS = 64
"""Blocks of a connection whose headers are kept, and bytes, packed and unpacked, and fields of each."""

_NAME = re.compile(rb"[!-9;-@\[-~]+")
"""Section 8.2.1: no upper case, space, control or colon, nor what is beyond ASCII."""
_VALUE = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])")
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED = (b":method", b":scheme", b":path")
_OF_THE_CONNECTION = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
"""Section 8.2.2."""

_EMPTY_TABLE = b"\x20"
_LITERAL = b"\0"
_LITERAL_NAMES = {":status": b"\x08", "content-type": b"\x0f\x10"}
"""Literal values under names of the static table (RFC 7541, section 6.2.2)."""
_WHOLE = {(":status", "200"): b"\x88"}


class Malformed(Exception):
    """Headers that no request may have: an error of their stream (section 8.1.1)."""


class RequestHead:
    """A request's headers: by name, of those that came twice with commas between them (RFC 9110, section 5.3)."""

    __slots__ = ("fields", "length", "made")

    def __init__(self, fields: dict[bytes, bytes], length: int | None) -> None:
        self.fields = fields
        self.length = length
        """What the body's length is said to be."""
        self.made: Any = None
        """What the application has made of it: the next request that looks alike has the same head."""


class HeadReader:
    """Reads a connection's header blocks, each once, in their order.

    A block that comes again while the table is what it was means the same again.
    """

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_HEADER_BYTES)
        self._known: dict[bytes, RequestHead] = {}

    def request(self, block: bytes) -> RequestHead:
        """The head of a request. Raises `Malformed`, or `ConnectionFault` when the table is lost."""
        head = self._known.get(block)
        if head is not None:
            return head
        fields, unchanged = self._decode(block)
        head = _request(fields)
        # A byte of a block may stand for a long value in the table.
        size = max(len(block), sum(map(len, head.fields.values())))
        if unchanged and size <= LONGEST_KNOWN and len(fields) <= MOST_KNOWN_FIELDS:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[block] = head
        return head

    def trailers(self, block: bytes) -> None:
        """Reads what follows a body. Raises as `request`."""
        fields, _ = self._decode(block)
        for name, value in fields:
            if name[:1] == b":":
                raise Malformed(f"{name!r} behind the body")
            _check(name, value)

    def _decode(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
        """The fields, and whether the table is as before: what was put in last is the same object, as many are there,
        and as many may be."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        before = (entries[0] if entries else None, len(entries), table.maxsize)
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError as error:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"headers may have {MAX_HEADER_BYTES} bytes") from error
        except hpack.HPACKError as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"a header block can't be read: {error}") from error
        last, count, size = before
        unchanged = (entries[0] if entries else None) is last and len(entries) == count and table.maxsize == size
        if not unchanged:
            self._known.clear()
        return fields, unchanged


def _request(fields: Iterable[tuple[bytes, bytes]]) -> RequestHead:
    found: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO or not _VALUE.fullmatch(value):
                raise Malformed(f"{name!r:.80} is unknown, comes twice or late, or can't be {value!r:.80}")
        else:
            regular = True
            _check(name, value)
        if name in found:
            # Of cookies, the pairs of one (section 8.2.3).
            value = found[name] + (b"; " if name == b"cookie" else b", ") + value
        found[name] = value
    for name in _NEEDED:
        if not found.get(name):
            raise Malformed(f"a request needs {name!r}")
    return RequestHead(found, _length(found.get(b"content-length")))


def _check(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise Malformed(f"{name!r:.80} can't be the name of {value!r:.80}")
    if name in _OF_THE_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed(f"{name!r} is HTTP/1.1's")


def _length(told: bytes | None) -> int | None:
    if told is None:
        return None
    if not told.isdigit() or len(told) > 18:
        raise Malformed(f"{told!r:.80} is no length")
    return int(told)


def header_block(fields: Iterable[tuple[str, str]]) -> bytes:
    """An answer's block. Names are lower-case and, as the values, ASCII.

    Each begins by saying that the dynamic table has no room: a client that made the table smaller has to hear of it
    (RFC 7541, section 4.2), and so no block depends on what its client has said before.
    """
    return _EMPTY_TABLE + b"".join(_field(name, value) for name, value in fields)


def _field(name: str, value: str) -> bytes:
    whole = _WHOLE.get((name, value))
    if whole is not None:
        return whole
    known = _LITERAL_NAMES.get(name)
    return (_LITERAL + _text(name) if known is None else known) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode("ascii")
    return _integer(len(data)) + data


def _integer(value: int) -> bytes:
    """A length, with a prefix of seven bits (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes((value,))
    value -= 127
    rest = []
    while value >= 128:
        rest.append(value & 127 | 128)
        value >>= 7
    return bytes((127, *rest, value))
