"""Gaussian mixtures: weighted log probabilities of the components."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import translates

MIXTURES = ("GaussianMixture", "BayesianGaussianMixture")


def _log_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """float64[N, components], the components' weights included."""
    means = floats(est.means_)
    squares = []
    for place, mean in enumerate(means):
        steps = (x - mean) @ _root_of_precision(est, place, means.shape[1])
        squares.append((steps * steps).sum())
    apart = g.concat(squares)
    # At the means themselves all distances are zero, so what scikit-learn adds to them is left.
    own = est._estimate_log_prob(means)
    offsets = floats(np.diag(own) + est._estimate_log_weights())
    return apart * -0.5 + offsets


def _root_of_precision(est: Any, place: int, columns: int) -> np.ndarray:
    roots = floats(est.precisions_cholesky_)
    if est.covariance_type == "full":
        return np.ascontiguousarray(roots[place])
    if est.covariance_type == "tied":
        return roots
    if est.covariance_type == "diag":
        return floats(np.diag(roots[place]))
    return floats(np.eye(columns) * roots[place])


@translates("predict", *MIXTURES)
def _predict_component(g: Graph, est: Any, x: Value) -> Value:
    return _log_probabilities(g, est, x).argmax()


@translates("predict_proba", *MIXTURES)
def _component_probabilities(g: Graph, est: Any, x: Value) -> Value:
    scores = _log_probabilities(g, est, x)
    return (scores - g.log_sum_exp(scores)).exp()
