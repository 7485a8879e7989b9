"""Calling a fitted estimator with named tensors: the one way, for the parity gate's reference and for serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.base import Arrays
from converters.sklearn.inputs import InputPlan
from converters.sklearn.outputs import Output, outputs
from model_store.datatypes import DATATYPES
from model_store.errors import ConversionError
from model_store.manifest import Signature, TensorSpec

WIDEST_OUTPUT = 100_000
"""Columns of a dense answer; vectorizers may have millions, most of them zero."""


@dataclass(frozen=True)
class Predictor:
    """An estimator with its inputs and outputs. May be called from several threads at once."""

    estimator: Any
    plan: InputPlan
    outputs: tuple[Output, ...]
    narrow: bool
    """Whether floating outputs are FP32, as in ONNX with FP32 inputs."""

    @classmethod
    def of(cls, estimator: Any, plan: InputPlan) -> Predictor:
        """Raises `ConversionError` when the estimator has no outputs that a server could give."""
        return cls(estimator, plan, tuple(outputs(estimator)), all(spec.datatype != "FP64" for spec in plan.specs))

    def run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """All outputs for a batch: labels INT64 or `bytes`, numbers as floats."""
        rows = self.plan.rows(arrays)
        return {output.name: self._served(output, output.compute(self.estimator, rows)) for output in self.outputs}

    def signature(self, arrays: Arrays) -> Signature:
        """Read off the answers to one batch. Raises `ConversionError` when they are wider than a server should give
        or of a type that no tensor has."""
        return Signature(
            inputs=self.plan.specs,
            outputs=tuple(self._spec(name, array) for name, array in self.run(arrays).items()),
        )

    def _spec(self, name: str, array: np.ndarray) -> TensorSpec:
        if array.ndim > 1 and array.shape[1] > WIDEST_OUTPUT:
            raise ConversionError(
                f"output {name!r} has {array.shape[1]} columns; more than {WIDEST_OUTPUT} are not served: put the "
                "estimator that uses them into the same pipeline"
            )
        if array.dtype not in DATATYPES:
            raise ConversionError(f"output {name!r} has the type {array.dtype}, which no tensor of a server has")
        return TensorSpec(name, DATATYPES[array.dtype], (-1, *array.shape[1:]))

    def _served(self, output: Output, values: np.ndarray) -> np.ndarray:
        if output.is_label and not output.column and values.ndim == 2 and values.shape[1] == 1:
            values = values.reshape(-1)  # CatBoost's classes of more than two
        if values.dtype.kind in "OSU":
            texts = np.empty(values.shape, dtype=object)
            texts.reshape(-1)[:] = [
                item if isinstance(item, bytes) else str(item).encode() for item in values.reshape(-1)
            ]
            return texts
        if not output.is_label and values.dtype.kind in "fiub":  # counts and codes too, as in ONNX
            return values.astype(np.float32 if self.narrow else np.float64, copy=False)
        return values
