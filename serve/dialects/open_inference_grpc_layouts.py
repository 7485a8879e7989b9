"""What stands beside the raw contents of inference messages, kept from one message to the next.

The messages of a client, and of a gateway to a replica, most often differ in their contents and ids only. Whoever has
read one has read them all: of the next, its other bytes are compared and its contents taken from where they must lie.
Likewise a message to be sent gets the bytes of the one before around its contents. Protobuf parses a small message in
half a microsecond; what costs is to ask it for each field, an object and a call each, all of them misses in the
processor's caches by the time that they are called again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from serve import tensors
from serve.inference import Tensors
from serve.protocols.wire import Field, bytes_tag, fields, opening

MOST = 1024
"""Layouts that are kept in one place; the oldest goes first. Sizes of batches and sequences make one each."""

LARGEST_BYTES = 1024
"""What a message may have beside its contents for its layout to be kept: clients choose names."""

_ID = 3
"""The number of the field `id`, of requests and of responses."""

_ID_TAG = bytes_tag(_ID)
_NAME_TAG = bytes([bytes_tag(1)])

T = TypeVar("T")
Key = tuple[object, ...]


class _Content(NamedTuple):
    """Where the contents of a tensor lie in the message."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class _Layout(NamedTuple, Generic[T]):
    """A message without its contents and its id: `same` are bytes that all such messages share, each from a position
    on."""

    same: tuple[tuple[bytes, int], ...]
    id: tuple[int, int] | None
    contents: tuple[_Content, ...]
    told: T


class KnownLayouts(Generic[T]):
    """Layouts of messages that came, with what they tell beside tensors and id. `field` is the number of the raw
    contents."""

    def __init__(self, field: int) -> None:
        self._contents_tag = bytes_tag(field)
        self._layouts: dict[Key, _Layout[T]] = {}

    def find(self, data: bytes) -> tuple[T, str, Tensors] | None:
        """What a message tells, its id and its tensors; None where none like it was learnt."""
        layout = self._layouts.get(_key(data))
        if layout is None:
            return None
        same, id_place, contents, told = layout
        for expected, position in same:
            if not data.startswith(expected, position):
                return None
        id = ""
        if id_place is not None:
            begin, end = id_place
            try:
                id = data[begin:end].decode()
            except UnicodeDecodeError:
                return None
        read = {}
        for name, dtype, shape, begin, end in contents:
            # On memory that is aligned where it is small: protobuf's own copy is, too.
            read[name] = (
                np.ndarray(shape, dtype, data[begin:end])
                if end - begin < tensors.VIEWED_FROM_BYTES
                else np.ndarray(shape, dtype, data, begin)
            )
        return told, id, read

    def learn(self, data: bytes, told: T, read: Tensors) -> None:
        """Keeps the layout of a message that was found to tell `told` and the tensors `read`, in this order.

        Not of one with tensors elsewhere than in raw contents, with text, whose contents have no size of their own,
        with booleans, whose values need a look each time, or that does not begin with the model's name.
        """
        if not data.startswith(_NAME_TAG) or any(tensor.dtype.kind in "Ob" for tensor in read.values()):
            return
        try:
            found = list(fields(data))
        except DecodeError:
            # Protobuf also reads what has gone out of use, as groups.
            return
        contents = [field for field in found if field.tag == self._contents_tag]
        size = len(data) - sum(field.end - field.contents for field in contents)
        if size > LARGEST_BYTES or len(contents) != len(read):
            return
        ids = [field for field in found if field.tag == _ID_TAG]
        if len(ids) > 1:
            return
        if len(self._layouts) >= MOST:
            del self._layouts[next(iter(self._layouts))]
        self._layouts[_key(data)] = _Layout(
            _between(data, [field for field in found if field.tag in (self._contents_tag, _ID_TAG)]),
            (ids[0].contents, ids[0].end) if ids else None,
            tuple(
                _Content(name, tensor.dtype, tensor.shape, field.contents, field.end)
                for (name, tensor), field in zip(read.items(), contents, strict=True)
            ),
            told,
        )


class WrittenLayouts:
    """The bytes around the raw contents of messages that were sent. `field` is the number of these contents."""

    def __init__(self, field: int) -> None:
        self._field = field
        self._layouts: dict[Key, tuple[bytes, ...]] = {}

    def write(self, about: Key, sent: Tensors, describe: Callable[[], bytes], id: str = "") -> bytes:
        """The message about `about` and the tensors `sent`, at least one; `describe` gives what stands beside id and
        contents."""
        described: list[object] = [about]
        contents: list[bytes | memoryview] = []
        for name, tensor in sent.items():
            dtype = tensor.dtype
            described += (name, dtype, tensor.shape)
            # What `raw_view` would do, whose calls take twice as long as the bytes of a small tensor.
            small = tensor.nbytes < tensors.VIEWED_FROM_BYTES and dtype.kind != "O"
            contents.append(tensor.tobytes() if small else tensors.raw_view(tensor))
        key = tuple(described)
        openings = self._layouts.get(key)
        if openings is None:
            openings = self._openings(describe(), contents)
            # The size of text is its own.
            if all(tensor.dtype.kind != "O" for tensor in sent.values()) and len(openings[0]) <= LARGEST_BYTES:
                if len(self._layouts) >= MOST:
                    del self._layouts[next(iter(self._layouts))]
                self._layouts[key] = openings
        parts: list[bytes | memoryview] = []
        for each in zip(openings, contents, strict=True):
            parts += each
        if id:
            encoded = id.encode()
            parts += (opening(_ID, len(encoded)), encoded)
        return b"".join(parts)

    def _openings(self, described: bytes, contents: list[bytes | memoryview]) -> tuple[bytes, ...]:
        """What stands before each of the contents: before the first also all else."""
        first, *others = [opening(self._field, len(content)) for content in contents]
        return (described + first, *others)


def _key(data: bytes) -> Key:
    """What tells messages of one model and one length from others. The field of the name comes first, in all that are
    kept; of a long name it is the beginning."""
    return len(data), data[: data[1] + 2] if len(data) > 1 else data


def _between(data: bytes, taken: list[Field]) -> tuple[tuple[bytes, int], ...]:
    """The bytes before, between and behind the contents of the fields `taken`, and where they begin."""
    begins = [0, *[field.end for field in taken]]
    ends = [*[field.contents for field in taken], len(data)]
    return tuple((data[begin:end], begin) for begin, end in zip(begins, ends, strict=True) if begin < end)
