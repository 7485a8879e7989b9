"""Where the trees of a model decide, told in the columns that the model gets: also behind scalers, imputers and
ColumnTransformers, and for boosting libraries' trees. What single estimators tell is `estimators.py`'s."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.base import Range
from converters.sklearn import estimators
from converters.sklearn.boosters import boosted_model, library_of
from converters.sklearn.estimators import steps
from converters.sklearn.ops.table import column_indices
from converters.thresholds import probe_range, probe_rows
from model_store.errors import ConversionError


def input_range(estimator: Any) -> Range | None:
    """Where the estimator in front saw its numbers, a boosting library's included."""
    if groups := _boosted_thresholds((steps(estimator) or [None])[0]):
        return probe_range(groups)
    return estimators.input_range(estimator)


def probes(estimator: Any, dtype: Any) -> np.ndarray | None:
    """Rows at the thresholds of the trees in front, a boosting library's included."""
    if groups := _boosted_thresholds((steps(estimator) or [None])[0]):
        return probe_rows(groups, np.float32, missing=False).astype(dtype)
    return estimators.probes(estimator, dtype)


def behind_transformers(estimator: Any, columns: int) -> np.ndarray | None:
    """Rows that end at the thresholds of the trees behind invertible transformers, such as scalers."""
    *before, last = steps(estimator)
    rows = probes(last, np.float64)
    if rows is None or not before:
        return None
    for step in reversed(before):
        if rows is not None:
            rows = _inverted(step, rows, getattr(step, "n_features_in_", -1))
    return rows if rows is not None and rows.shape[1] == columns else None


def behind_columns(estimator: Any) -> dict[int, tuple[Range, np.ndarray]]:
    """For columns that a ColumnTransformer in front hands on invertibly: where the trees behind it ask for them."""
    first, *rest = steps(estimator) or [None]
    if len(rest) != 1 or not hasattr(first, "transformers_"):
        return {}
    rows = probes(rest[0], np.float64)
    if rows is None:
        return {}
    found: dict[int, tuple[Range, np.ndarray]] = {}
    for (name, inner, _), columns in zip(first.transformers_, _columns_of_each(first), strict=True):
        places = first.output_indices_.get(name, slice(0))
        values = _inverted(inner, rows[:, places], len(columns))
        for place, column in enumerate(columns if values is not None else ()):
            known = np.asarray(values)[:, place]
            margin = float(np.ptp(known)) * 0.1 + 0.01
            found[column] = (float(known.min()) - margin, float(known.max()) + margin), known
    return found


def _boosted_thresholds(estimator: Any) -> list[np.ndarray]:
    if library_of(estimator) is None:
        return []
    try:
        return boosted_model(estimator).thresholds()
    except ConversionError:
        return []


def _inverted(transformer: Any, rows: np.ndarray, columns: int) -> np.ndarray | None:
    """What a transformer makes `rows` of; None where that can't be told."""
    try:
        for step in [] if isinstance(transformer, str) else reversed(steps(transformer)):
            kept = type(step).__name__ == "SimpleImputer" or getattr(step, "func", step) is None
            rows = rows if kept else np.asarray(step.inverse_transform(rows))
        fits = rows.shape[1] == columns and rows.dtype.kind == "f" and bool(np.isfinite(rows).all())
    except Exception:  # not invertible, or drops columns: the random rows have to do
        return None
    return rows if fits else None


def _columns_of_each(transformer: Any) -> list[tuple[int, ...]]:
    """The columns of each of a ColumnTransformer's transformers."""
    names = [str(name) for name in getattr(transformer, "feature_names_in_", ())]
    return [
        tuple(column_indices(chosen, names, transformer.n_features_in_)) for _, _, chosen in transformer.transformers_
    ]
