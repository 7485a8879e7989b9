"""What an estimator answers: the public outputs, in their order, and the method behind each.

One place for the three that must agree: the reference of the parity gate, the native runtime and the ONNX graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from model_store.errors import ConversionError


@dataclass(frozen=True)
class Output:
    """One public output of an estimator."""

    name: str
    method: str
    """The estimator's method that computes it."""
    part: int | None = None
    """Which array, where the method gives a list of them (one for each target)."""
    column: bool = False
    """Whether a plain vector becomes a matrix of one column."""

    @property
    def is_label(self) -> bool:
        """Whether it names classes or clusters: integers or text, to be equal and not only near."""
        return self.name == "label"

    def compute(self, estimator: Any, rows: Any) -> np.ndarray:
        """Answers for `rows`: INT64 or text for labels, floats otherwise; a sparse matrix is made dense."""
        values = getattr(estimator, self.method)(rows)
        if self.part is not None:
            values = values[self.part]
        dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        if self.is_label:
            dense = whole_numbers(dense)
        # By the rows that were asked about: scikit-learn 1.9's sparse PCA answers one row with a plain vector.
        return dense.reshape(len(rows), -1) if self.column else dense


def outputs(estimator: Any) -> list[Output]:
    """The outputs of a fitted estimator; raises `ConversionError` when it has none that a server could give."""
    from sklearn.base import is_classifier

    if is_classifier(estimator) and hasattr(estimator, "predict"):
        return [Output("label", "predict"), *_probabilities(estimator)]
    if hasattr(estimator, "predict") and hasattr(estimator, "predict_proba"):  # mixtures
        return [Output("label", "predict"), Output("probabilities", "predict_proba")]
    if _is_outlier_detector(estimator):
        return [Output("label", "predict", column=True), Output("scores", "decision_function", column=True)]
    if _is_clusterer(estimator) and hasattr(estimator, "predict"):
        scores = [Output("scores", "transform")] if hasattr(estimator, "transform") else []
        return [Output("label", "predict"), *scores]
    for method in ("predict", "transform"):
        if hasattr(estimator, method):
            return [Output("output", method, column=True)]
    raise ConversionError(f"{type(estimator).__name__} neither predicts nor transforms, so it can't be served")


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Class labels as INT64, also where scikit-learn keeps whole numbers as floats or booleans; text as it is."""
    if values.dtype.kind in "iub" or (values.dtype.kind == "f" and bool((values == np.floor(values)).all())):
        return values.astype(np.int64)
    return values


def _probabilities(estimator: Any) -> list[Output]:
    if not hasattr(estimator, "predict_proba") or _refuses_probabilities(estimator):
        return []
    if _answers_a_list(estimator):
        parts = range(len(estimator.classes_))
        return [Output(f"probabilities_{part}", "predict_proba", part) for part in parts]
    return [Output("probabilities", "predict_proba")]


def _refuses_probabilities(estimator: Any) -> bool:
    """Whether it has the method and raises: Gaussian processes for pairs of more than two classes do."""
    final = _final(estimator)
    return type(final).__name__ == "GaussianProcessClassifier" and (
        final.multi_class == "one_vs_one" and len(final.classes_) > 2
    )


def _final(estimator: Any) -> Any:
    """The estimator at the end of pipelines and searches."""
    while inner := getattr(estimator, "best_estimator_", None) or getattr(estimator, "_final_estimator", None):
        estimator = inner
    return estimator


def _answers_a_list(estimator: Any) -> bool:
    """Whether `predict_proba` gives one array for each target. A chain gives one matrix although its classes are
    lists too."""
    final = _final(estimator)
    return isinstance(getattr(final, "classes_", None), list) and not hasattr(final, "order_")


def _is_outlier_detector(estimator: Any) -> bool:
    from sklearn.base import is_outlier_detector

    return bool(is_outlier_detector(estimator)) and hasattr(estimator, "predict")


def _is_clusterer(estimator: Any) -> bool:
    from sklearn.base import is_clusterer

    return bool(is_clusterer(estimator))
