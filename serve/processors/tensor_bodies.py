"""Bodies that hold tensors: JSON, CSV, `.npy`, `.npz` and forms of them, read as the inputs of a signature.

JSON is `{input: values}`, or bare values for a model with one input. The processor `json` is this reader in front of
a version, and JSON behind it, or CSV for clients that ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from model_store.errors import InvalidInput
from model_store.manifest import Manifest, Signature, TensorSpec
from serve.admission import SignatureCheck, describe
from serve.inference import Payload, Tensors
from serve.processors.array_files import read_npy, read_npz
from serve.processors.base import part_of
from serve.processors.body_kinds import BodyKind, kind_of
from serve.processors.casting import cast
from serve.processors.csv_answers import CSV, wants_csv, write_csv
from serve.processors.csv_tensors import read_csv
from serve.processors.json_tensors import read_object, read_values, write_json, write_values

_T = TypeVar("_T")

_Read = dict[str, tuple[np.ndarray, bool]]
"""Input -> its tensor, and whether it came as one row without the batch dimension."""

_VERBATIM = (BodyKind.TEXT, BodyKind.PICTURE, BodyKind.OTHER)
"""Kinds that a model whose only input is BYTES takes as they are."""


class TensorReader:
    """Reads bodies as the inputs of one signature; it may be used from any thread."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._specs = {spec.name: spec for spec in signature.inputs}
        self._only = signature.inputs[0] if len(signature.inputs) == 1 else None
        self.batched = SignatureCheck("", signature).batched

    def read(self, payload: Payload) -> tuple[Tensors, bool]:
        """The inputs, and whether they came as one row without its batch dimension.

        Raises `InvalidInput` for a body that holds no such inputs. Shapes are held against the signature when the
        request is admitted.
        """
        read = self._form(payload) if payload.fields else self._body(payload.body, payload.content_type)
        return {name: tensor for name, (tensor, _) in read.items()}, all(row for _, row in read.values())

    def _body(self, body: bytes, content_type: str) -> _Read:
        kind = _kind(content_type, body, self._only)
        if kind is BodyKind.NPZ:
            arrays = self._named(read_npz(body))
            return {name: self._array(spec, arrays[name]) for name, spec in self._specs.items()}
        if kind is BodyKind.CSV:
            return {name: (tensor, False) for name, tensor in read_csv(body, self._signature).items()}
        if self._only is not None and not (kind is BodyKind.JSON and body.lstrip()[:1] == b"{"):
            return {self._only.name: self._part(self._only, body, kind)}
        if kind is not BodyKind.JSON:
            raise InvalidInput(f"the model takes the inputs {self._takes()}, as JSON, CSV or .npz; got {kind.value}")
        values = self._named(read_object(body))
        return {name: read_values(spec, values[name], self.batched) for name, spec in self._specs.items()}

    def _form(self, payload: Payload) -> _Read:
        """The parts named as the inputs; else the one that stands for a body."""
        fields, types = payload.fields, payload.field_types
        if self._specs.keys() <= fields.keys():
            return {
                name: self._part(spec, fields[name], _kind(types.get(name, ""), fields[name], spec))
                for name, spec in self._specs.items()
            }
        part = part_of(payload, self._only.name if self._only else "body")
        if part is None:
            raise self._wrong_names(fields)
        return self._body(fields[part], types.get(part, ""))

    def _named(self, values: Mapping[str, _T]) -> Mapping[str, _T]:
        if values.keys() != self._specs.keys():
            raise self._wrong_names(values)
        return values

    def _wrong_names(self, names: Iterable[str]) -> InvalidInput:
        got = ", ".join(f"{name!r:.40}" for name in names) or "none"
        return InvalidInput(f"the model takes the inputs {self._takes()}; got {got}")

    def _part(self, spec: TensorSpec, part: bytes, kind: BodyKind) -> tuple[np.ndarray, bool]:
        """One input's values."""
        if kind is BodyKind.NPY:
            return self._array(spec, read_npy(part))
        if kind is BodyKind.CSV:
            return read_csv(part, Signature((spec,), ()))[spec.name], False
        if kind in _VERBATIM and spec.datatype == "BYTES":
            element = np.empty([1] * len(spec.shape), dtype=object)
            element[...] = part
            return element, self.batched
        if kind is BodyKind.JSON:
            return read_values(spec, part, self.batched)
        raise InvalidInput(f"input {describe(spec)}: expected JSON, CSV or .npy, got {kind.value}", input=spec.name)

    def _array(self, spec: TensorSpec, array: np.ndarray) -> tuple[np.ndarray, bool]:
        tensor = cast(spec.name, array, spec.datatype)
        row = self.batched and tensor.ndim == len(spec.shape) - 1
        return (tensor[np.newaxis] if row else tensor), row

    def _takes(self) -> str:
        return ", ".join(map(describe, self._specs.values()))


def _kind(content_type: str, part: bytes, spec: TensorSpec | None) -> BodyKind:
    """An input that takes no text takes what a text says: JSON or CSV. curl calls files of both octet-streams."""
    kind = kind_of(content_type, part)
    if kind in (BodyKind.TEXT, BodyKind.OTHER) and (spec is None or spec.datatype != "BYTES"):
        return kind_of("", part)
    return kind


@lru_cache(maxsize=4096)
def reader_of(signature: Signature) -> TensorReader:
    """The reader of a signature, made once."""
    return TensorReader(signature)


class BodyForm(NamedTuple):
    """How the answer to a body is written: of one row without its batch dimension, as CSV."""

    row: bool
    csv: bool = False


class TensorBodies:
    """The processor `json`."""

    def __init__(self, manifest: Manifest) -> None:
        self._reader = TensorReader(manifest.signatures[manifest.default_signature])

    def decode(self, payload: Payload) -> tuple[Tensors, BodyForm]:
        """The inputs, and how the client wants the answer."""
        inputs, row = self._reader.read(payload)
        return inputs, BodyForm(row, wants_csv(payload.headers.get("accept")))

    def encode(self, outputs: Tensors, form: BodyForm) -> Payload:
        """`{output: values}`, or bare values for the only output, or CSV; raises `InvalidInput` as what writes them."""
        if form.csv:
            return Payload(write_csv(outputs, self._reader.batched), CSV)
        values = write_values(outputs, form.row)
        return Payload(write_json(values if len(values) > 1 else next(iter(values.values()))), "application/json")
