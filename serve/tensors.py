"""Tensors to and from bytes and numbers, as the Open Inference Protocol lays them out.

Raw layout (protocol: binary tensor extension): little-endian, row-major, no padding; BOOL one byte; a BYTES element is
its length as uint32, then its bytes. Sizes are checked before memory is taken: a claimed shape never drives an
allocation.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from model_store.datatypes import DATATYPES, DTYPES
from model_store.errors import InvalidInput

_LENGTH = struct.Struct("<I")
_NUMBER_TYPES: dict[str, type] = {"f": float, "i": int, "u": int, "b": bool, "O": str}


def dtype_of(name: str, datatype: str) -> np.dtype:
    """The numpy dtype; raises `InvalidInput` for a datatype that the protocol does not have."""
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise InvalidInput(f"input {name!r}: unknown datatype {datatype!r}; expected one of {', '.join(DTYPES)}")
    return dtype


def datatype_of(tensor: np.ndarray) -> str:
    """The protocol's name of a tensor's element type."""
    return DATATYPES[tensor.dtype]


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: memoryview | bytes) -> np.ndarray:
    """A view on `raw` where the type allows (BYTES elements are copied); raises `InvalidInput` on a size mismatch."""
    dtype = dtype_of(name, datatype)
    count = _element_count(name, shape)
    if datatype == "BYTES":
        return _split_elements(name, count, memoryview(raw)).reshape(shape)
    if count * dtype.itemsize != len(raw):
        raise InvalidInput(
            f"input {name!r}: {datatype}{list(shape)} takes {count * dtype.itemsize} bytes, got {len(raw)}",
            input=name,
        )
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def to_raw(tensor: np.ndarray) -> bytes:
    """The tensor's bytes in the raw layout."""
    if tensor.dtype == np.object_:
        return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.ravel())
    return tensor.tobytes()


def from_json(name: str, datatype: str, shape: Sequence[int], data: msgspec.Raw | bytes) -> np.ndarray:
    """The tensor of a JSON `data` member: flat row-major, or nested to the tensor's shape.

    Raises `InvalidInput` for numbers of another type or out of range, a wrong count, another nesting, and for FP16 and
    BF16, which JSON does not carry in this protocol.
    """
    dtype = dtype_of(name, datatype)
    kind = dtype.kind
    if kind not in _NUMBER_TYPES or datatype in ("FP16", "BF16"):
        raise InvalidInput(f"input {name!r}: {datatype} can't be sent as JSON numbers; send it as a binary tensor")
    nested = _is_nested(data)
    try:
        values = _list_decoder(_NUMBER_TYPES[kind], len(shape) if nested else 1).decode(data)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"input {name!r}: 'data' is no list of {datatype} values: {error}", input=name) from error
    if kind == "O":
        return _text_tensor(name, shape, values)
    return _number_tensor(name, datatype, dtype, shape, values, nested)


def from_values(name: str, datatype: str, shape: Sequence[int], values: Any) -> np.ndarray:
    """The tensor of typed protobuf contents, `values` flat and row-major; raises `InvalidInput` as `from_json` does."""
    dtype = dtype_of(name, datatype)
    if datatype == "BYTES":
        flat = np.empty(len(values), dtype=object)
        flat[:] = list(values)
        return _reshape(name, flat, shape)
    return _number_tensor(name, datatype, dtype, shape, values, nested=False)


def to_json_values(tensor: np.ndarray) -> list[Any]:
    """Flat, row-major Python values; raises `InvalidInput` for BYTES that are not UTF-8 text."""
    if tensor.dtype == np.object_:
        try:
            return [element.decode() for element in tensor.ravel()]
        except UnicodeDecodeError as error:
            raise InvalidInput("an output holds bytes that are not UTF-8; ask for it as binary") from error
    values: list[Any] = tensor.ravel().tolist()
    return values


def _element_count(name: str, shape: Sequence[int]) -> int:
    if any(size < 0 for size in shape):
        raise InvalidInput(f"input {name!r}: expected sizes of 0 or more, got shape {list(shape)}")
    return math.prod(shape)


def _reshape(name: str, flat: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    count = _element_count(name, shape)
    if flat.size != count:
        raise InvalidInput(f"input {name!r}: shape {list(shape)} takes {count} values, got {flat.size}", input=name)
    return flat.reshape(shape)


def _number_tensor(
    name: str, datatype: str, dtype: np.dtype, shape: Sequence[int], values: Any, nested: bool
) -> np.ndarray:
    try:
        tensor = np.array(values, dtype=dtype)
    except OverflowError as error:
        raise InvalidInput(f"input {name!r}: a value does not fit {datatype}: {error}", input=name) from error
    except ValueError as error:
        raise InvalidInput(f"input {name!r}: 'data' is not rectangular: expected {list(shape)}", input=name) from error
    if nested and tensor.shape != tuple(shape):
        raise InvalidInput(f"input {name!r}: 'data' is nested as {list(tensor.shape)}, expected {list(shape)}")
    return tensor if nested else _reshape(name, tensor, shape)


def _text_tensor(name: str, shape: Sequence[int], values: Any) -> np.ndarray:
    elements = [element.encode() for element in _flatten(values)]
    flat = np.empty(len(elements), dtype=object)
    flat[:] = elements
    return _reshape(name, flat, shape)


def _flatten(values: Any) -> list[str]:
    if values and isinstance(values[0], list):
        return [element for part in values for element in _flatten(part)]
    return list(values)


def _is_nested(data: msgspec.Raw | bytes) -> bool:
    head = bytes(memoryview(data)[:64]).lstrip()
    return head[:1] == b"[" and head[1:].lstrip()[:1] == b"["


@cache
def _list_decoder(element: type, depth: int) -> msgspec.json.Decoder[Any]:
    # Depths beyond numpy's own 64 dimensions can't be tensors; the cache stays small.
    if depth > 64:
        raise InvalidInput(f"a tensor of {depth} dimensions; at most 64 are possible")
    kind: Any = element
    for _ in range(max(depth, 1)):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _split_elements(name: str, count: int, raw: memoryview) -> np.ndarray:
    if count * _LENGTH.size > len(raw):
        raise InvalidInput(f"input {name!r}: {count} BYTES elements take at least {count * 4} bytes, got {len(raw)}")
    elements = np.empty(count, dtype=object)
    position = 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(raw):
            raise InvalidInput(f"input {name!r}: the bytes end before element {index} of {count}")
        (length,) = _LENGTH.unpack_from(raw, position)
        position = start + length
        if position > len(raw):
            raise InvalidInput(f"input {name!r}: element {index} claims {length} bytes, {len(raw) - start} are left")
        elements[index] = bytes(raw[start:position])
    if position != len(raw):
        raise InvalidInput(f"input {name!r}: {len(raw) - position} bytes follow the last element")
    return elements
