"""Nearest neighbours, neighbours within a radius, and what is made of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.sklearn.ops.distances import (
    dense,
    distance,
    is_euclidean,
    kernel,
    nearest_point,
    reduced_distance,
)
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, translates


def nearest(g: Graph, est: Any, x: Value, count: int) -> tuple[Value, Value]:
    """Distances and indices of the nearest training rows, float64 and int64 [N, count], the nearest first.

    Euclid's distance is taken again from the differences once the neighbours are known: the quick way by squares is
    off by 1e-8 at a training point, where weights by distance ask for zero.
    """
    metric, parameters = est.effective_metric_, dict(est.effective_metric_params_ or {})
    points = _training_rows(est)
    apart = distance(g, x, points, metric, parameters)
    found, index = g.ops("TopK", apart, np.array([count]), dtypes=[None, np.int64], axis=1, largest=0, sorted=1)
    if is_euclidean(metric, parameters) and metric != "precomputed":
        steps = x.expand_dims(1) - g.constant(points).take(index, axis=0)
        found = reduced_distance(g, steps, metric, parameters)
    return found, index


def _training_rows(est: Any) -> np.ndarray:
    return dense(est._fit_X)


def neighbour_weights(g: Graph, weights: Any, distances: Value) -> Value | None:
    """None for equal ones; 1 / distance, where neighbours at distance 0 leave the others none."""
    if weights in (None, "uniform"):
        return None
    if weights != "distance":
        raise NotTranslated("weights that are a Python function")
    zero = distances.equals(0.0)
    any_zero = zero.double().max(1) > 0.0
    return g.where(any_zero, zero.double(), 1.0 / g.where(zero, 1.0, distances))


def _targets(est: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """(classes, encoded labels of the training rows) of each output."""
    if est.outputs_2d_:
        return [(classes, est._y[:, place]) for place, classes in enumerate(est.classes_)]
    return [(est.classes_, np.ravel(est._y))]


def _shares(g: Graph, est: Any, x: Value) -> list[Value]:
    """Weighted votes of the neighbours for each class of each output."""
    apart, index = nearest(g, est, x, est.n_neighbors)
    weights = neighbour_weights(g, est.weights, apart)
    shares = []
    for classes, labels in _targets(est):
        votes = g.constant(np.eye(len(classes))[labels.astype(int)]).take(index, axis=0)
        if weights is not None:
            votes = votes * weights.expand_dims(2)
        shares.append(votes.sum(1, keepdims=False))
    return shares


def _labels(g: Graph, classes: Sequence[np.ndarray], shares: Sequence[Value]) -> Value:
    columns = [g.labels(known, share.argmax()) for known, share in zip(classes, shares, strict=True)]
    return columns[0] if len(columns) == 1 else g.concat([column.reshape(-1, 1) for column in columns])


@translates("predict", "KNeighborsClassifier")
def _predict_neighbour_class(g: Graph, est: Any, x: Value) -> Value:
    return _labels(g, [classes for classes, _ in _targets(est)], _shares(g, est, x))


@translates("predict_proba", "KNeighborsClassifier")
def _neighbour_probabilities(g: Graph, est: Any, x: Value) -> Any:
    parts = [share / share.sum() for share in _shares(g, est, x)]
    return parts if est.outputs_2d_ else parts[0]


@translates("predict", "KNeighborsRegressor")
def _predict_neighbour_number(g: Graph, est: Any, x: Value) -> Value:
    apart, index = nearest(g, est, x, est.n_neighbors)
    targets = floats(est._y).reshape(len(est._y), -1)
    values = g.constant(targets).take(index, axis=0)
    weights = neighbour_weights(g, est.weights, apart)
    if weights is None:
        return values.mean(1, keepdims=False)
    return (values * weights.expand_dims(2)).sum(1, keepdims=False) / weights.sum()


def within(g: Graph, est: Any, x: Value) -> tuple[Value, Value]:
    """Distances to all training rows, and whether each lies within the radius: float64 and bool [N, rows]."""
    metric, parameters = est.effective_metric_, dict(est.effective_metric_params_ or {})
    apart = distance(g, x, _training_rows(est), metric, parameters)
    return apart, apart <= float(est.radius)


def _radius_weights(g: Graph, est: Any, x: Value) -> Value:
    apart, inside = within(g, est, x)
    if est.weights in (None, "uniform"):
        return inside.double()
    zero = inside.both(apart <= 1e-12)
    if est.weights != "distance":
        raise NotTranslated("weights that are a Python function")
    inverse = g.where(inside, 1.0 / g.where(zero, 1.0, g.maximum(apart, 1e-300)), 0.0)
    return g.where(zero.double().max(1) > 0.0, zero.double(), inverse)


def _radius_shares(g: Graph, est: Any, x: Value) -> list[Value]:
    """Probabilities; rows without neighbours get the outlier label's class, or zeros where it is none of them."""
    weights = _radius_weights(g, est, x)
    if est.outlier_label_ is None:
        raise NotTranslated("RadiusNeighborsClassifier without outlier_label refuses rows without neighbours")
    alone = weights.sum().equals(0.0)
    parts = []
    for place, (classes, labels) in enumerate(_targets(est)):
        votes = weights @ np.eye(len(classes))[labels.astype(int)]
        outlier = (classes == est.outlier_label_[place]).astype(np.float64)[None]
        total = votes.sum()
        parts.append(g.where(alone, outlier, votes / g.where(alone, 1.0, total)))
    return parts


