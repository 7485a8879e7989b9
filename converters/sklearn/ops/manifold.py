"""Manifold embeddings of new rows, by way of their neighbours among the training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.distances import dense
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear_algebra import solve_positive
from converters.sklearn.ops.neighbors import nearest, within
from converters.sklearn.ops.registry import call, translates


@translates("transform", "Isomap")
def transform_isomap(g: Graph, est: Any, x: Value) -> Value:
    """Geodesic distance: the shortest way over a neighbour; then kernel PCA of minus half its square."""
    known = floats(est.dist_matrix_)
    if est.n_neighbors is not None:
        apart, index = nearest(g, est.nbrs_, x, est.nbrs_.n_neighbors)
        ways = g.constant(known).take(index, axis=0) + apart.expand_dims(2)
    else:
        apart, inside = within(g, est.nbrs_, x)
        far = g.where(inside, apart, float("inf"))
        ways = far.expand_dims(2) + known[None]
    geodesic = ways.min(1, keepdims=False)
    result: Value = call(g, est.kernel_pca_, "transform", geodesic * geodesic * -0.5)
    return result


@translates("transform", "LocallyLinearEmbedding")
def transform_locally_linear(g: Graph, est: Any, x: Value) -> Value:
    """The neighbours' embeddings, weighted as they make up the row (Roweis and Saul, 2000)."""
    count = int(est.n_neighbors)
    _, index = nearest(g, est.nbrs_, x, count)
    steps = g.constant(dense(est.nbrs_._fit_X)).take(index, axis=0) - x.expand_dims(1)
    gram = steps @ steps.transpose(0, 2, 1)
    trace = (gram * np.eye(count)[None]).sum(2).sum(1)
    ridge = g.where(trace > 0.0, trace * float(est.reg), float(est.reg))
    ones = (x.column(0) * 0.0) + np.ones((1, count))
    weights = solve_positive(g, gram + ridge * np.eye(count)[None], ones, count)
    weights = weights / weights.sum()
    embedded = g.constant(floats(est.embedding_)).take(index, axis=0)
    return (weights.expand_dims(1) @ embedded).squeeze(1)
