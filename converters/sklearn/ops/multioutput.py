"""Several targets, each by an estimator of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import call, translates
from converters.sklearn.ops.table import Table


@translates("predict", "MultiOutputClassifier", "MultiOutputRegressor", table=True)
def _predict_each(g: Graph, est: Any, table: Table) -> Value:
    return g.concat([call(g, each, "predict", table).reshape(-1, 1) for each in est.estimators_])


@translates("predict_proba", "MultiOutputClassifier", table=True)
def _each_probabilities(g: Graph, est: Any, table: Table) -> list[Value]:
    return [call(g, each, "predict_proba", table) for each in est.estimators_]


def _response(g: Graph, est: Any, method: str, table: Table) -> Value:
    """One column: a prediction, a score, or the probability of the last class."""
    answer = call(g, est, method, table)
    if method == "predict":
        column: Value = answer.reshape(-1, 1).double()
        return column
    last: Value = answer.column(1) if method == "predict_proba" else answer
    return last


def _chain(g: Graph, est: Any, method: str, x: Value) -> Value:
    """Every estimator sees the input and what those before it answered."""
    inner = getattr(est, "chain_method_", "predict")
    seen: list[Value] = []
    answers: list[Value] = []
    for each in est.estimators_:
        table = Table.of(g.concat([x, *seen]))
        seen.append(_response(g, each, inner, table))
        answers.append(seen[-1] if method == inner else _response(g, each, method, table))
    return g.concat(answers).take(np.argsort(np.asarray(est.order_)))


@translates("predict", "ClassifierChain", "RegressorChain")
def _predict_chain(g: Graph, est: Any, x: Value) -> Value:
    return _chain(g, est, "predict", x)


@translates("predict_proba", "ClassifierChain")
def _chain_probabilities(g: Graph, est: Any, x: Value) -> Value:
    return _chain(g, est, "predict_proba", x)
