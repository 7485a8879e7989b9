"""TensorFlow's `TensorProto` to tensors and back.

A tensor comes as `tensor_content`, raw and row-major, or as a typed list. A list that is shorter than the shape goes on
with its last value, an empty one means zeros. Answers are typed lists, as TensorFlow Serving's are: many clients read
`float_val` and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput
from serve import tensors
from serve.protocols.tensorflow_serving import TensorProto
from serve.protocols.wire import put_behind

MAX_FILLED_BYTES = 4 << 20
"""Of a tensor whose list is shorter than its shape. A client can send as much in full without changing its limits, so
nobody gains memory here by claiming a shape."""

_MAX_RANK = 64  # numpy's own limit


@dataclass(frozen=True)
class _Type:
    """How a datatype is told: its number, its field, and that field's number where it is packed in numpy's layout."""

    number: int
    field: str
    packed: int = 0


_TYPES = {
    "FP32": _Type(1, "float_val", packed=5),
    "FP64": _Type(2, "double_val", packed=6),
    "INT32": _Type(3, "int_val"),
    "UINT8": _Type(4, "int_val"),
    "INT16": _Type(5, "int_val"),
    "INT8": _Type(6, "int_val"),
    "BYTES": _Type(7, "string_val"),
    "INT64": _Type(9, "int64_val"),
    "BOOL": _Type(10, "bool_val", packed=11),
    "BF16": _Type(14, "half_val"),
    "UINT16": _Type(17, "int_val"),
    "FP16": _Type(19, "half_val"),
    "UINT32": _Type(22, "uint32_val"),
    "UINT64": _Type(23, "uint64_val"),
}
_DATATYPES = {each.number: datatype for datatype, each in _TYPES.items()}
_NAMES = TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_number


def number_of(datatype: str) -> int:
    """TensorFlow's `DataType` of a datatype, as 1 for FP32."""
    return _TYPES[datatype].number


def from_proto(name: str, message: Any) -> np.ndarray:
    """The tensor in a `TensorProto`: a view on its bytes where they come raw, else a copy.

    Raises `InvalidInput` for an element type that models here don't have, an unknown rank, a negative size, and values
    that are too many, too few to be raw, or out of range.
    """
    datatype = _DATATYPES.get(message.dtype)
    if datatype is None:
        raise InvalidInput(f"input {name!r}: tensors of {_told(message.dtype)} are not taken", input=name)
    shape = _shape(name, message.tensor_shape)
    content = message.tensor_content
    if content:
        if datatype == "BYTES":
            raise InvalidInput(f"input {name!r}: expected DT_STRING values in string_val, got tensor_content")
        return tensors.from_raw(name, datatype, shape, content)
    values = getattr(message, _TYPES[datatype].field)
    if datatype in ("FP16", "BF16"):
        bits = np.array(values, dtype=np.int32).astype(np.uint16)
        return _filled(name, bits.view(DTYPES[datatype]), shape)
    return _filled(name, tensors.from_values(name, datatype, [len(values)], values), shape)


def write_proto(tensor: np.ndarray, message: Any) -> None:
    """Writes the tensor into an empty `TensorProto`, its values as a typed list."""
    datatype = tensors.datatype_of(tensor)
    kind = _TYPES[datatype]
    message.dtype = kind.number
    message.tensor_shape.SetInParent()
    for size in tensor.shape:
        message.tensor_shape.dim.add(size=size)
    if kind.packed:
        # Packed, these are the array's bytes: to parse them is 100 times faster than to extend the list.
        message.MergeFromString(put_behind(b"", kind.packed, [tensors.raw_view(tensor)]))
        return
    bits = tensor.view(np.uint16) if kind.field == "half_val" else tensor
    getattr(message, kind.field).extend(bits.ravel().tolist())


def _shape(name: str, message: Any) -> list[int]:
    if message.unknown_rank:
        raise InvalidInput(f"input {name!r}: expected a tensor with a shape, got one of unknown rank", input=name)
    shape = [dim.size for dim in message.dim]
    if len(shape) > _MAX_RANK:
        raise InvalidInput(f"input {name!r}: a tensor has at most {_MAX_RANK} dimensions, got {len(shape)}")
    if shape and min(shape) < 0:
        raise InvalidInput(f"input {name!r}: expected sizes of 0 or more, got shape {shape}", input=name)
    return shape


def _filled(name: str, values: np.ndarray, shape: list[int]) -> np.ndarray:
    count = math.prod(shape)
    if values.size == count:
        return _reshaped(name, values, shape)
    if values.size > count:
        raise InvalidInput(f"input {name!r}: shape {shape} takes {count} values, got {values.size}", input=name)
    if count * values.itemsize > MAX_FILLED_BYTES:
        raise InvalidInput(
            f"input {name!r}: shape {shape} takes {count} values, got {values.size}; to be filled up from so few, a "
            f"tensor may have {MAX_FILLED_BYTES} bytes at most",
            input=name,
        )
    last = values[-1] if values.size else b"" if values.dtype == np.object_ else 0
    whole = np.full(count, last, dtype=values.dtype)
    whole[: values.size] = values
    return whole.reshape(shape)


def _reshaped(name: str, values: np.ndarray, shape: list[int]) -> np.ndarray:
    try:
        return values.reshape(shape)
    except ValueError as error:  # beside a size of 0, others that numpy can't address
        raise InvalidInput(f"input {name!r}: shape {shape} is larger than any memory", input=name) from error


def _told(number: int) -> str:
    known = _NAMES.get(number)
    return known.name if known is not None else f"type {number}"
