"""Many classes from binary estimators."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.distances import nearest_point
from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.linear import binary_labels
from converters.sklearn.ops.registry import call, has_method, translates
from converters.sklearn.ops.svm import one_versus_rest
from converters.sklearn.ops.table import Table


def binary_score(g: Graph, est: Any, table: Table) -> Value:
    """A regressor's prediction, a decision function, or the second probability: float64[N, 1]."""
    from sklearn.base import is_regressor

    if is_regressor(est):
        score: Value = call(g, est, "predict", table)
        return score.reshape(-1, 1).double()
    if has_method(est, "decision_function"):
        decision: Value = call(g, est, "decision_function", table)
        return decision
    shares: Value = call(g, est, "predict_proba", table)
    return shares.column(1)


def _threshold(est: Any) -> float:
    from sklearn.base import is_classifier

    return 0.0 if has_method(est, "decision_function") and is_classifier(est) else 0.5


@translates("decision_function", "OneVsRestClassifier", table=True)
def _rest_scores(g: Graph, est: Any, table: Table) -> Value:
    return g.concat([binary_score(g, each, table) for each in est.estimators_])


@translates("predict", "OneVsRestClassifier", table=True)
def predict_rest(g: Graph, est: Any, table: Table) -> Value:
    """The class of the largest score; several labels at once, or one of two, by a threshold."""
    scores = _rest_scores(g, est, table)
    if est.label_binarizer_.y_type_ == "multiclass":
        return g.labels(est.classes_, scores.argmax())
    chosen = scores > _threshold(est.estimators_[0])
    if est.multilabel_:
        return chosen.cast(np.int64)
    return binary_labels(g, est.classes_, chosen)


@translates("predict_proba", "OneVsRestClassifier", table=True)
def _rest_probabilities(g: Graph, est: Any, table: Table) -> Value:
    shares = g.concat([call(g, each, "predict_proba", table).column(1) for each in est.estimators_])
    if len(est.estimators_) == 1:
        shares = g.concat([1.0 - shares, shares])
    if est.multilabel_:
        return shares
    total = shares.sum()
    return shares / g.where(total.equals(0.0), 1.0, total)


@translates("decision_function", "OneVsOneClassifier")
def _pair_votes(g: Graph, est: Any, x: Value) -> Value:
    indices = est.pairwise_indices_
    inputs = [Table.of(x if indices is None else x.take(indices[place])) for place in range(len(est.estimators_))]
    wins = [
        call(g, each, "predict", part).reshape(-1, 1).double()
        for each, part in zip(est.estimators_, inputs, strict=True)
    ]
    scores = [binary_score(g, each, part) for each, part in zip(est.estimators_, inputs, strict=True)]
    votes = one_versus_rest(g, g.concat(wins), g.concat(scores), len(est.classes_))
    return votes.column(1) if est.n_classes_ == 2 else votes


@translates("predict", "OneVsOneClassifier")
def _predict_pairs(g: Graph, est: Any, x: Value) -> Value:
    votes = _pair_votes(g, est, x)
    if est.n_classes_ == 2:
        return binary_labels(g, est.classes_, votes > _threshold(est.estimators_[0]))
    return g.labels(est.classes_, votes.argmax())


@translates("predict", "OutputCodeClassifier", table=True)
def predict_code(g: Graph, est: Any, table: Table) -> Value:
    """The class whose code is nearest to the scores."""
    scores = g.concat([binary_score(g, each, table) for each in est.estimators_])
    return g.labels(est.classes_, nearest_point(g, scores, est.code_book_))
