"""Bodies in numpy's own formats: `.npy` and `.npz`.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Sizes that a header claims are held
against the bytes that came before memory is taken, and nothing is unpickled: numpy's own reader does the first for
files on disk only.
"""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import zipfile

import numpy as np

from model_store.errors import InvalidInput, first_line
from model_store.members import DAMAGED

LARGEST_UNPACKED_BYTES = 64 * 1024 * 1024
"""Of all arrays of an `.npz` together, where the file itself is not larger."""

_MAGIC = b"\x93NUMPY"
_LENGTHS = {(1, 0): struct.Struct("<H"), (2, 0): struct.Struct("<I"), (3, 0): struct.Struct("<I")}
"""Version of the format -> how the header's length is written."""
_LARGEST_HEADER_BYTES = 10_000  # numpy's own limit
_ELEMENT = re.compile(r"[<>|=]?(b1|[iu][1248]|f(2|4|8|16)|V2|[SU][1-9]\d{0,8})")
_KEYS = {"descr", "fortran_order", "shape"}
_MOST_DIMENSIONS = 32
_MOST_ARRAYS = 1000
_ENTRY = b"PK\x01\x02"
_DAMAGED = (*DAMAGED, OSError, IndexError, RuntimeError)
"""What is raised for a damaged zip, RuntimeError for an encrypted member of it."""


def read_npy(body: bytes) -> np.ndarray:
    """The array in an `.npy`: a view on `body` in its own byte order. Numbers, booleans, text and bytes.

    Raises `InvalidInput` for another format, objects, and a shape that the bytes do not have.
    """
    start, header = _header(body)
    dtype, shape = _dtype(header["descr"]), _shape(header["shape"])
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != len(body) - start:
        raise InvalidInput(f"the .npy claims {dtype}{list(shape)}, {claimed} bytes; got {len(body) - start}")
    array = np.frombuffer(body, dtype, offset=start) if claimed else np.empty(0, dtype)
    try:
        return array.reshape(shape, order="F" if header["fortran_order"] else "C")
    except ValueError as error:  # beside a size of 0, others can be beyond what numpy addresses
        raise InvalidInput(f"the .npy claims the shape {list(shape)}, larger than any memory") from error


def read_npz(body: bytes, largest_bytes: int = LARGEST_UNPACKED_BYTES) -> dict[str, np.ndarray]:
    """The arrays in an `.npz` by name; raises `InvalidInput` as `read_npy`, and for more than `largest_bytes` unpacked
    where the file itself is not larger."""
    if body.count(_ENTRY) > _MOST_ARRAYS:
        raise InvalidInput(f"an .npz has at most {_MOST_ARRAYS} arrays")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            _check_members(members, max(largest_bytes, len(body)))
            return {info.filename.removesuffix(".npy"): read_npy(_unpacked(archive, info)) for info in members}
    except InvalidInput:
        raise
    except _DAMAGED as error:
        raise InvalidInput(f"the .npz can't be read: {first_line(error)}") from error


def _check_members(members: list[zipfile.ZipInfo], largest_bytes: int) -> None:
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members):
        raise InvalidInput("the .npz is packed in another way than numpy does it")
    unpacked = sum(info.file_size for info in members)
    if unpacked > largest_bytes:
        raise InvalidInput(f"the .npz has {unpacked} bytes unpacked; at most {largest_bytes}")


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        # Without a size zipfile would unpack what is there, not what the entry claims.
        return member.read(info.file_size) if info.file_size else b""


def _header(body: bytes) -> tuple[int, dict[str, object]]:
    """Where the elements begin, and the header's keys."""
    version = (body[6], body[7]) if body[:6] == _MAGIC and len(body) > 8 else None
    if version not in _LENGTHS:
        raise InvalidInput(f"expected an .npy of format 1.0 to 3.0, got {len(body)} bytes: {body[:8]!r}")
    lengths = _LENGTHS[version]
    if len(body) < 8 + lengths.size:
        raise InvalidInput("the .npy ends within its header")
    start = 8 + lengths.size
    (length,) = lengths.unpack_from(body, 8)
    if length > min(_LARGEST_HEADER_BYTES, len(body) - start):
        raise InvalidInput(f"the .npy claims a header of {length} bytes; {len(body) - start} follow")
    return start + length, _read_header(body[start : start + length])


def _read_header(text: bytes) -> dict[str, object]:
    try:
        header = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidInput(f"the header of the .npy is damaged: {text[:60]!r}") from error
    if not isinstance(header, dict) or header.keys() != _KEYS:
        raise InvalidInput(f"the header of the .npy lacks its three keys: {text[:60]!r}")
    return header


def _dtype(descr: object) -> np.dtype:
    if not isinstance(descr, str) or not _ELEMENT.fullmatch(descr):
        raise InvalidInput(f"an .npy must hold numbers, booleans or text, got {descr!r:.60}")
    try:
        return np.dtype(descr)
    except (TypeError, ValueError) as error:  # f16, which not every machine has
        raise InvalidInput(f"an .npy of {descr!r:.60} can't be read here") from error


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(s) is int and 0 <= s < 2**63 for s in shape):
        raise InvalidInput(f"the shape in an .npy is a tuple of sizes, got {shape!r:.60}")
    if len(shape) > _MOST_DIMENSIONS:
        raise InvalidInput(f"a tensor has at most {_MOST_DIMENSIONS} dimensions, the .npy has {len(shape)}")
    return shape
