"""Tensors to and from bytes and numbers, as the Open Inference Protocol lays them out.

Raw layout (protocol: binary tensor extension): little-endian, row-major, no padding; BOOL one byte; a BYTES element is
its length as uint32, then its bytes. Sizes are checked before memory is taken: a claimed shape never drives an
allocation.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import msgspec
import numpy as np

from model_store.datatypes import DATATYPES, DTYPES
from model_store.errors import InvalidInput

_LENGTH = struct.Struct("<I")
_NESTED = re.compile(rb"\s*\[\s*\[")
_MAX_DIMENSIONS = 64  # numpy's own limit
_MAX_ELEMENTS = 2**59  # of 8 bytes each: the most that numpy can address

VIEWED_FROM_BYTES = 4096
"""To copy a smaller tensor takes less time than to describe a view on it."""

_FP32_BOUND = 3.4028235677973366e38
"""Half-way between the largest float32 and the next power of two: from here on a number rounds to infinity."""

_JSON_ELEMENTS: dict[str, Any] = {
    "BOOL": bool,
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"), int),
    # To have the decoder check the bounds is 5% of a small request faster than to have numpy raise.
    "FP32": Annotated[float, msgspec.Meta(gt=-_FP32_BOUND, lt=_FP32_BOUND)],
    "FP64": float,
    "BYTES": str,
}
"""Datatype -> what its elements are in JSON, for those that JSON carries in this protocol."""

_DEEPEST_PARSED = 5
"""As batches of films are nested; what is deeper is for `from_json`."""


def _parsed_type(element: Any) -> Any:
    kind: Any = list[element]
    for _ in range(1, _DEEPEST_PARSED):
        kind = list[element | kind]
    return kind


PARSED_TYPES: dict[str, Any] = {datatype: _parsed_type(element) for datatype, element in _JSON_ELEMENTS.items()}
"""Datatype -> what msgspec is to make of the JSON, flat or nested, for `from_parsed`."""


def dtype_of(name: str, datatype: str) -> np.dtype:
    """The numpy dtype; raises `InvalidInput` for a datatype that the protocol does not have."""
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise InvalidInput(f"input {name!r}: unknown datatype {datatype!r:.40}; expected one of {', '.join(DTYPES)}")
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
    if datatype == "BOOL" and count and np.frombuffer(raw, dtype=np.uint8).max() > 1:
        raise InvalidInput(f"input {name!r}: a BOOL is one byte, 0 or 1; got {max(raw)}", input=name)
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def to_raw(tensor: np.ndarray) -> bytes:
    """The tensor's bytes in the raw layout."""
    if tensor.dtype == np.object_:
        return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.ravel())
    return tensor.tobytes()


def raw_view(tensor: np.ndarray) -> bytes | memoryview:
    """As `to_raw`, but a view on the memory of a large tensor where it lies there row by row."""
    if tensor.dtype == np.object_ or tensor.nbytes < VIEWED_FROM_BYTES:
        return to_raw(tensor)
    # As plain bytes, since bfloat16 has no buffer of its own.
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data


def from_json(name: str, datatype: str, shape: Sequence[int], data: msgspec.Raw | bytes) -> np.ndarray:
    """The tensor of a JSON `data` member: flat row-major, or nested to the tensor's shape.

    Raises `InvalidInput` for numbers of another type or out of range, a wrong count, another nesting, and for FP16 and
    BF16, which JSON does not carry in this protocol.
    """
    if datatype not in _JSON_ELEMENTS:
        dtype_of(name, datatype)
        raise InvalidInput(f"input {name!r}: {datatype} can't be sent as JSON numbers; send it as a binary tensor")
    nested = _NESTED.match(data) is not None
    if nested:
        _element_count(name, shape)
    try:
        values = _list_decoder(datatype, len(shape) if nested else 1)(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"input {name!r}: 'data' is no list of {datatype} values: {error}", input=name) from error
    if datatype == "BYTES":
        return _text_tensor(name, shape, values, nested)
    return _number_tensor(name, datatype, shape, values, nested)


def from_parsed(datatype: str, shape: Sequence[int], values: list[Any]) -> np.ndarray:
    """As `from_json`, of values that were parsed as one of `PARSED_TYPES`, together with the message around them.

    Raises `ValueError` or `OverflowError` for whatever is not plainly right: `from_json` takes it, or says why not.
    """
    tensor = np.array(values, dtype=DTYPES[datatype])
    if datatype == "BYTES":
        flat = tensor.ravel()
        if list in map(type, flat):
            raise ValueError("nested unevenly")
        flat[:] = [element.encode() for element in flat]
    if tensor.ndim > 1:
        if tensor.shape != tuple(shape):
            raise ValueError("nested as another shape")
        return tensor
    if not 0 < tensor.size == math.prod(shape):
        raise ValueError("another number of values, or none")
    return tensor.reshape(shape)


