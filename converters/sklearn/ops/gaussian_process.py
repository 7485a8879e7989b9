"""Gaussian processes: the kernels' algebra, the mean of the regressor, Laplace's approximation for classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converters.sklearn.ops.distances import dense, distance, dot, kernel, squared_euclidean
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, call, translates

# Williams and Barber (1998): the logistic sigmoid as a sum of error functions; scikit-learn's own figures.
LAMBDAS = np.array([0.41, 0.4, 0.37, 0.44, 0.39])
COEFS = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])

SERIES = 140
"""Terms of the error function's series: enough at 6."""

CrossKernel = Callable[[Graph, Any, Value, np.ndarray], Value]


def _constant(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    return x.column(0) * 0.0 + np.full((1, len(points)), float(kernel_.constant_value))


def _white(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    """Noise is on the diagonal of a set with itself only."""
    return x.column(0) * 0.0 + np.zeros((1, len(points)))


def _rbf(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    scale = floats(kernel_.length_scale)
    return (squared_euclidean(g, x / scale, points / scale) * -0.5).exp()


def _matern(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    scale = floats(kernel_.length_scale)
    if kernel_.nu == np.inf:
        return _rbf(g, kernel_, x, points)
    factor = {0.5: 1.0, 1.5: 3.0, 2.5: 5.0}.get(float(kernel_.nu))
    if factor is None:
        raise NotTranslated(f"Matern with nu={kernel_.nu} needs Bessel functions; 0.5, 1.5, 2.5 and inf do not")
    apart = squared_euclidean(g, x / scale, points / scale).sqrt() * float(np.sqrt(factor))
    decay = (-apart).exp()
    if factor == 1.0:
        return decay
    if factor == 3.0:
        return (apart + 1.0) * decay
    return (apart + 1.0 + apart * apart / 3.0) * decay


def _rational(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    alpha = float(kernel_.alpha)
    squares = squared_euclidean(g, x, points)
    return (squares / (2 * alpha * float(kernel_.length_scale) ** 2) + 1.0) ** -alpha


def _periodic(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    apart = distance(g, x, points, "euclidean") * float(np.pi / kernel_.periodicity)
    wave = apart.apply("Sin") / float(kernel_.length_scale)
    return (wave * wave * -2.0).exp()


def _dot_product(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    return dot(x, points) + float(kernel_.sigma_0) ** 2


def _pairwise(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    parameters = {"gamma": kernel_.gamma, "degree": 3, **(kernel_.pairwise_kernels_kwargs or {})}
    return kernel(g, x, points, kernel_.metric, parameters)


def _sum(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    return cross(g, kernel_.k1, x, points) + cross(g, kernel_.k2, x, points)


def _product(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    return cross(g, kernel_.k1, x, points) * cross(g, kernel_.k2, x, points)


def _power(g: Graph, kernel_: Any, x: Value, points: np.ndarray) -> Value:
    return cross(g, kernel_.kernel, x, points) ** float(kernel_.exponent)


KERNELS: dict[str, CrossKernel] = {
    "ConstantKernel": _constant,
    "DotProduct": _dot_product,
    "ExpSineSquared": _periodic,
    "Exponentiation": _power,
    "Matern": _matern,
    "PairwiseKernel": _pairwise,
    "Product": _product,
    "RBF": _rbf,
    "RationalQuadratic": _rational,
    "Sum": _sum,
    "WhiteKernel": _white,
}


def cross(g: Graph, kernel_: Any, x: Value, points: Any) -> Value:
    """`kernel_(x, points)`, float64[N, points]."""
    name = type(kernel_).__name__
    if name not in KERNELS:
        raise NotTranslated(f"the kernel {name}")
    return KERNELS[name](g, kernel_, x, dense(points))


def _own(g: Graph, kernel_: Any, x: Value) -> Value:
    """`kernel_.diag(x)`, float64[N, 1]."""
    name = type(kernel_).__name__
    if name == "Sum":
        return _own(g, kernel_.k1, x) + _own(g, kernel_.k2, x)
    if name == "Product":
        return _own(g, kernel_.k1, x) * _own(g, kernel_.k2, x)
    if name == "Exponentiation":
        return _own(g, kernel_.kernel, x) ** float(kernel_.exponent)
    if name == "DotProduct":
        return (x * x).sum() + float(kernel_.sigma_0) ** 2
    if name == "PairwiseKernel":
        raise NotTranslated("probabilities of a Gaussian process with PairwiseKernel")
    level = {"ConstantKernel": "constant_value", "WhiteKernel": "noise_level"}.get(name)
    return x.column(0) * 0.0 + float(getattr(kernel_, level) if level else 1.0)


@translates("predict", "GaussianProcessRegressor")
def _predict_process(g: Graph, est: Any, x: Value) -> Value:
    if not hasattr(est, "X_train_"):
        raise NotTranslated("a Gaussian process that was never fitted")
    alpha = floats(est.alpha_).reshape(len(est.alpha_), -1)
    mean = cross(g, est.kernel_, x, est.X_train_) @ alpha
    return mean * np.ravel(est._y_train_std).astype(np.float64) + np.ravel(est._y_train_mean).astype(np.float64)


def _latent_mean(g: Graph, est: Any, known: Value) -> Value:
    return known @ floats(est.y_train_ - est.pi_)[:, None]


@translates("predict", "_BinaryGaussianProcessClassifierLaplace")
def _predict_binary_process(g: Graph, est: Any, x: Value) -> Value:
    mean = _latent_mean(g, est, cross(g, est.kernel_, x, est.X_train_))
    return g.labels(est.classes_, (mean > 0.0).reshape(-1).cast(np.int64))


@translates("predict_proba", "_BinaryGaussianProcessClassifierLaplace")
def binary_process_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """Rasmussen and Williams (2006), algorithm 3.2, with the integral as Williams and Barber approximate it."""
    known = cross(g, est.kernel_, x, est.X_train_)
    mean = _latent_mean(g, est, known)
    solver = np.linalg.solve(est.L_, np.diag(est.W_sr_))
    explained = known @ np.ascontiguousarray(solver.T)
    variance = _own(g, est.kernel_, x) - (explained * explained).sum()
    alpha = 0.5 / variance
    argument = mean * LAMBDAS[None] * (alpha / (alpha + LAMBDAS[None] ** 2)).sqrt()
    # sqrt(pi / alpha) / (2 sqrt(2 pi variance)) is one half.
    terms = error_function(g, argument) * 0.5
    positive = (terms * COEFS[None]).sum() + float(0.5 * COEFS.sum())
    return g.concat([1.0 - positive, positive])


def error_function(g: Graph, x: Value) -> Value:
    """erf in float64, which ONNX Runtime 1.31 has for float32 only: a sum of terms as large as 3,500 needs its digits.

    2/sqrt(pi) x exp(-x^2) sum (2 x^2)^n / (2n+1)!!, all terms positive (Abramowitz and Stegun, 7.1.6); from 6 on it
    is 1. x: float64[N, columns].
    """
    size = g.minimum(x.abs(), 6.0)
    square = size * size
    steps = 2.0 / (2.0 * np.arange(1, SERIES) + 1.0)
    coefficients = np.concatenate([[1.0], np.cumprod(steps)])
    powers = square.expand_dims(2) ** np.arange(SERIES, dtype=np.float64)
    total = (powers @ coefficients[:, None]).squeeze(2)
    return size * (-square).exp() * total * float(2.0 / np.sqrt(np.pi)) * x.apply("Sign")


@translates("predict", "GaussianProcessClassifier")
def _predict_process_class(g: Graph, est: Any, x: Value) -> Value:
    result: Value = call(g, est.base_estimator_, "predict", x)
    return result


@translates("predict_proba", "GaussianProcessClassifier")
def _process_probabilities(g: Graph, est: Any, x: Value) -> Value:
    if est.n_classes_ > 2 and est.multi_class == "one_vs_one":
        raise NotTranslated("scikit-learn gives no probabilities for one_vs_one Gaussian processes")
    result: Value = call(g, est.base_estimator_, "predict_proba", x)
    return result
