"""Clusters: the nearest centre, and the distances to all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.distances import nearest_point, squared_euclidean
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, translates

CENTRES = ("KMeans", "MiniBatchKMeans", "MeanShift", "AffinityPropagation")


@translates("predict", *CENTRES)
def _predict_centre(g: Graph, est: Any, x: Value) -> Value:
    centres = floats(est.cluster_centers_)
    if not len(centres):
        return g.repeat(np.array([-1]), x).reshape(-1)
    return nearest_point(g, x, centres)


@translates("transform", "KMeans", "MiniBatchKMeans", "BisectingKMeans")
def _transform_centres(g: Graph, est: Any, x: Value) -> Value:
    return squared_euclidean(g, x, floats(est.cluster_centers_)).sqrt()


@translates("predict", "BisectingKMeans")
def predict_bisected(g: Graph, est: Any, x: Value) -> Value:
    """Down the tree of halves: at each node to the nearer of its two centres."""
    middle = floats(getattr(est, "_X_mean", 0.0))

    def descend(node: Any) -> Value:
        if node.left is None:
            return g.repeat(np.array([int(node.label)]), x)
        pair = np.vstack([node.left.center, node.right.center]) + middle
        left = nearest_point(g, x, pair).reshape(-1, 1).equals(0)
        return g.where(left, descend(node.left), descend(node.right))

    return descend(est._bisecting_tree).reshape(-1)


@translates("predict", "Birch")
def _predict_birch(g: Graph, est: Any, x: Value) -> Value:
    nearest = nearest_point(g, x, est.subcluster_centers_)
    return g.constant(np.asarray(est.subcluster_labels_, np.int64)).take(nearest, axis=0)


@translates("transform", "Birch")
def _transform_birch(g: Graph, est: Any, x: Value) -> Value:
    return squared_euclidean(g, x, floats(est.subcluster_centers_)).sqrt()


@translates("transform", "FeatureAgglomeration")
def transform_agglomerated(g: Graph, est: Any, x: Value) -> Value:
    """Columns of one cluster pooled."""
    labels = np.asarray(est.labels_)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if est.pooling_func is np.mean:
        matrix = np.zeros((len(labels), len(groups)))
        for place, members in enumerate(groups):
            matrix[members, place] = 1.0 / len(members)
        return x @ matrix
    pools = {np.max: "max", np.min: "min", np.sum: "sum"}
    if est.pooling_func not in pools:
        raise NotTranslated("FeatureAgglomeration with a pooling_func other than numpy's mean, max, min and sum")
    return g.concat([getattr(x.take(members), pools[est.pooling_func])() for members in groups])
