"""Outlier detectors without a family of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear import inliers
from converters.sklearn.ops.registry import remembers, translates
from converters.sklearn.ops.trees import Nodes, leaf_table, leaves


@translates("decision_function", "IsolationForest")
@remembers
def isolation_scores(g: Graph, est: Any, x: Value) -> Value:
    """-2^(-mean depth / expected depth) less the offset (Liu et al., 2008)."""
    trees = [
        Nodes.of(tree.tree_, features) for tree, features in zip(est.estimators_, est.estimators_features_, strict=True)
    ]
    held = [
        (np.asarray(depth) + np.asarray(average) - 1.0)[:, None]
        for depth, average in zip(est._decision_path_lengths, est._average_path_length_per_tree, strict=True)
    ]
    depth = g.constant(leaf_table(trees, held)).take(leaves(g, trees, x), axis=0).sum(1, keepdims=False)
    expected = len(trees) * _average_path(int(est._max_samples))
    scores = (depth * float(-np.log(2.0) / expected)).exp() if expected else depth * 0.0 + 0.5
    return -scores - float(est.offset_)


def _average_path(count: int) -> float:
    """Mean depth of an unsuccessful search in a binary tree of `count` rows."""
    if count <= 2:
        return float(max(count - 1, 0))
    return 2.0 * (float(np.log(count - 1.0)) + float(np.euler_gamma)) - 2.0 * (count - 1.0) / count


@translates("predict", "IsolationForest")
def _predict_isolated(g: Graph, est: Any, x: Value) -> Value:
    return inliers(g, isolation_scores(g, est, x))


@translates("decision_function", "EllipticEnvelope")
def envelope_scores(g: Graph, est: Any, x: Value) -> Value:
    """Minus the squared Mahalanobis distance, less the offset."""
    steps = x - floats(est.location_)
    return -((steps @ floats(est.precision_)) * steps).sum() - float(est.offset_)


@translates("predict", "EllipticEnvelope")
def _predict_envelope(g: Graph, est: Any, x: Value) -> Value:
    return inliers(g, envelope_scores(g, est, x))
