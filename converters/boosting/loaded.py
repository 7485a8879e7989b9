"""A model in its own library: one class for each of the three, one interface for the converter and the runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from converters.base import Arrays
from converters.boosting.formats import Format, served_format
from converters.boosting.trees import BoostedModel
from model_store.datatypes import DATATYPES
from model_store.errors import ConversionError, SourceError
from model_store.manifest import Signature, TensorSpec


class LoadedModel(ABC):
    """A model that its library has read. Made by `load_model`; imports the library."""

    library: str
    version: str
    features: int
    targets: int
    labels: np.ndarray | None
    """Classes (INT64, floats or text) of a classifier in the order of its probabilities; None for other models."""

    @abstractmethod
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The library's own answer to FP32 or FP64 [-1, features]: probabilities of classes ([-1, classes], or [-1]
        for the second of two), or [-1, targets] or [-1] of numbers. May be called from any thread."""

    @abstractmethod
    def _read(self) -> BoostedModel:
        """`read`, but for failures over a form that the library's later versions may write."""

    def read(self) -> BoostedModel:
        """The trees, for conversion. Raises `ConversionError` where the model has what ONNX has no operators for."""
        try:
            return self._read()
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ConversionError(
                f"{self.library} {self.version} writes the model in a form that is not known: "
                f"{type(error).__name__}: {str(error)[:200]}"
            ) from error

    def named_inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs of a model whose features are not all numbers, one a feature; empty for the usual matrix."""
        return ()

    def index_of(self, probabilities: np.ndarray) -> np.ndarray:
        """int64[-1]: which of the classes is the answer, by `probabilities` FP[-1, classes]."""
        return np.asarray(probabilities.argmax(1))

    def answer(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """All outputs by their public names; `inputs` is the one matrix."""
        return self.outputs(self.predict(next(iter(inputs.values()))))

    def outputs(self, answer: np.ndarray) -> dict[str, np.ndarray]:
        """What `predict` gave, under public names and in their shapes."""
        if self.labels is None:
            return {"output": answer.reshape(len(answer), -1)}
        if answer.ndim == 1:
            answer = np.stack([1 - answer, answer], axis=1)
        return {"label": self.labels[self.index_of(answer)], "probabilities": answer}

    def signature(self, matrix: TensorSpec) -> Signature:
        """Public names and shapes; `matrix` is the input where all features are numbers."""
        if self.labels is None:
            outputs: tuple[TensorSpec, ...] = (TensorSpec("output", "FP32", (-1, self.targets)),)
        else:
            datatype = DATATYPES.get(self.labels.dtype, "BYTES")
            labels, size = TensorSpec("label", datatype, (-1,)), len(self.labels)
            outputs = (labels, TensorSpec("probabilities", "FP32", (-1, size)))
        return Signature(self.named_inputs() or (matrix,), outputs)


def load_model(source: Path, threads: int = 0) -> LoadedModel:
    """Reads a model with the library that wrote it, to run on `threads` threads (0: the library's own choice).

    Raises `SourceError` for a file that the library can't read, `ModuleNotFoundError` when it is not installed.
    """
    kind = served_format(source)
    if kind in (Format.XGBOOST_JSON, Format.XGBOOST_UBJ):
        from converters.boosting.xgboost_model import XGBoostModel

        return XGBoostModel(source, threads)
    if kind is Format.LIGHTGBM_TEXT:
        from converters.boosting.lightgbm_model import LightGBMModel

        return LightGBMModel(source, threads)
    from converters.boosting.catboost_model import CatBoostModel

    return CatBoostModel(source, threads)


def unreadable(source: Path, library: str, error: Exception) -> SourceError:
    """What is told of a file that a library can't read, in one line of its own many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return SourceError(f"source {source.name!r} is cut off or damaged: {library} says {lines[0][:300]}")
