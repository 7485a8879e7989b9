"""A model in CatBoost, from its binary or JSON file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays
from converters.boosting.catboost_json import read_catboost
from converters.boosting.formats import Format, format_of
from converters.boosting.loaded import LoadedModel, unreadable
from converters.boosting.trees import BoostedModel
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

CLASSIFIERS = ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
PREDICTION_TYPES = {
    **dict.fromkeys(CLASSIFIERS, "Probability"),
    "MultiLogloss": "Probability",
    "MultiCrossEntropy": "Probability",
    "Poisson": "Exponent",
    "Tweedie": "Exponent",
    "RMSEWithUncertainty": "RMSEWithUncertainty",
}
"""Loss -> what `CatBoostClassifier.predict_proba` and `CatBoostRegressor.predict` answer; others answer the score."""


class CatBoostModel(LoadedModel):
    """Answers as `predict_proba` of classifiers and `predict` of regressors and rankers. With features that are
    categories, texts or embeddings each feature is an input of its own."""

    library = "catboost"

    def __init__(self, source: Path, threads: int) -> None:
        import catboost

        self._catboost = catboost
        self.version = catboost.__version__
        kind = "json" if format_of(source) is Format.CATBOOST_JSON else "cbm"
        try:
            self._model = catboost.CatBoost().load_model(str(source), format=kind)
            metadata: Mapping[str, str] = self._model.get_metadata()
            self._loss = _loss(metadata)
            self._threshold = float(metadata.get("binclass_probability_threshold", 0.5))
        except (catboost.CatBoostError, ValueError, KeyError, TypeError) as error:
            raise unreadable(source, "CatBoost", error) from error
        self._threads = threads or -1
        self._categories = set(self._model.get_cat_feature_indices())
        self._texts = set(self._model.get_text_feature_indices())
        self._embeddings = set(self._model.get_embedding_feature_indices())
        self._names: list[str] = list(self._model.feature_names_)
        self.features = len(self._names)
        self.labels = self._labels() if self._loss in CLASSIFIERS else None
        self.targets = int(np.size(self._model.get_scale_and_bias()[1]))

    def _labels(self) -> np.ndarray:
        classes = np.asarray(self._model.classes_)
        if not len(classes):  # the targets of CrossEntropy are probabilities
            return np.arange(2, dtype=np.int64)
        if classes.dtype.kind in "iub":
            return classes.astype(np.int64)
        return classes if classes.dtype.kind == "f" else classes.astype(str).astype(object)

    def index_of(self, probabilities: np.ndarray) -> np.ndarray:
        """int64[-1]; of two classes the second above the threshold that the model was given, usually 0.5."""
        if probabilities.shape[1] == 2 and self.targets == 1:
            return np.asarray(probabilities[:, 1] > self._threshold, dtype=np.int64)
        return super().index_of(probabilities)

    def predict(self, rows: Any) -> np.ndarray:
        """As the base says; `rows` may be a `catboost.Pool` too."""
        kind = PREDICTION_TYPES.get(self._loss, "RawFormulaVal")
        return np.asarray(self._model.predict(rows, prediction_type=kind, thread_count=self._threads))

    def named_inputs(self) -> tuple[TensorSpec, ...]:
        """FP32 or BYTES [-1, 1] a feature, embeddings FP32 [-1, -1]."""
        if not self._categories | self._texts | self._embeddings:
            return ()
        return tuple(self._spec(index, name) for index, name in enumerate(self._names))

    def _spec(self, index: int, name: str) -> TensorSpec:
        words = index in self._categories | self._texts
        columns = -1 if index in self._embeddings else 1
        # CatBoost names features by their number where it was told no names.
        name = f"feature_{name}" if name.isdecimal() else name
        return TensorSpec(name, "BYTES" if words else "FP32", (-1, columns))

    def answer(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """All outputs; `inputs` is the one matrix, or a column for each feature."""
        specs = self.named_inputs()
        if not specs:
            return super().answer(inputs)
        import pandas

        columns = {index: self._column(index, inputs[spec.name]) for index, spec in enumerate(specs)}
        frame = pandas.DataFrame(columns)
        frame.columns = self._names
        pool = self._catboost.Pool(
            frame,
            cat_features=sorted(self._categories),
            text_features=sorted(self._texts),
            embedding_features=sorted(self._embeddings),
        )
        return self.outputs(self.predict(pool))

    def _column(self, index: int, values: np.ndarray) -> Any:
        if index in self._categories | self._texts:
            return [item.decode() for item in values.ravel()]
        return list(values) if index in self._embeddings else values.ravel()

    def _read(self) -> BoostedModel:
        if self.named_inputs():
            raise ConversionError(
                "the CatBoost model has features that are categories, texts or embeddings: CatBoost keeps hashes of "
                "them, which no operator of ONNX makes"
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            self._model.save_model(str(path), format="json")
            return read_catboost(path.read_bytes(), self._loss, self.labels, self._threshold)


def _loss(metadata: Mapping[str, str]) -> str:
    if "params" not in metadata:  # a sum of models has none
        return ""
    return str(json.loads(metadata["params"])["loss_function"]["type"])