@translates("predict_proba", "RadiusNeighborsClassifier")
def _radius_probabilities(g: Graph, est: Any, x: Value) -> Any:
    parts = _radius_shares(g, est, x)
    return parts if est.outputs_2d_ else parts[0]


@translates("predict", "RadiusNeighborsClassifier")
def _predict_radius_class(g: Graph, est: Any, x: Value) -> Value:
    columns = []
    for place, ((classes, _), share) in enumerate(zip(_targets(est), _radius_shares(g, est, x), strict=True)):
        index = g.where(share.sum().equals(0.0).reshape(-1), np.int64(len(classes)), share.argmax())
        columns.append(g.labels(np.append(classes, est.outlier_label_[place]), index))
    return columns[0] if len(columns) == 1 else g.concat([column.reshape(-1, 1) for column in columns])


@translates("predict", "RadiusNeighborsRegressor")
def predict_radius_number(g: Graph, est: Any, x: Value) -> Value:
    """The (weighted) mean within the radius; NaN for a row without neighbours."""
    weights = _radius_weights(g, est, x)
    targets = floats(est._y).reshape(len(est._y), -1)
    total = weights.sum()
    alone = total.equals(0.0)
    return g.where(alone, float("nan"), (weights @ targets) / g.where(alone, 1.0, total))


@translates("transform", "KNeighborsTransformer")
def transform_neighbours(g: Graph, est: Any, x: Value) -> Value:
    """Distances (or ones) at the places of the neighbours, zeros elsewhere; one neighbour more for distances."""
    far = est.mode == "distance"
    apart, index = nearest(g, est, x, est.n_neighbors + far)
    places = x.sum() * 0.0 + np.zeros((1, est.n_samples_fit_))
    values = apart if far else apart * 0.0 + 1.0
    return g.op("ScatterElements", places, index, values, axis=1)


@translates("transform", "RadiusNeighborsTransformer")
def _transform_radius(g: Graph, est: Any, x: Value) -> Value:
    apart, inside = within(g, est, x)
    return g.where(inside, apart, 0.0) if est.mode == "distance" else inside.double()


@translates("transform", "NeighborhoodComponentsAnalysis")
def _transform_components(g: Graph, est: Any, x: Value) -> Value:
    return x @ np.ascontiguousarray(est.components_.T)


@translates("decision_function", "LocalOutlierFactor")
def outlier_factor(g: Graph, est: Any, x: Value) -> Value:
    """Minus the mean ratio of the neighbours' reachability density to the row's own (Breunig et al., 2000)."""
    apart, index = nearest(g, est, x, est.n_neighbors_)
    reach = g.constant(np.asarray(est._distances_fit_X_)[:, est.n_neighbors_ - 1]).take(index, axis=0)
    density = 1.0 / (g.maximum(apart, reach).mean(1) + 1e-10)
    ratios = g.constant(np.asarray(est._lrd)).take(index, axis=0) / density
    return -ratios.mean(1) - float(est.offset_)


@translates("predict", "LocalOutlierFactor")
def _predict_outlier_factor(g: Graph, est: Any, x: Value) -> Value:
    return g.where(outlier_factor(g, est, x) < 0.0, np.int64(-1), np.int64(1))


@translates("predict_proba", "LabelPropagation", "LabelSpreading")
def propagated_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """Label distributions of the training rows, weighted by the kernel or summed over the neighbours."""
    known = floats(est.label_distributions_)
    if est.kernel == "rbf":
        shares = kernel(g, x, est.X_, "rbf", {"gamma": est.gamma}) @ known
    elif est.kernel == "knn":
        _, index = nearest(g, est.nn_fit, x, est.nn_fit.n_neighbors)
        shares = g.constant(known).take(index, axis=0).sum(1, keepdims=False)
    else:
        raise NotTranslated("a kernel that is a Python function")
    return shares / shares.sum()


@translates("predict", "LabelPropagation", "LabelSpreading")
def _predict_propagated(g: Graph, est: Any, x: Value) -> Value:
    return g.labels(est.classes_, propagated_probabilities(g, est, x).argmax())


@translates("decision_function", "NearestCentroid")
def centroid_scores(g: Graph, est: Any, x: Value) -> Value:
    """Minus the squared distance in units of the deviation within classes, plus twice the log prior."""
    spread = np.where(est.within_class_std_dev_ != 0, est.within_class_std_dev_, 1.0)
    apart = distance(g, x / spread, est.centroids_ / spread, est.metric)
    return -(apart * apart) + floats(2.0 * np.log(est.class_prior_))


@translates("predict_proba", "NearestCentroid")
def _centroid_probabilities(g: Graph, est: Any, x: Value) -> Value:
    return g.softmax(centroid_scores(g, est, x))


@translates("predict", "NearestCentroid")
def _predict_centroid(g: Graph, est: Any, x: Value) -> Value:
    if np.isclose(est.class_prior_, 1 / len(est.classes_)).all():
        euclidean = is_euclidean(est.metric, {})
        apart = None if euclidean else distance(g, x, est.centroids_, est.metric)
        return g.labels(est.classes_, nearest_point(g, x, est.centroids_) if apart is None else apart.argmin())
    return g.labels(est.classes_, centroid_scores(g, est, x).argmax())
