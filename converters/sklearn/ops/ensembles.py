"""Ensembles of any estimators: bagging, boosting by weights, voting, stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.sklearn.ops.encoders import category_index
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear import binary_labels
from converters.sklearn.ops.registry import NotTranslated, call, has_method, remembers, translates
from converters.sklearn.ops.table import Table
from converters.sklearn.ops.trees import TREES_OF_CLASSES, TREES_OF_NUMBERS, tree_values


def spread(g: Graph, shares: Value, places: np.ndarray, count: int) -> Value:
    """Columns put to their places among `count`, zeros elsewhere."""
    if list(places) == list(range(count)):
        return shares
    matrix = np.zeros((len(places), count))
    matrix[np.arange(len(places)), places] = 1.0
    return shares @ matrix


def one_hot(g: Graph, index: Value, count: int) -> Value:
    """int64[N] -> float64[N, count]."""
    return index.reshape(-1, 1).equals(np.arange(count, dtype=np.int64)[None]).double()


@translates("predict_proba", "BaggingClassifier")
@remembers
def bagging_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """Mean of the members' probabilities; a member without them votes."""
    count = int(est.n_classes_)
    members = est.estimators_
    if all(type(each).__name__ in TREES_OF_CLASSES and each.n_classes_ == count for each in members):
        values = tree_values(g, members, x, est.estimators_features_)
        return values.sum(axis=1, keepdims=False) / float(est.n_estimators)
    total: Any = None
    for member, features in zip(members, est.estimators_features_, strict=True):
        part = _member_shares(g, member, _columns_of(x, features, est), count)
        total = part if total is None else total + part
    result: Value = total / float(est.n_estimators)
    return result


def _member_shares(g: Graph, member: Any, x: Value, count: int) -> Value:
    if has_method(member, "predict_proba"):
        return spread(g, call(g, member, "predict_proba", x), np.asarray(member.classes_, int), count)
    return one_hot(g, call(g, member, "predict", x), count)


def _columns_of(x: Value, features: Sequence[int], est: Any) -> Value:
    """The columns that a member was trained on; the same value where those are all."""
    if list(features) == list(range(est.n_features_in_)):
        return x
    return x.take(list(features)).as_narrow(x.narrow)


@translates("predict", "BaggingClassifier")
def _predict_bagging_class(g: Graph, est: Any, x: Value) -> Value:
    return g.labels(est.classes_, bagging_probabilities(g, est, x).argmax())


@translates("predict", "BaggingRegressor")
def _predict_bagging_number(g: Graph, est: Any, x: Value) -> Value:
    members = est.estimators_
    if all(type(each).__name__ in TREES_OF_NUMBERS for each in members):
        return tree_values(g, members, x, est.estimators_features_).sum(axis=1, keepdims=False) / float(
            est.n_estimators
        )
    total: Any = None
    for member, features in zip(members, est.estimators_features_, strict=True):
        part = call(g, member, "predict", _columns_of(x, features, est))
        total = part if total is None else total + part
    result: Value = total / float(est.n_estimators)
    return result


@translates("decision_function", "AdaBoostClassifier")
@remembers
def adaboost_scores(g: Graph, est: Any, x: Value) -> Value:
    """SAMME (Zhu et al., 2009): a member's weight for the class it names, -weight / (K - 1) for the others."""
    count = int(est.n_classes_)
    members = est.estimators_
    weights = floats(est.estimator_weights_[: len(members)])[None, :, None]
    named = _named_classes(g, est, x).expand_dims(2).equals(np.arange(count)[None, None])
    scores = g.where(named, weights, weights * (-1 / (count - 1))).sum(1, keepdims=False)
    scores = scores / float(est.estimator_weights_.sum())
    return scores.column(1) - scores.column(0) if count == 2 else scores


def _named_classes(g: Graph, est: Any, x: Value) -> Value:
    """Which class each member names, int64[N, members]."""
    members = est.estimators_
    count = int(est.n_classes_)
    if all(type(each).__name__ in TREES_OF_CLASSES and each.n_classes_ == count for each in members):
        return tree_values(g, members, x).argmax(2)
    answers = [call(g, member, "predict", x).reshape(-1, 1) for member in members]
    return g.concat([category_index(g, answer, est.classes_) for answer in answers])


@translates("predict", "AdaBoostClassifier")
def _predict_adaboost_class(g: Graph, est: Any, x: Value) -> Value:
    scores = adaboost_scores(g, est, x)
    if len(est.classes_) == 2:
        return binary_labels(g, est.classes_, scores > 0.0)
    return g.labels(est.classes_, scores.argmax())


@translates("predict_proba", "AdaBoostClassifier")
def _adaboost_probabilities(g: Graph, est: Any, x: Value) -> Value:
    scores = adaboost_scores(g, est, x)
    if len(est.classes_) == 2:
        return g.softmax(g.concat([-scores, scores]) / 2.0)
    return g.softmax(scores / float(est.n_classes_ - 1))


