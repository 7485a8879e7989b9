"""What a request must look like to reach a version's queue: names, datatypes and shapes of its signature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from model_store.datatypes import DATATYPES, DTYPES
from model_store.errors import InvalidInput
from model_store.manifest import Signature, TensorSpec
from serve.inference import Payload, Tensors
from serve.tensors import from_raw


class SignatureCheck:
    """Checks inputs against one signature. What can be known beforehand is computed once, here."""

    def __init__(self, model: str, signature: Signature) -> None:
        self._model = model
        self._specs = [(spec, spec.name, DTYPES[spec.datatype], spec.shape[1:]) for spec in signature.inputs]
        self._names = frozenset(spec.name for spec in signature.inputs)
        self.outputs = tuple(spec.name for spec in signature.outputs)
        self.batched = all(spec.shape[:1] == (-1,) for spec in (*signature.inputs, *signature.outputs))
        """Whether the first dimension of every input and output is the batch."""
        self.ragged = any(-1 in spec.shape[1:] for spec in signature.inputs)
        """Whether dimensions other than the batch may differ between requests."""

    def rows(self, inputs: Tensors) -> int:
        """How many rows `inputs` has, 1 where the version has no batch dimension.

        Raises `InvalidInput` for a missing or unknown name, another datatype, a shape that does not fit, and inputs
        that differ in their number of rows.
        """
        if inputs.keys() != self._names:
            raise self._wrong_names(inputs)
        batched, rows = self.batched, -1
        for spec, name, dtype, row_shape in self._specs:
            tensor = inputs[name]
            got = tensor.shape
            # Most often only the batch is free: then one comparison tells.
            usual = batched and got and got[1:] == row_shape
            if tensor.dtype != dtype or not (usual or _fits(got, spec.shape)):
                raise mismatch(spec, tensor)
            if batched and rows != got[0]:
                if rows >= 0:
                    raise InvalidInput(f"input {name!r}: expected {rows} rows as the other inputs, got {got[0]}")
                rows = got[0]
        return rows if batched else 1

    def from_payload(self, payload: Payload) -> Tensors:
        """A raw body as the version's only input, one row where it has a batch dimension (raw binary request).

        Raises `InvalidInput` when the version takes several inputs, or its free dimensions can't be told from the
        body's length.
        """
        if len(self._specs) != 1:
            raise InvalidInput(f"model {self._model!r} takes named tensors, not a raw body: {self._expected()}")
        spec, name, dtype, _ = self._specs[0]
        shape = spec.shape
        if spec.datatype == "BYTES":
            element = np.empty([1] * len(shape), dtype=object)
            element[...] = payload.body
            return {name: element}
        sizes = [1 if self.batched and axis == 0 else size for axis, size in enumerate(shape)]
        row_bytes = dtype.itemsize * math.prod(size for size in sizes if size >= 0)
        free = sizes.count(-1)
        if free > 1 or not row_bytes or len(payload.body) % row_bytes:
            raise InvalidInput(f"{len(payload.body)} bytes are no tensor {describe(spec)}", input=name)
        sizes = [len(payload.body) // row_bytes if size < 0 else size for size in sizes]
        return {name: from_raw(name, spec.datatype, sizes, payload.body)}

    def wanted(self, names: Sequence[str]) -> Sequence[str]:
        """The outputs to answer with, all when `names` is empty; raises `InvalidInput` for an unknown one."""
        for name in names:
            if name not in self.outputs:
                raise InvalidInput(
                    f"model {self._model!r} has no output {name!r}; outputs: {', '.join(self.outputs)}",
                    output=name,
                )
        return names or self.outputs

    def _wrong_names(self, inputs: Tensors) -> InvalidInput:
        got = ", ".join(repr(name) for name in inputs) or "none"
        return InvalidInput(f"model {self._model!r} takes the inputs {self._expected()}; got {got}", got=list(inputs))

    def _expected(self) -> str:
        return ", ".join(describe(spec) for spec, *_ in self._specs)


def describe(spec: TensorSpec) -> str:
    """A tensor as people read it: `'x': FP32[*,16]`."""
    return f"{spec.name!r}: {_shape_text(spec.datatype, spec.shape)}"


def _shape_text(datatype: str, shape: Sequence[int]) -> str:
    return f"{datatype}[{','.join('*' if size < 0 else str(size) for size in shape)}]"


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(want in (-1, size) for size, want in zip(shape, expected, strict=True))


def mismatch(spec: TensorSpec, tensor: np.ndarray) -> InvalidInput:
    """That a tensor has not the datatype and shape that an input takes."""
    got = _shape_text(DATATYPES.get(tensor.dtype, str(tensor.dtype)), tensor.shape)
    return InvalidInput(
        f"input {spec.name!r}: expected {_shape_text(spec.datatype, spec.shape)}, got {got}", input=spec.name
    )