def from_nested(name: str, datatype: str, rank: int, data: msgspec.Raw | bytes) -> np.ndarray:
    """The tensor of JSON numbers nested `rank` deep, in the shape that they have; raises `InvalidInput` as `from_json`
    does, and for BYTES."""
    if datatype == "BYTES" or datatype not in _JSON_ELEMENTS:
        raise InvalidInput(f"input {name!r}: {datatype} can't be sent as JSON numbers", input=name)
    try:
        values = _list_decoder(datatype, rank)(data if rank else b"[%b]" % data)
        tensor = np.array(values, dtype=DTYPES[datatype])
        return tensor if rank else tensor.reshape(())
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"input {name!r}: no {datatype} values, nested {rank} deep: {error}", input=name) from error


def from_values(name: str, datatype: str, shape: Sequence[int], values: Any) -> np.ndarray:
    """The tensor of typed protobuf contents, `values` flat and row-major; raises `InvalidInput` as `from_json` does."""
    dtype = dtype_of(name, datatype)
    if datatype == "BYTES":
        flat = np.empty(len(values), dtype=object)
        flat[:] = list(values)
        return _reshape(name, flat, shape)
    if dtype.kind in "iu" and dtype.itemsize < 4:
        _check_range(name, datatype, dtype, values)
    return _number_tensor(name, datatype, shape, values, nested=False)


def to_json_values(tensor: np.ndarray) -> list[Any]:
    """Flat, row-major Python values; raises `InvalidInput` for BYTES that are not UTF-8 text."""
    if tensor.dtype.kind == "O":
        try:
            return [element.decode() for element in tensor.ravel()]
        except UnicodeDecodeError as error:
            raise InvalidInput("an output holds bytes that are not UTF-8; ask for it as binary") from error
    values: list[Any] = tensor.ravel().tolist()
    return values


def _element_count(name: str, shape: Sequence[int]) -> int:
    if len(shape) > _MAX_DIMENSIONS:
        raise InvalidInput(f"input {name!r}: a tensor has at most {_MAX_DIMENSIONS} dimensions, got {len(shape)}")
    if shape and min(shape) < 0:
        raise InvalidInput(f"input {name!r}: expected sizes of 0 or more, got shape {list(shape)}")
    count = math.prod(shape)
    # Beside a size of 0 any other passes the check against the bytes, and numpy refuses to address these.
    if (count or math.prod(size for size in shape if size)) > _MAX_ELEMENTS:
        raise InvalidInput(f"input {name!r}: shape {list(shape)} is larger than any memory")
    return count


def _check_range(name: str, datatype: str, dtype: np.dtype, values: Any) -> None:
    """The protocol's contents of narrow integers are 32 bits wide, and numpy wraps what does not fit."""
    wide = np.array(values, dtype=np.int64)
    limits = np.iinfo(dtype)
    for value in (wide.min(initial=0), wide.max(initial=0)):
        if not limits.min <= value <= limits.max:
            raise InvalidInput(f"input {name!r}: a value does not fit {datatype}: {value}", input=name)


def _reshape(name: str, flat: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    count = _element_count(name, shape)
    if flat.size != count:
        raise InvalidInput(f"input {name!r}: shape {list(shape)} takes {count} values, got {flat.size}", input=name)
    return flat.reshape(shape)


def _number_tensor(name: str, datatype: str, shape: Sequence[int], values: Any, nested: bool) -> np.ndarray:
    try:
        tensor = np.array(values, dtype=DTYPES[datatype])
    except OverflowError as error:
        raise InvalidInput(f"input {name!r}: a value does not fit {datatype}: {error}", input=name) from error
    except ValueError as error:
        raise InvalidInput(f"input {name!r}: 'data' is not rectangular: expected {list(shape)}", input=name) from error
    return _nested_as(name, tensor, shape) if nested else _reshape(name, tensor, shape)


def _text_tensor(name: str, shape: Sequence[int], values: Any, nested: bool) -> np.ndarray:
    tensor = np.array(values, dtype=object)
    tensor = _nested_as(name, tensor, shape) if nested else _reshape(name, tensor, shape)
    tensor.ravel()[:] = [element.encode() for element in tensor.ravel()]
    return tensor


def _nested_as(name: str, tensor: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    if tensor.shape != tuple(shape):
        raise InvalidInput(f"input {name!r}: 'data' is nested as {list(tensor.shape)}, expected {list(shape)}")
    return tensor


@cache
def _list_decoder(datatype: str, depth: int) -> Callable[[msgspec.Raw | bytes], Any]:
    kind: Any = _JSON_ELEMENTS[datatype]
    for _ in range(max(depth, 1)):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


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