@translates("predict", "AdaBoostRegressor")
def predict_adaboost_number(g: Graph, est: Any, x: Value) -> Value:
    """The weighted median of the members' predictions (Drucker, 1997)."""
    if all(type(each).__name__ in TREES_OF_NUMBERS for each in est.estimators_):
        values = tree_values(g, est.estimators_, x).squeeze(2)
    else:
        values = g.concat([call(g, member, "predict", x).reshape(-1, 1) for member in est.estimators_])
    count = len(est.estimators_)
    ordered, order = g.ops("TopK", values, np.array([count]), dtypes=[None, np.int64], axis=1, largest=0, sorted=1)
    weights = g.constant(floats(est.estimator_weights_[:count])).take(order, axis=0)
    reached = g.op("CumSum", weights, np.array(1))
    enough = (reached >= reached.column(count - 1) * 0.5).cast(np.int32)
    return g.op("GatherElements", ordered, enough.argmax().reshape(-1, 1), axis=1)


def _votes(g: Graph, est: Any, table: Table) -> list[Value]:
    """Each member's prediction: an encoded class or a number, [N, 1]."""
    return [call(g, member, "predict", table).reshape(-1, 1) for member in est.estimators_]


def _average(g: Graph, values: Sequence[Value], weights: Any) -> Value:
    weights = np.ones(len(values)) if weights is None else floats(weights)
    total: Any = None
    for value, weight in zip(values, weights, strict=True):
        part = value * float(weight)
        total = part if total is None else total + part
    result: Value = total / float(weights.sum())
    return result


@translates("predict_proba", "VotingClassifier", table=True)
@remembers
def _voting_probabilities(g: Graph, est: Any, table: Table) -> Value:
    return _average(g, [call(g, each, "predict_proba", table) for each in est.estimators_], est._weights_not_none)


@translates("predict", "VotingClassifier", table=True)
def predict_voting_class(g: Graph, est: Any, table: Table) -> Value:
    """Soft: the largest mean probability. Hard: the class of most (weighted) votes, the first of equal ones."""
    if est.voting == "soft":
        return g.labels(est.classes_, _voting_probabilities(g, est, table).argmax())
    count = len(est.classes_)
    ballots = [one_hot(g, vote, count) for vote in _votes(g, est, table)]
    weights = est._weights_not_none or [1.0] * len(ballots)
    total: Any = ballots[0] * float(weights[0])
    for ballot, weight in zip(ballots[1:], weights[1:], strict=True):
        total = total + ballot * float(weight)
    return g.labels(est.classes_, total.argmax())


@translates("transform", "VotingClassifier", table=True)
def _transform_voting_class(g: Graph, est: Any, table: Table) -> Value:
    if est.voting == "hard":
        return g.concat(_votes(g, est, table)).double()
    if not est.flatten_transform:
        raise NotTranslated("VotingClassifier with flatten_transform=False gives its rows in the second dimension")
    return g.concat([call(g, each, "predict_proba", table) for each in est.estimators_])


@translates("predict", "VotingRegressor", table=True)
def _predict_voting_number(g: Graph, est: Any, table: Table) -> Value:
    return _average(g, _votes(g, est, table), est._weights_not_none)


@translates("transform", "VotingRegressor", table=True)
def _transform_voting_number(g: Graph, est: Any, table: Table) -> Value:
    return g.concat(_votes(g, est, table))


@translates("transform", "StackingClassifier", "StackingRegressor", table=True)
@remembers
def stacked(g: Graph, est: Any, table: Table) -> Value:
    """The members' answers side by side; of two probabilities only the second; then the input itself if asked."""
    parts: list[Value] = []
    for member, method in zip(est.estimators_, est.stack_method_, strict=True):
        answer = call(g, member, method, table)
        if isinstance(answer, list):
            parts.extend(each.take(range(1, len(known))) for each, known in zip(answer, member.classes_, strict=True))
        elif method == "predict_proba" and len(est.classes_) == 2:
            parts.append(answer.column(1))
        else:
            parts.append(answer.reshape(0, -1).double() if method == "predict" else answer)
    if est.passthrough:
        parts.append(table.matrix())
    return g.concat(parts)


@translates("predict_proba", "StackingClassifier", table=True)
def _stacking_probabilities(g: Graph, est: Any, table: Table) -> Value:
    answer = call(g, est.final_estimator_, "predict_proba", stacked(g, est, table))
    if isinstance(est._label_encoder, list):
        return g.concat([each.column(0) for each in answer])
    result: Value = answer
    return result


@translates("decision_function", "StackingClassifier", table=True)
def _stacking_scores(g: Graph, est: Any, table: Table) -> Value:
    result: Value = call(g, est.final_estimator_, "decision_function", stacked(g, est, table))
    return result


@translates("predict", "StackingClassifier", table=True)
def predict_stacking_class(g: Graph, est: Any, table: Table) -> Value:
    """The final estimator knows the classes by number."""
    index = call(g, est.final_estimator_, "predict", stacked(g, est, table))
    if not isinstance(est._label_encoder, list):
        return g.labels(est.classes_, index)
    columns = [
        g.labels(known, index.column(place).reshape(-1)).reshape(-1, 1) for place, known in enumerate(est.classes_)
    ]
    return g.concat(columns)


@translates("predict", "StackingRegressor", table=True)
def _predict_stacking_number(g: Graph, est: Any, table: Table) -> Value:
    result: Value = call(g, est.final_estimator_, "predict", stacked(g, est, table))
    return result
