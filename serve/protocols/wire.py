"""Large bytes fields of protobuf messages, read and written beside the protobuf library, which copies them often.

With 10 MB that takes it 1.8 ms to read and 23 ms to write; here it takes 0.01 and 0.8 ms.

Encoding: https://protobuf.dev/programming-guides/encoding. Fields of a message may come in any order, so that those
taken out here can be put behind the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError

LENGTH_DELIMITED = 2
_SKIPPED = {1: 8, 5: 4}
"""Wire type -> bytes, of numbers of a fixed size."""


class Field(NamedTuple):
    """One field of a message: `tag` is its number and wire type, the others are positions. A field of bytes has its
    contents from `contents` on."""

    tag: int
    begin: int
    contents: int
    end: int


def fields(data: bytes) -> Iterator[Field]:
    """The outermost fields of a message, by their lengths; raises `DecodeError`."""
    position = 0
    while position < len(data):
        tag, start = _varint(data, position)
        contents, end = _extent(data, tag & 7, start)
        if end > len(data):
            raise DecodeError(f"a field ends {end - len(data)} bytes behind the message")
        yield Field(tag, position, contents, end)
        position = end


def bytes_tag(field: int) -> int:
    """The tag of a bytes field (or text, or a message) of the number `field`."""
    return field << 3 | LENGTH_DELIMITED


def take_out(data: bytes, field: int) -> tuple[bytes, list[memoryview]]:
    """The message without its bytes fields of the number `field`, and views on these in their order.

    Raises `DecodeError`.
    """
    view = memoryview(data)
    taken: list[memoryview] = []
    rest: list[memoryview] = []
    wanted = bytes_tag(field)
    kept = 0
    for tag, begin, contents, end in fields(data):
        if tag == wanted:
            rest.append(view[kept:begin])
            taken.append(view[contents:end])
            kept = end
    rest.append(view[kept:])
    return b"".join(rest), taken


def put_behind(message: bytes, field: int, contents: Iterable[bytes | memoryview]) -> bytes:
    """The message with `contents` as further bytes fields of the number `field`; each is copied once."""
    parts: list[bytes | memoryview] = [message]
    for content in contents:
        parts += (opening(field, len(content)), content)
    return b"".join(parts)


def opening(field: int, size: int) -> bytes:
    """What stands before the `size` bytes of a bytes field of the number `field`."""
    return _encoded(bytes_tag(field)) + _encoded(size)


def _extent(data: bytes, kind: int, start: int) -> tuple[int, int]:
    """Where the value of a field begins whose tag ends at `start`, and where the field ends."""
    if kind == LENGTH_DELIMITED:
        size, contents = _varint(data, start)
        return contents, contents + size
    if kind == 0:
        return start, _varint(data, start)[1]
    if kind not in _SKIPPED:
        raise DecodeError(f"no wire type {kind}")
    return start, start + _SKIPPED[kind]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = 0
    for index, byte in enumerate(data[position : position + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise DecodeError("a number does not end")


def _encoded(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
