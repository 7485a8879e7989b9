"""The binary list of arrays: headers read one after the other, sizes checked against the bytes that are left.

Layouts (all little-endian) by the first word of an array: V0 up to release 0.10, where that word is the rank; V1 of
0.11; V2 since 0.12, with sparse arrays; V3 since 1.5 under numpy's shapes, where rank 0 is a scalar. Source of the
format: src/ndarray/ndarray.cc, `NDArray::Load`, of these releases.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from converters.mxnet.attributes import TYPE_FLAGS
from model_store.errors import SourceError

LIST_MAGIC = 0x112
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
BFLOAT16 = 12
"""A type flag of its own: numpy has no such dtype, and float32 holds its numbers exactly."""
MAX_RANK = 32
MAX_NAME_BYTES = 4096
DENSE, ROW_SPARSE, CSR = 0, 1, 2
MAX_SPARSE_RATIO = 1000
"""A sparse array may be this many times its file's size when it is dense, and 1 MiB more."""


@dataclass(frozen=True)
class Piece:
    """A run of numbers in the file."""

    flag: int
    offset: int
    count: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """As it is stored."""
        return np.dtype("<u2") if self.flag == BFLOAT16 else TYPE_FLAGS[self.flag].newbyteorder("<")


@dataclass(frozen=True)
class Record:
    """One array of a list: `shape` is dense, `data` what is stored of it, `indices` where that belongs."""

    shape: tuple[int, ...]
    data: Piece
    storage: int = DENSE
    indices: tuple[Piece, ...] = field(default=())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array as it is read."""
        return np.dtype(np.float32) if self.data.flag == BFLOAT16 else TYPE_FLAGS[self.data.flag]


class ListReader:
    """Reads the headers of a list. Every method raises `SourceError` rather than going beyond the end."""

    def __init__(self, stream: BinaryIO, size: int, name: str) -> None:
        self._stream = stream
        self._size = size
        self._name = name
        self._at = 0

    def read(self) -> tuple[dict[str, Record], int]:
        """The arrays by name (without those that are empty slots), and how many bytes follow the list."""
        magic, _, count = self._take("<QQQ")
        if magic != LIST_MAGIC:
            raise self._error(f"starts with {magic:#x}, where a list of MXNet arrays starts with {LIST_MAGIC:#x}")
        if 4 * count > self._size:
            raise self._error(f"claims {count} arrays in {self._size} bytes")
        records = [self._record() for _ in range(count)]
        (named,) = self._take("<Q")
        if named not in (0, count):
            raise self._error(f"has {count} arrays and {named} names")
        if not named and count:
            raise self._error("holds arrays without names, which can't be bound to a graph")
        names = [self._text() for _ in range(named)]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise self._error(f"holds two arrays called {twice!r}")
        found = {name: record for name, record in zip(names, records, strict=True) if record is not None}
        return found, self._size - self._at

    def _record(self) -> Record | None:
        (first,) = self._take("<I")
        if first in (V2, V3):
            return self._record_v2(first == V3)
        if first == V1:
            return self._dense(self._shape("q"))
        if first > MAX_RANK:
            raise self._error(f"an array starts with {first:#x}, which is no version and no rank")
        return self._dense(self._dims(first, "I"))

    def _record_v2(self, numpy_shapes: bool) -> Record | None:
        (storage,) = self._take("<i")
        if storage not in (-1, DENSE, ROW_SPARSE, CSR):
            raise self._error(f"an array has storage type {storage}")
        if storage in (-1, DENSE):
            return self._dense(self._shape("q", unknown=numpy_shapes), scalars=numpy_shapes)
        return self._sparse(storage)

    def _dense(self, shape: tuple[int, ...] | None, *, scalars: bool = False) -> Record | None:
        if shape is None or (not shape and not scalars):
            return None
        return Record(shape, self._data(self._context(), math.prod(shape)))

    def _sparse(self, storage: int) -> Record | None:
        # The shape of what is stored comes first, and MXNet wrote it before pending work had ended: it may be wrong.
        self._shape("q")
        shape = self._shape("q")
        if not shape:
            return None
        flag = self._context()
        heads = [self._index_head() for _ in range(storage)]
        stored = heads[-1][1]
        row = math.prod(shape[1:]) if storage == ROW_SPARSE else 1
        if storage == CSR and (len(shape) != 2 or heads[0][1] != shape[0] + 1):
            raise self._error(f"a CSR array of shape {list(shape)} has {heads[0][1]} row pointers")
        data = self._data(flag, stored * row)
        indices = tuple(self._data(index_flag, count) for index_flag, count in heads)
        self._check_dense(shape, data)
        return Record(shape, data, storage, indices)

    def _check_dense(self, shape: tuple[int, ...], data: Piece) -> None:
        dense = math.prod(shape) * data.dtype.itemsize
        if dense > MAX_SPARSE_RATIO * self._size + (1 << 20):
            raise self._error(f"a sparse array of shape {list(shape)} takes {dense} bytes when it is dense")

    def _index_head(self) -> tuple[int, int]:
        (flag,) = self._take("<i")
        shape = self._shape("q")
        if flag not in TYPE_FLAGS or TYPE_FLAGS[flag].kind not in "iu" or not shape or len(shape) != 1:
            raise self._error(f"indices of a sparse array have type flag {flag} and shape {shape}")
        return flag, shape[0]

    def _context(self) -> int:
        """The type flag; the device in front of it does not matter."""
        _, _, flag = self._take("<iii")
        if flag not in TYPE_FLAGS and flag != BFLOAT16:
            raise self._error(f"an array has the unknown type flag {flag}")
        return int(flag)

    def _data(self, flag: int, count: int) -> Piece:
        piece = Piece(flag, self._at, count)
        needed = count * piece.dtype.itemsize
        if needed > self._size - self._at:
            raise self._error(f"an array of {count} elements needs {needed} bytes; {self._size - self._at} are left")
        self._at += needed
        self._stream.seek(self._at)
        return piece

    def _shape(self, kind: str, *, unknown: bool = False) -> tuple[int, ...] | None:
        """A rank and its dims; None for a shape that numpy's rules call unknown."""
        (rank,) = self._take("<i")
        if unknown and rank == -1:
            return None
        if not 0 <= rank <= MAX_RANK:
            raise self._error(f"an array has rank {rank}; at most {MAX_RANK} is possible")
        dims = self._dims(rank, kind)
        return None if unknown and -1 in dims else self._known(dims)

    def _dims(self, rank: int, kind: str) -> tuple[int, ...]:
        return self._take(f"<{rank}{kind}")

    def _known(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        if any(dim < 0 for dim in dims):
            raise self._error(f"an array has the shape {list(dims)}")
        return dims

    def _text(self) -> str:
        (length,) = self._take("<Q")
        if length > min(MAX_NAME_BYTES, self._size - self._at):
            raise self._error(f"a name has {length} bytes")
        try:
            return self._bytes(length).decode()
        except UnicodeDecodeError:
            raise self._error("a name is no UTF-8") from None

    def _take(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))

    def _bytes(self, count: int) -> bytes:
        found = self._stream.read(count)
        if len(found) < count:
            raise self._error(f"ends after {self._size} bytes in the middle of an array or name: it is cut off")
        self._at += count
        return found

    def _error(self, text: str) -> SourceError:
        return SourceError(f"{self._name!r} {text}")


