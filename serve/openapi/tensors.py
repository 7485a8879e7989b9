"""Schemas of a model's own inputs and outputs: nested lists with the sizes of its signature."""

from __future__ import annotations

from typing import Any

import numpy as np

from model_store.datatypes import DTYPES
from model_store.manifest import PAYLOAD_SIGNATURE, Manifest, Signature, TensorSpec
from serve.admission import SignatureCheck
from serve.openapi.parts import ANY, BINARY, BYTES, JSON, TEXT, Schema

NPY = "application/x-npy"
NPZ = "application/x-npz"
CSV = "text/csv"

_KINDS: dict[str, Schema] = {"b": {"type": "boolean"}, "O": {"type": "string"}}


def tensor_schema(spec: TensorSpec) -> Schema:
    """A tensor as nested lists: `minItems` and `maxItems` where the size is fixed."""
    return _nested(spec, spec.shape)


def inputs_schema(signature: Signature) -> Schema:
    """What a JSON body may be: an object of inputs, or the values of the only one; one row may leave the batch out."""
    batched = SignatureCheck("", signature).batched
    values = {spec.name: _with_row(spec, batched) for spec in signature.inputs}
    named: Schema = {
        "type": "object",
        "properties": values,
        "required": list(values),
        "additionalProperties": False,
    }
    return {"anyOf": [named, *values.values()]} if len(values) == 1 else named


def outputs_schema(signature: Signature) -> Schema:
    """The outputs by name, nested as the request was."""
    batched = SignatureCheck("", signature).batched
    values = {spec.name: _with_row(spec, batched) for spec in signature.outputs}
    return {"type": "object", "properties": values, "required": list(values)}


def takes_any_body(manifest: Manifest) -> bool:
    """Whether the version is a handler, whose bodies only its own code knows."""
    return manifest.signatures[manifest.default_signature] == PAYLOAD_SIGNATURE


def bodies_of(manifest: Manifest) -> dict[str, Schema]:
    """Media type -> schema of what the version takes on the plain path."""
    if takes_any_body(manifest):
        return {"*/*": ANY}
    signature = manifest.signatures[manifest.default_signature]
    bodies: dict[str, Schema] = {JSON: inputs_schema(signature), CSV: TEXT, NPZ: BINARY}
    if len(signature.inputs) == 1:
        bodies[NPY] = BINARY
    if manifest.processor is not None:
        bodies["image/*"] = BINARY
    bodies["multipart/form-data"] = {"type": "object"}
    bodies[BYTES] = BINARY
    return bodies


def _with_row(spec: TensorSpec, batched: bool) -> Schema:
    whole = tensor_schema(spec)
    return {"anyOf": [whole, _nested(spec, spec.shape[1:])]} if batched else whole


def _nested(spec: TensorSpec, shape: tuple[int, ...]) -> Schema:
    schema = _element(spec.datatype)
    for size in reversed(shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema | {"description": f"{spec.datatype}{list(shape)}"}


def _element(datatype: str) -> Schema:
    dtype = DTYPES[datatype]
    if dtype.kind not in "iu":
        return dict(_KINDS.get(dtype.kind, {"type": "number"}))
    limits: Any = np.iinfo(dtype)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
