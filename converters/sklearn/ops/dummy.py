"""Estimators that do not look at their input."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import TEXT, Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.table import Table


def _shares(est: Any) -> list[np.ndarray]:
    """The constant probabilities of each output."""
    counts = np.atleast_1d(est.n_classes_)
    priors = [est.class_prior_] if est.n_outputs_ == 1 else est.class_prior_
    classes = [est.classes_] if est.n_outputs_ == 1 else est.classes_
    constants = [None] * len(counts) if est.constant is None else np.ravel(est.constant).tolist()
    strategy = est._strategy
    parts = []
    for count, prior, known, constant in zip(counts, priors, classes, constants, strict=True):
        if strategy == "prior":
            parts.append(floats(prior))
        elif strategy == "most_frequent":
            parts.append(np.eye(count)[np.argmax(prior)])
        elif strategy == "constant":
            parts.append((np.asarray(known) == constant).astype(np.float64))
        else:
            raise NotTranslated(f"DummyClassifier with strategy={strategy!r} answers at random")
    return parts


def _rows(table: Table) -> Value:
    return table.blocks[0]


@translates("predict_proba", "DummyClassifier", table=True)
def _constant_probabilities(g: Graph, est: Any, table: Table) -> Any:
    parts = [g.repeat(share, _rows(table)) for share in _shares(est)]
    return parts[0] if est.n_outputs_ == 1 else parts


@translates("predict", "DummyClassifier", table=True)
def _predict_constant_class(g: Graph, est: Any, table: Table) -> Value:
    classes = [est.classes_] if est.n_outputs_ == 1 else est.classes_
    named = [known[np.argmax(share)] for known, share in zip(classes, _shares(est), strict=True)]
    row = np.array(named)
    row = row.astype(np.int64) if row.dtype.kind in "iubf" else row.astype(TEXT)
    value = g.repeat(row, _rows(table))
    return value.reshape(-1) if est.n_outputs_ == 1 else value


@translates("predict", "DummyRegressor", table=True)
def _predict_constant_number(g: Graph, est: Any, table: Table) -> Value:
    return g.repeat(np.ravel(floats(est.constant_)), _rows(table))


@translates("predict", "_ConstantPredictor", table=True)
def _predict_only_class(g: Graph, est: Any, table: Table) -> Value:
    return g.repeat(np.asarray(est.y_).astype(np.int64).ravel(), _rows(table)).reshape(-1)


@translates("decision_function", "_ConstantPredictor", table=True)
def _only_class_scores(g: Graph, est: Any, table: Table) -> Value:
    return g.repeat(np.asarray(est.y_).astype(np.float64).ravel(), _rows(table))


@translates("predict_proba", "_ConstantPredictor", table=True)
def _only_class_probabilities(g: Graph, est: Any, table: Table) -> Value:
    value = float(np.ravel(est.y_)[0])
    return g.repeat(np.array([1.0 - value, value]), _rows(table))
