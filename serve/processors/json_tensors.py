"""JSON bodies: `{input: values}`, or bare values for a model with one input.

Values are nested as the tensor is. Those of one row may leave the batch dimension out; the answer then leaves it out
too. Numbers that JSON does not have are written as `NaN`, `Infinity` and `-Infinity`, as in the v2 protocol.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from model_store.errors import InvalidInput
from model_store.manifest import Manifest, TensorSpec
from serve import tensors
from serve.admission import SignatureCheck, describe
from serve.inference import Payload, Tensors
from serve.processors.base import field_of

_BRACKETS = re.compile(rb"[\s\[]*")
_CARRIED_AS = {"FP16": "FP32", "BF16": "FP32"}
"""Datatypes that JSON carries in a wider one."""

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class JsonTensors:
    """The processor `json`."""

    def __init__(self, manifest: Manifest) -> None:
        signature = manifest.signatures[manifest.default_signature]
        self._specs = {spec.name: spec for spec in signature.inputs}
        self._check = SignatureCheck(manifest.name, signature)

    def decode(self, payload: Payload) -> tuple[Tensors, bool]:
        """The inputs, and whether they came as one row without its batch dimension."""
        values = self._values(payload)
        if values.keys() != self._specs.keys():
            takes = ", ".join(map(describe, self._specs.values()))
            got = ", ".join(f"{name!r:.40}" for name in values) or "none"
            raise InvalidInput(f"the model takes the inputs {takes}; got {got}")
        rows = {name: self._is_row(spec, values[name]) for name, spec in self._specs.items()}
        inputs = {name: _tensor(spec, values[name], rows[name]) for name, spec in self._specs.items()}
        self._check.rows(inputs)
        return inputs, all(rows.values())

    def encode(self, outputs: Tensors, form: bool) -> Payload:
        """`{output: values}`, or bare values for the only output; without the batch dimension when `form` is true."""
        nested = {
            name: _nested(tensor.reshape(tensor.shape[1:]) if form else tensor) for name, tensor in outputs.items()
        }
        answer = nested if len(nested) > 1 else next(iter(nested.values()))
        body = _encode(answer)
        # msgspec writes NaN and infinities as null.
        return Payload(json.dumps(answer).encode() if b"null" in body else body, "application/json")

    def _values(self, payload: Payload) -> Mapping[str, bytes]:
        """Name -> JSON text of its values."""
        only = next(iter(self._specs)) if len(self._specs) == 1 else None
        if payload.fields:
            if self._specs.keys() <= payload.fields.keys():
                return {name: payload.fields[name] for name in self._specs}
            body = field_of(payload, only or "body")
            if body is None:
                return payload.fields
        else:
            body = payload.body
        if only is None or body.lstrip()[:1] == b"{":
            return _object(body)
        return {only: body}

    def _is_row(self, spec: TensorSpec, raw: bytes) -> bool:
        """Told by the depth of the nesting: the tensor's rank with the batch, one less for a row alone."""
        depth = _BRACKETS.match(raw)[0].count(b"[")  # type: ignore[index]  # it matches nothing too
        rank = len(spec.shape)
        if self._check.batched and depth == rank - 1:
            return True
        if depth == rank:
            return False
        row = f", or {rank - 1} for one row" if self._check.batched else ""
        raise InvalidInput(
            f"input {spec.name!r}: expected values nested {rank} deep{row}, got {depth}: {describe(spec)}",
            input=spec.name,
        )


def _object(body: bytes) -> dict[str, bytes]:
    try:
        return {name: bytes(raw) for name, raw in _decode_object(body).items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is no JSON object of inputs: {error}") from error


def _tensor(spec: TensorSpec, raw: bytes, row: bool) -> np.ndarray:
    if row:
        raw = b"[" + raw + b"]"
    shape = _shape(spec, raw)
    if not shape:
        raw = b"[" + raw + b"]"
    tensor = tensors.from_json(spec.name, _CARRIED_AS.get(spec.datatype, spec.datatype), shape, raw)
    return _narrowed(spec, tensor) if spec.datatype in _CARRIED_AS else tensor


def _shape(spec: TensorSpec, raw: bytes) -> list[int]:
    """The shape that the nested values claim: free sizes are counted, along the first elements; the rest is the
    model's, and reading the values holds them to it."""
    shape: list[int] = []
    free = max((axis for axis, size in enumerate(spec.shape) if size < 0), default=-1)
    for axis, size in enumerate(spec.shape):
        if axis <= free:
            try:
                items = _decode_list(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidInput(f"input {spec.name!r}: expected nested lists: {error}", input=spec.name) from error
            raw = bytes(items[0]) if items else b"[]"
            size = len(items) if size < 0 else size
        shape.append(size)
    return shape


def _narrowed(spec: TensorSpec, tensor: np.ndarray) -> np.ndarray:
    dtype = tensors.dtype_of(spec.name, spec.datatype)
    with np.errstate(over="ignore"):
        narrow = tensor.astype(dtype)
    if not np.isfinite(narrow).all():
        raise InvalidInput(f"input {spec.name!r}: a value does not fit {spec.datatype}", input=spec.name)
    return narrow


def _nested(tensor: np.ndarray) -> Any:
    if tensor.dtype == np.object_:
        flat = np.array(tensors.to_json_values(tensor), dtype=object)
        return flat.reshape(tensor.shape).tolist()
    return tensor.tolist()
