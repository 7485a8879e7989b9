"""JSON values as tensors and tensors as JSON values.

Values are nested as the tensor is. Those of one row may leave the batch dimension out; the answer then leaves it out
too. Numbers that JSON does not have are written as `NaN`, `Infinity` and `-Infinity`, as in the v2 protocol.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput, first_line
from model_store.manifest import TensorSpec
from serve import tensors
from serve.admission import describe, mismatch
from serve.inference import Tensors
from serve.processors.casting import cast

_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BRACKETS = re.compile(rb"[\s\[]*")
_CARRIED_AS = {"FP16": "FP32", "BF16": "FP32"}
"""Datatypes that JSON carries in a wider one."""
EXPLAINED_BYTES = 1 << 20
"""Longer values are not decoded a second time for the shape that they have: a refusal is not to cost several times what
an answer does."""

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode
_pass_over = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode


def read_object(body: bytes) -> dict[str, bytes]:
    """Name -> JSON text of its values; raises `InvalidInput` for what is no JSON object."""
    try:
        return {name: bytes(raw) for name, raw in _decode_object(body).items()}
    except _NO_JSON as error:
        raise InvalidInput(f"the body is no JSON object of inputs: {error}") from error


def read_values(spec: TensorSpec, raw: bytes, batched: bool) -> tuple[np.ndarray, bool]:
    """The tensor of an input, and whether its values came as one row without the batch dimension.

    Raises `InvalidInput` for another nesting, numbers of another type, and ones out of range.
    """
    row = _is_row(spec, raw, batched)
    tensor = _tensor(spec, raw, row)
    if row and len(tensor) != 1:
        # Nothing at all, or several values with commas between them: neither is JSON.
        raise InvalidInput(f"input {spec.name!r}: expected one JSON value, got {len(tensor)}", input=spec.name)
    return tensor, row


def write_values(outputs: Tensors, row: bool) -> dict[str, Any]:
    """The outputs as nested Python values, without the batch dimension where `row` is true.

    Raises `InvalidInput` for BYTES that are not UTF-8 text.
    """
    return {name: _nested(tensor.reshape(tensor.shape[1:]) if row else tensor) for name, tensor in outputs.items()}


def write_json(answer: Any) -> bytes:
    """`answer` as JSON, with the tokens `NaN` and `Infinity` where it has such numbers."""
    body = _encode(answer)
    # msgspec writes NaN and infinities as null, which would be another answer. To look for that afterwards is cheaper
    # than to look at every number before.
    return json.dumps(msgspec.to_builtins(answer)).encode() if body.find(b"null") >= 0 else body


def _is_row(spec: TensorSpec, raw: bytes, batched: bool) -> bool:
    """Told by the depth of the nesting: the tensor's rank with the batch, one less for a row alone."""
    depth = _BRACKETS.match(raw)[0].count(b"[")  # type: ignore[index]  # it matches nothing too
    rank = len(spec.shape)
    if batched and depth == rank - 1:
        return True
    if depth == rank:
        return False
    if problem := _no_json(spec, raw):
        raise problem
    row = f", or {rank - 1} for one row" if batched else ""
    raise InvalidInput(
        f"input {spec.name!r}: expected values nested {rank} deep{row}, got {depth}: {describe(spec)}",
        input=spec.name,
    )


def _tensor(spec: TensorSpec, raw: bytes, row: bool) -> np.ndarray:
    values = b"[" + raw + b"]" if row else raw
    datatype = _CARRIED_AS.get(spec.datatype, spec.datatype)
    try:
        shape = _shape(spec, values)
        tensor = tensors.from_json(spec.name, datatype, shape, values if shape else b"[" + values + b"]")
    except InvalidInput as error:
        raise _no_json(spec, raw) or _misfit(spec, datatype, raw, row, error) from error
    return cast(spec.name, tensor, spec.datatype) if spec.datatype in _CARRIED_AS else tensor


def _no_json(spec: TensorSpec, raw: bytes) -> InvalidInput | None:
    """That `raw` is no JSON at all; None where its signs are in order, whatever its texts and numbers are."""
    try:
        _pass_over(raw)
    except _NO_JSON as error:
        return _not_json(spec, raw, error)
    return None


def _not_json(spec: TensorSpec, raw: bytes, error: Exception) -> InvalidInput:
    got = f"{raw[:200].decode(errors='replace')!r:.60}" if raw.strip() else "nothing"
    return InvalidInput(f"input {describe(spec)}: expected JSON, got {got} ({first_line(error)})", input=spec.name)


def _misfit(spec: TensorSpec, datatype: str, raw: bytes, row: bool, error: InvalidInput) -> InvalidInput:
    """Why the JSON `raw` is no tensor of the input, in words without the `data` that only v2's calls have; `error` is
    what reading it as one raised."""
    if len(raw) > EXPLAINED_BYTES:
        return _misfit_of_many(spec, error)
    try:
        nested = _decode(raw)
    except _NO_JSON as problem:
        return _not_json(spec, raw, problem)
    shape = np.array([nested] if row else nested, dtype=object).shape
    if len(shape) < len(spec.shape):
        return InvalidInput(f"input {describe(spec)}: expected lists of one length, got others", input=spec.name)
    try:
        tensor = tensors.from_json(spec.name, datatype, shape, b"[" + raw + b"]" if row or not shape else raw)
    except InvalidInput as error:
        reason = first_line(error.__cause__ or error.message)
        return InvalidInput(f"input {spec.name!r}: no {spec.datatype} values: {reason}", input=spec.name)
    return mismatch(spec, tensor.astype(DTYPES[spec.datatype]))


def _misfit_of_many(spec: TensorSpec, error: InvalidInput) -> InvalidInput:
    """As `_misfit`, from nothing but what reading the values raised."""
    reason = error.__cause__
    if isinstance(reason, (*_NO_JSON, OverflowError)):
        return InvalidInput(f"input {spec.name!r}: no {spec.datatype} values: {first_line(reason)}", input=spec.name)
    return InvalidInput(f"input {describe(spec)}: expected values of that shape, got another", input=spec.name)


def _shape(spec: TensorSpec, raw: bytes) -> list[int]:
    """The shape that the nested values claim: free sizes are counted, along the first elements; the rest is the
    model's, and reading the values holds them to it."""
    shape: list[int] = []
    free = max((axis for axis, size in enumerate(spec.shape) if size < 0), default=-1)
    for axis, size in enumerate(spec.shape):
        if axis <= free:
            try:
                items = _decode_list(raw)
            except _NO_JSON as error:
                raise InvalidInput(f"input {spec.name!r}: expected nested lists: {error}", input=spec.name) from error
            raw = bytes(items[0]) if items else b"[]"
            size = len(items) if size < 0 else size
        shape.append(size)
    return shape


def _nested(tensor: np.ndarray) -> Any:
    if tensor.dtype == np.object_:
        flat = np.array(tensors.to_json_values(tensor), dtype=object)
        return flat.reshape(tensor.shape).tolist()
    return tensor.tolist()
