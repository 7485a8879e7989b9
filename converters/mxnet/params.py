"""Files of MXNet parameters as a mapping: the binary list of all releases (`records.py`), and the zip of .npy of 2.x.

Opening a file reads its headers only, so that a file larger than the memory can be looked at; arrays are read one at a
time, when they are asked for.
"""

from __future__ import annotations

import logging
import math
import struct
import tokenize
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.mxnet.attributes import TYPE_FLAGS
from converters.mxnet.records import LIST_MAGIC, ListReader, Record, load
from model_store.errors import SourceError
from model_store.members import DAMAGED
from model_store.sources import is_lfs_pointer

log = logging.getLogger("onegate")

_MAGIC = struct.pack("<Q", LIST_MAGIC)
_ZIP = b"PK\x03\x04"
MAX_ZIP_RATIO = 100
"""A member of the zip may be this many times its compressed size, and 1 MiB more."""
MAX_HEADER_BYTES = 10_000
_DAMAGED = (*DAMAGED, RuntimeError, SyntaxError, TypeError, tokenize.TokenError)
"""What is raised for a damaged zip, an encrypted member (zipfile: RuntimeError), and a damaged header of .npy (numpy
reads it as Python: the last three)."""


@dataclass(frozen=True)
class _Stored:
    """One array that can be read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], np.ndarray]


class Parameters(Mapping[str, np.ndarray]):
    """The arrays of a file by name. Each access reads one of them from the file.

    Names are the file's, with their prefixes: `arg:` and `aux:`, or none. Sparse arrays come out dense, bfloat16 as
    float32.
    """

    def __init__(self, stored: Mapping[str, _Stored]) -> None:
        self._stored = stored

    def __getitem__(self, name: str) -> np.ndarray:
        return self._stored[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape, without reading the array."""
        return self._stored[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype, without reading the array."""
        return self._stored[name].dtype


def looks_like_params(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a binary list of arrays."""
    return head[: len(_MAGIC)] == _MAGIC


def looks_like_npz(members: list[str]) -> bool:
    """Whether the members of a zip are parameters as release 2 writes them."""
    return bool(members) and all(name.endswith(".npy") for name in members) and members[0].startswith(("arg:", "aux:"))


def open_params(path: Path) -> Parameters:
    """The parameters in `path`.

    Raises `SourceError` for what is no such file, is cut off, or contradicts itself, before memory is taken for what it
    claims.
    """
    with _reading(path):
        if is_lfs_pointer(path):
            raise SourceError(f"{path.name!r} is a Git-LFS pointer, not the parameters; run `git lfs pull`")
        with path.open("rb") as stream:
            zipped = stream.read(len(_ZIP)) == _ZIP
        return _open_npz(path) if zipped else _open_list(path)


def _open_list(path: Path) -> Parameters:
    with path.open("rb") as stream:
        records, left = ListReader(stream, path.stat().st_size, path.name).read()
    if left:
        log.warning("%s: %d bytes follow the parameters; MXNet ignores them too", path.name, left)
    return Parameters({name: _listed(path, record) for name, record in records.items()})


def _listed(path: Path, record: Record) -> _Stored:
    def read() -> np.ndarray:
        with _reading(path), path.open("rb") as stream:
            return load(stream, record, path.name)

    return _Stored(record.shape, record.dtype, read)


def _open_npz(path: Path) -> Parameters:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        names = [info.filename.removesuffix(".npy") for info in infos]
        if len(set(names)) != len(names):
            raise SourceError(f"{path.name!r} holds two arrays of one name")
        return Parameters({name: _member(path, archive, info) for name, info in zip(names, infos, strict=True)})


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Stored:
    if info.file_size > MAX_ZIP_RATIO * info.compress_size + (1 << 20):
        raise SourceError(f"{path.name!r}: {info.filename!r} claims {info.file_size} bytes in {info.compress_size}")
    with archive.open(info) as stream:
        shape, dtype = _npy_header(stream)
    if dtype.newbyteorder("=") not in TYPE_FLAGS.values():
        raise SourceError(f"{path.name!r}: {info.filename!r} holds {dtype}, which is no type of MXNet's")
    if math.prod(shape) * dtype.itemsize > info.file_size:
        raise SourceError(f"{path.name!r}: {info.filename!r} is too short for the shape {list(shape)}")

    def read() -> np.ndarray:
        with _reading(path), zipfile.ZipFile(path) as again, again.open(info.filename) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER_BYTES)
            return np.asarray(array, dtype=dtype.newbyteorder("="))

    return _Stored(shape, dtype.newbyteorder("="), read)


def _npy_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f".npy of version {version}")
    shape, _, dtype = readers[version](stream, max_header_size=MAX_HEADER_BYTES)
    return shape, dtype


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"{path.name!r} can't be read: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise SourceError(f"{path.name!r} is no file of MXNet parameters: {error}") from error