def load(stream: BinaryIO, record: Record, name: str) -> np.ndarray:
    """The array of a record, dense. Raises `SourceError` where indices of a sparse one lie outside of its shape."""
    data = _numbers(stream, record.data)
    if record.data.flag == BFLOAT16:
        data = (data.astype(np.uint32) << 16).view(np.float32)
    if record.storage == DENSE:
        return data.reshape(record.shape)
    indices = [_numbers(stream, piece).astype(np.int64) for piece in record.indices]
    try:
        return _SPARSE[record.storage](record.shape, data, indices)
    except (ValueError, IndexError, OverflowError):
        raise SourceError(
            f"{name!r}: indices of a sparse array lie outside of its shape {list(record.shape)}"
        ) from None


def _numbers(stream: BinaryIO, piece: Piece) -> np.ndarray:
    stream.seek(piece.offset)
    numbers = np.fromfile(stream, piece.dtype, piece.count)
    return numbers.astype(piece.dtype.newbyteorder("="), copy=False)


def _from_rows(shape: tuple[int, ...], data: np.ndarray, indices: list[np.ndarray]) -> np.ndarray:
    (rows,) = indices
    _check_range(rows, shape[0])
    dense = np.zeros(shape, data.dtype)
    dense[rows] = data.reshape(len(rows), *shape[1:])
    return dense


def _from_csr(shape: tuple[int, ...], data: np.ndarray, indices: list[np.ndarray]) -> np.ndarray:
    pointers, columns = indices
    counts = np.diff(pointers)
    if (counts < 0).any() or pointers[0] != 0 or pointers[-1] != len(columns):
        raise ValueError
    _check_range(columns, shape[1])
    dense = np.zeros(shape, data.dtype)
    dense[np.repeat(np.arange(shape[0]), counts), columns] = data
    return dense


def _check_range(indices: np.ndarray, size: int) -> None:
    if len(indices) and (indices.min() < 0 or indices.max() >= size):
        raise ValueError


_SPARSE: dict[int, Callable[[tuple[int, ...], np.ndarray, list[np.ndarray]], np.ndarray]] = {
    ROW_SPARSE: _from_rows,
    CSR: _from_csr,
}
