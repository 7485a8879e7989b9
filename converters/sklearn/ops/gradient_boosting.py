"""Gradient boosting: `GradientBoosting*` and `HistGradientBoosting*`."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear import binary_labels, two_columns, unlinked
from converters.sklearn.ops.registry import call, remembers, translates
from converters.sklearn.ops.table import Table
from converters.sklearn.ops.trees import Nodes, leaf_table, leaves, tree_values

BITS = 32
CATEGORIES = 256
"""A bitset of HistGradientBoosting holds the categories 0 to 255."""


@translates("decision_function", "GradientBoostingClassifier")
@remembers
def gradient_scores(g: Graph, est: Any, x: Value) -> Value:
    """The first guess plus the learning rate times every tree, float64[N, K], one column for two classes."""
    stages, columns = est.estimators_.shape
    values = tree_values(g, list(est.estimators_.ravel()), x) * float(est.learning_rate)
    # Trees lie stage by stage, one for each column.
    return _first_guess(g, est, x) + values.reshape(0, stages, columns).sum(axis=1, keepdims=False)


def _first_guess(g: Graph, est: Any, x: Value) -> Value | np.ndarray:
    if isinstance(est.init_, str):
        return np.zeros((1, est.n_trees_per_iteration_))
    x = x.rounded()
    if not hasattr(est, "classes_"):
        guess: Value = call(g, est.init_, "predict", x)
        return guess
    shares = call(g, est.init_, "predict_proba", x)
    eps = float(np.finfo(np.float64).eps)
    shares = (shares if est._loss.is_multiclass else shares.column(1)).clip(eps, 1 - eps)
    return _link(g, est._loss, shares)


def _link(g: Graph, loss: Any, shares: Value) -> Value:
    name = type(loss.link).__name__
    if name == "MultinomialLogit":
        logs = shares.log()
        return logs - logs.mean()
    odds = (shares / (1.0 - shares)).log()
    return odds * 0.5 if name == "HalfLogitLink" else odds


@translates("predict", "GradientBoostingRegressor")
def _predict_gradient_number(g: Graph, est: Any, x: Value) -> Value:
    return gradient_scores(g, est, x)


@translates("predict", "GradientBoostingClassifier")
def _predict_gradient_class(g: Graph, est: Any, x: Value) -> Value:
    return _label(g, est, gradient_scores(g, est, x))


@translates("predict_proba", "GradientBoostingClassifier")
def _gradient_probabilities(g: Graph, est: Any, x: Value) -> Value:
    return _probabilities(g, est, gradient_scores(g, est, x))


def _label(g: Graph, est: Any, scores: Value) -> Value:
    if len(est.classes_) == 2:
        return binary_labels(g, est.classes_, scores >= 0.0)
    return g.labels(est.classes_, scores.argmax())


def _probabilities(g: Graph, est: Any, scores: Value) -> Value:
    if est._loss.is_multiclass:
        return g.softmax(scores)
    factor = 2.0 if type(est._loss).__name__ == "ExponentialLoss" else 1.0
    return two_columns(g, g.sigmoid(scores * factor))


@translates("decision_function", "HistGradientBoostingClassifier", table=True)
@remembers
def histogram_scores(g: Graph, est: Any, table: Table) -> Value:
    """Baseline plus every tree, float64[N, K]. Values are compared as float64."""
    if getattr(est, "_preprocessor", None) is not None:
        from converters.sklearn.ops.compose import as_table

        table = as_table(call(g, est._preprocessor, "transform", table))
    x = table.matrix()
    columns = est.n_trees_per_iteration_
    predictors = [tree for stage in est._predictors for tree in stage]
    if not predictors:
        return g.repeat(est._baseline_prediction.ravel(), x)
    known = est._bin_mapper.make_known_categories_bitsets()
    sets = _CategorySets(known)
    trees = [_nodes(predictor, sets, int(x_columns(est))) for predictor in predictors]
    x = sets.append_to(g, x)
    held = [predictor.nodes["value"][:, None] for predictor in predictors]
    values = g.constant(leaf_table(trees, held)).take(leaves(g, trees, x, exact=True), axis=0)
    total = values.reshape(0, -1, columns).sum(axis=1, keepdims=False)
    return total + floats(est._baseline_prediction).reshape(1, -1)


def x_columns(est: Any) -> int:
    """Columns that the trees see."""
    return int(est.n_features_in_)


class _CategorySets:
    """Columns that say on which side of a categorical split a row lies: 0 left, 1 right.

    ONNX compares with numbers only, so every such split asks for a column of its own.
    """

    def __init__(self, known: tuple[np.ndarray, np.ndarray]) -> None:
        self.known, self.places = known
        self.columns: list[tuple[int, np.ndarray]] = []

    def add(self, feature: int, bitset: np.ndarray, missing_left: bool) -> int:
        """Position of the new column behind the others."""
        aside = 0.0 if missing_left else 1.0
        members = _unpack(bitset)
        seen = _unpack(self.known[self.places[feature]])
        side = np.where(members, 0.0, np.where(seen, 1.0, aside))
        self.columns.append((feature, np.append(side, aside)))
        return len(self.columns) - 1

    def append_to(self, g: Graph, x: Value) -> Value:
        parts = [x]
        for feature, sides in self.columns:
            value = x.column(feature)
            inside = (value >= 0.0).both(value < float(CATEGORIES))
            place = g.where(inside, value, float(CATEGORIES)).cast(np.int64)
            parts.append(g.constant(sides).take(place, axis=0))
        return g.concat(parts)


def _unpack(bitset: np.ndarray) -> np.ndarray:
    values = np.arange(CATEGORIES)
    found: np.ndarray = (bitset[values // BITS] >> (values % BITS).astype(np.uint32)) & 1
    return found.astype(bool)


def _nodes(predictor: Any, sets: _CategorySets, columns: int) -> Nodes:
    nodes = predictor.nodes
    feature = nodes["feature_idx"].astype(np.int64).copy()
    threshold = nodes["num_threshold"].astype(np.float64).copy()
    is_leaf = nodes["is_leaf"].astype(bool)
    for index in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf):
        bitset = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][index]]
        feature[index] = columns + sets.add(int(feature[index]), bitset, bool(nodes["missing_go_to_left"][index]))
        threshold[index] = 0.5
    return Nodes(
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        feature,
        threshold,
        nodes["missing_go_to_left"].astype(bool),
        is_leaf,
    )


@translates("predict", "HistGradientBoostingRegressor", table=True)
def _predict_histogram_number(g: Graph, est: Any, table: Table) -> Value:
    return unlinked(est, est._loss, histogram_scores(g, est, table))


@translates("predict", "HistGradientBoostingClassifier", table=True)
def _predict_histogram_class(g: Graph, est: Any, table: Table) -> Value:
    return _label(g, est, histogram_scores(g, est, table))


@translates("predict_proba", "HistGradientBoostingClassifier", table=True)
def _histogram_probabilities(g: Graph, est: Any, table: Table) -> Value:
    return _probabilities(g, est, histogram_scores(g, est, table))
