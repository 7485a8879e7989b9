"""Distances and kernels between the rows of the input and fixed points: float64[N, points]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated

LARGEST_CUBE = 1 << 22
"""Points times columns that are compared one by one for each row: beyond it a batch would take gigabytes."""


def dense(points: Any) -> np.ndarray:
    """Points of a model as float64[points, columns]; scikit-learn keeps what came sparse sparse."""
    return floats(points.toarray() if hasattr(points, "toarray") else points)


def dot(x: Value, points: np.ndarray) -> Value:
    """Products of every row with every point."""
    return x @ np.ascontiguousarray(points.T)


def squared_euclidean(g: Graph, x: Value, points: np.ndarray) -> Value:
    """|x|^2 - 2 x.p + |p|^2, both moved to the points' middle first, which keeps digits when all lie far from zero."""
    middle = points.mean(axis=0)
    x, points = x - middle, points - middle
    squares = (x * x).sum() - 2.0 * dot(x, points) + floats((points**2).sum(axis=1))
    return g.maximum(squares, 0.0)


def nearest_point(g: Graph, x: Value, points: Any) -> Value:
    """Index of the point nearest by Euclid, int64[N]; summed as scikit-learn does, so that equal distances fall to
    the same point."""
    points = dense(points)
    scores: Value = floats((points**2).sum(axis=1)) - 2.0 * dot(x, points)
    return scores.argmin()


def differences(g: Graph, x: Value, points: np.ndarray) -> Value:
    """x - p for every pair, float64[N, points, columns]."""
    if points.size > LARGEST_CUBE:
        raise NotTranslated(f"a distance other than Euclid's to {len(points)} points of {points.shape[1]} columns")
    return x.expand_dims(1) - points[None]


def reduced_distance(g: Graph, differences_: Value, metric: str, parameters: Mapping[str, Any]) -> Value:
    """Over the last axis of differences, [..., columns] -> [...]: the distance itself."""
    weights = parameters.get("w")
    if metric == "minkowski":
        metric = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}.get(parameters.get("p", 2), metric)
        if weights is not None:
            metric = "minkowski"
    apart = differences_.abs()
    if metric == "euclidean":
        return (apart * apart).sum(2, keepdims=False).sqrt()
    if metric == "sqeuclidean":
        return (apart * apart).sum(2, keepdims=False)
    if metric in ("manhattan", "cityblock", "l1"):
        return apart.sum(2, keepdims=False)
    if metric in ("chebyshev", "infinity"):
        return apart.max(2, keepdims=False)
    if metric == "seuclidean":
        return (apart * apart / floats(parameters["V"])).sum(2, keepdims=False).sqrt()
    if metric == "minkowski":
        power = float(parameters.get("p", 2))
        terms = apart**power
        if weights is not None:
            terms = terms * floats(weights)
        return terms.sum(2, keepdims=False) ** (1.0 / power)
    if metric in ("l2",):
        return (apart * apart).sum(2, keepdims=False).sqrt()
    raise NotTranslated(f"the distance {metric!r}")


def is_euclidean(metric: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether it is Euclid's distance under any of its names, or its square."""
    if metric == "minkowski":
        return bool(parameters.get("p", 2) == 2 and parameters.get("w") is None)
    return metric in ("euclidean", "l2", "sqeuclidean")


def distance(g: Graph, x: Value, points: Any, metric: Any, parameters: Mapping[str, Any] | None = None) -> Value:
    """The named distance of scikit-learn; Euclid's by way of squares, which rounds near zero."""
    parameters = parameters or {}
    if callable(metric):
        raise NotTranslated("a distance that is a Python function")
    if metric == "precomputed":
        return x
    points = dense(points)
    if metric == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        own = (x * x).sum().sqrt()
        own = g.where(own.equals(0.0), 1.0, own)
        return g.maximum(1.0 - dot(x / own, points / np.where(lengths == 0, 1.0, lengths)), 0.0)
    if is_euclidean(metric, parameters):
        squares = squared_euclidean(g, x, points)
        return squares if metric == "sqeuclidean" else squares.sqrt()
    return reduced_distance(g, differences(g, x, points), metric, parameters)


def kernel(g: Graph, x: Value, points: Any, name: Any, parameters: Mapping[str, Any]) -> Value:
    """`pairwise_kernels(x, points, metric=name, **parameters)`."""
    if callable(name):
        raise NotTranslated("a kernel that is a Python function")
    if name == "precomputed":
        return x
    points = dense(points)
    given = parameters.get("gamma")
    gamma = float((1.0 if name == "chi2" else 1.0 / points.shape[1]) if given is None else given)
    if name == "linear":
        return dot(x, points)
    if name == "rbf":
        return (squared_euclidean(g, x, points) * -gamma).exp()
    if name in ("poly", "polynomial"):
        coef0 = parameters.get("coef0")
        return (dot(x, points) * gamma + float(1 if coef0 is None else coef0)) ** float(parameters["degree"])
    if name == "sigmoid":
        coef0 = parameters.get("coef0")
        return (dot(x, points) * gamma + float(1 if coef0 is None else coef0)).apply("Tanh")
    if name == "laplacian":
        return (distance(g, x, points, "manhattan") * -gamma).exp()
    if name == "cosine":
        return 1.0 - distance(g, x, points, "cosine")
    if name in ("chi2", "additive_chi2"):
        apart = differences(g, x, points)
        total = x.expand_dims(1) + points[None]
        terms = g.where(total.equals(0.0), 0.0, apart * apart / g.where(total.equals(0.0), 1.0, total))
        additive = -terms.sum(2, keepdims=False)
        return additive if name == "additive_chi2" else (additive * gamma).exp()
    raise NotTranslated(f"the kernel {name!r}")
