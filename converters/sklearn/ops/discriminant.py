"""Discriminant analyses; the classes of the linear one are in `linear.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import translates


def _log_likelihoods(g: Graph, est: Any, x: Value) -> Value:
    """-1/2 (|(x - floats(mean)) R S^-1/2|^2 + sum log S) + log prior for each class."""
    scores = []
    for rotation, scaling, mean, prior in zip(est.rotations_, est.scalings_, est.means_, est.priors_, strict=True):
        steps = (x - floats(mean)) @ (rotation * scaling ** (-0.5))
        scores.append(((steps * steps).sum() + float(np.sum(np.log(scaling)))) * -0.5 + float(np.log(prior)))
    return g.concat(scores)


@translates("decision_function", "QuadraticDiscriminantAnalysis")
def _quadratic_scores(g: Graph, est: Any, x: Value) -> Value:
    scores = _log_likelihoods(g, est, x)
    return scores.column(1) - scores.column(0) if len(est.classes_) == 2 else scores


@translates("predict", "QuadraticDiscriminantAnalysis")
def _predict_quadratic(g: Graph, est: Any, x: Value) -> Value:
    return g.labels(est.classes_, _log_likelihoods(g, est, x).argmax())


@translates("predict_proba", "QuadraticDiscriminantAnalysis")
def _quadratic_probabilities(g: Graph, est: Any, x: Value) -> Value:
    return g.softmax(_log_likelihoods(g, est, x))


@translates("transform", "LinearDiscriminantAnalysis")
def _transform_linear_discriminant(g: Graph, est: Any, x: Value) -> Value:
    if est.solver == "svd":
        x = x - floats(est.xbar_)
    return x @ np.ascontiguousarray(est.scalings_[:, : est._max_components])
