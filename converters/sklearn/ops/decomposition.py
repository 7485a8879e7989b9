"""Decompositions and projections that are linear once fitted, partial least squares, and kernel PCA.

What solves an optimisation for every row (NMF, latent Dirichlet allocation, sparse codes by lasso) stays with
scikit-learn: the number of its steps depends on the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.distances import dense, kernel
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear_algebra import solve_positive
from converters.sklearn.ops.registry import NotTranslated, translates


def _project(x: Value, components: Any) -> Value:
    return x @ np.ascontiguousarray(dense(components).T)


@translates("transform", "PCA", "IncrementalPCA")
def _transform_pca(g: Graph, est: Any, x: Value) -> Value:
    scores = _project(x, est.components_) - floats(floats(est.mean_) @ dense(est.components_).T)
    if est.whiten:
        deviations = np.sqrt(floats(est.explained_variance_))
        scores = scores / np.maximum(deviations, np.finfo(est.explained_variance_.dtype).eps)
    return scores


@translates("transform", "TruncatedSVD", "GaussianRandomProjection", "SparseRandomProjection")
def _transform_projection(g: Graph, est: Any, x: Value) -> Value:
    return _project(x, est.components_)


@translates("transform", "FactorAnalysis")
def transform_factors(g: Graph, est: Any, x: Value) -> Value:
    """The posterior mean of the factors (Barber, 21.2)."""
    weights = est.components_ / est.noise_variance_
    covariance = np.linalg.inv(np.eye(len(est.components_)) + weights @ est.components_.T)
    return (x - floats(est.mean_)) @ floats(weights.T @ covariance)


@translates("transform", "FastICA")
def _transform_sources(g: Graph, est: Any, x: Value) -> Value:
    return _project(x - floats(est.mean_) if est.whiten else x, est.components_)


@translates("transform", "SparsePCA", "MiniBatchSparsePCA")
def transform_sparse_components(g: Graph, est: Any, x: Value) -> Value:
    """Ridge regression on the components, which has a closed form."""
    components = dense(est.components_)
    gram = components @ components.T + float(est.ridge_alpha) * np.eye(len(components))
    return (x - floats(est.mean_)) @ floats(np.linalg.solve(gram, components).T)


@translates("transform", "KernelPCA")
def _transform_kernel_components(g: Graph, est: Any, x: Value) -> Value:
    name = "precomputed" if est.kernel == "precomputed" else est.kernel
    parameters = {"gamma": est.gamma_, "degree": est.degree, "coef0": est.coef0}
    centred = centre_kernel(est._centerer, kernel(g, x, est.X_fit_, name, parameters))
    used = est.eigenvalues_ != 0
    scaled = np.zeros_like(est.eigenvectors_)
    scaled[:, used] = est.eigenvectors_[:, used] / np.sqrt(est.eigenvalues_[used])
    return centred @ floats(scaled)


def centre_kernel(centerer: Any, known: Value) -> Value:
    """known: float64[N, training rows]."""
    return (
        known
        - floats(centerer.K_fit_rows_)
        - known.sum() / float(len(centerer.K_fit_rows_))
        + float(centerer.K_fit_all_)
    )


@translates("transform", "KernelCenterer")
def _transform_centred(g: Graph, est: Any, x: Value) -> Value:
    return centre_kernel(est, x)


@translates("predict", "PLSRegression", "PLSCanonical", "CCA")
def _predict_least_squares(g: Graph, est: Any, x: Value) -> Value:
    return (x - floats(est._x_mean)) @ np.ascontiguousarray(est.coef_.T) + floats(est.intercept_)


@translates("transform", "PLSRegression", "PLSCanonical", "CCA")
def _transform_least_squares(g: Graph, est: Any, x: Value) -> Value:
    return ((x - floats(est._x_mean)) / floats(est._x_std)) @ floats(est.x_rotations_)


@translates("transform", "PLSSVD")
def _transform_least_squares_svd(g: Graph, est: Any, x: Value) -> Value:
    return ((x - floats(est._x_mean)) / floats(est._x_std)) @ floats(est.x_weights_)


@translates("transform", "DictionaryLearning", "MiniBatchDictionaryLearning")
def _transform_dictionary(g: Graph, est: Any, x: Value) -> Value:
    return sparse_code(g, est, x, est.components_)


@translates("transform", "SparseCoder")
def _transform_given_dictionary(g: Graph, est: Any, x: Value) -> Value:
    return sparse_code(g, est, x, est.dictionary)


def sparse_code(g: Graph, est: Any, x: Value, atoms: Any) -> Value:
    """Coefficients of the atoms by soft threshold or by orthogonal matching pursuit."""
    atoms = dense(atoms)
    alpha = getattr(est, "alpha", None) if est.transform_alpha is None else est.transform_alpha
    if est.transform_algorithm == "threshold":
        code = _soft_threshold(g, _project(x, atoms), 1.0 if alpha is None else float(alpha))
        code = g.maximum(code, 0.0) if est.positive_code else code
    elif est.transform_algorithm == "omp":
        count = est.transform_n_nonzero_coefs or min(max(atoms.shape[1] // 10, 1), len(atoms))
        code = matching_pursuit(g, x, atoms, int(count))
    else:
        raise NotTranslated(
            f"{type(est).__name__} with transform_algorithm={est.transform_algorithm!r} solves a lasso for every row; "
            "'omp' and 'threshold' convert"
        )
    if est.split_sign:
        code = g.concat([g.maximum(code, 0.0), g.maximum(-code, 0.0)])
    return code


def _soft_threshold(g: Graph, value: Value, by: float) -> Value:
    return value.apply("Sign") * g.maximum(value.abs() - by, 0.0)


def matching_pursuit(g: Graph, x: Value, atoms: np.ndarray, count: int) -> Value:
    """The best atom of what is left, `count` times, all coefficients solved anew each time (Pati et al., 1993).

    Where nothing is left the coefficients found so far stay.
    """
    gram = atoms @ atoms.T
    start = _project(x, atoms)
    left = start
    chosen: list[Value] = []
    solution: Any = None
    places: Any = None
    taken = start * 0.0
    for _ in range(count):
        # An atom already taken has nothing left but rounding.
        best = g.where(taken > 0.0, -1.0, left.abs()).argmax().reshape(-1, 1)
        taken = g.maximum(taken, best.equals(np.arange(len(atoms))[None]).double())
        chosen.append(best)
        places = g.concat(chosen)
        rows = g.constant(gram).take(places, axis=0)
        inner = g.op("GatherElements", rows, _across(g, places, len(chosen)), axis=2)
        right = g.op("GatherElements", start, places, axis=1)
        solution = solve_positive(g, inner, right, len(chosen))
        left = start - (solution.expand_dims(1) @ rows).squeeze(1)
    zeros = start * 0.0
    return g.op("ScatterElements", zeros, places, solution, axis=1)


def _across(g: Graph, places: Value, count: int) -> Value:
    """places [N, count] -> [N, count, count], the same in every row of the square."""
    return g.concat([places.expand_dims(1)] * count)


@translates("transform", "LatentDirichletAllocation", "MiniBatchNMF", "NMF")
def solved_for_each_batch(g: Graph, est: Any, x: Value) -> Value:
    """Refused: the steps of their solvers go on until the whole batch is near enough."""
    raise NotTranslated(
        f"{type(est).__name__} solves an optimisation for every batch, in as many steps as it takes; PCA, TruncatedSVD "
        "and FactorAnalysis have an ONNX form"
    )
