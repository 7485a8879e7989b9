"""Feature maps whose dot products approximate kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.distances import kernel
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import translates


@translates("transform", "RBFSampler")
def transform_fourier(g: Graph, est: Any, x: Value) -> Value:
    """sqrt(2 / D) cos(x w + b) (Rahimi and Recht, 2007)."""
    waves = (x @ floats(est.random_weights_) + floats(est.random_offset_)).apply("Cos")
    return waves * float(np.sqrt(2.0 / est.n_components))


@translates("transform", "SkewedChi2Sampler")
def _transform_skewed(g: Graph, est: Any, x: Value) -> Value:
    logs = (x + float(est.skewedness)).log()
    waves = (logs @ floats(est.random_weights_) + floats(est.random_offset_)).apply("Cos")
    return waves * float(np.sqrt(2.0) / np.sqrt(est.n_components))


@translates("transform", "AdditiveChi2Sampler")
def transform_additive(g: Graph, est: Any, x: Value) -> Value:
    """Vedaldi and Zisserman (2012); zeros stay zero."""
    interval = est.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[est.sample_steps]
    zero = x.equals(0.0)
    safe = g.where(zero, 1.0, x)
    parts = [(x * float(interval)).sqrt()]
    logs = safe.log() * float(interval)
    for step in range(1, est.sample_steps):
        factor = (safe * float(2 * interval / np.cosh(np.pi * step * interval))).sqrt()
        for wave in ("Cos", "Sin"):
            parts.append(g.where(zero, 0.0, factor * (logs * float(step)).apply(wave)))
    return g.concat(parts)


@translates("transform", "Nystroem")
def _transform_nystroem(g: Graph, est: Any, x: Value) -> Value:
    parameters = {"gamma": est.gamma, "degree": est.degree, "coef0": est.coef0, **(est.kernel_params or {})}
    parameters["degree"] = 3 if parameters["degree"] is None else parameters["degree"]
    return kernel(g, x, est.components_, est.kernel, parameters) @ np.ascontiguousarray(est.normalization_.T)


@translates("transform", "PolynomialCountSketch")
def transform_sketch(g: Graph, est: Any, x: Value) -> Value:
    """Count sketches, multiplied in the frequency domain (Pham and Pagh, 2013); the transforms are matrices."""
    scaled = x * float(np.sqrt(est.gamma))
    if est.coef0 != 0:
        scaled = g.concat([scaled, x.column(0) * 0.0 + float(np.sqrt(est.coef0))])
    size = int(est.n_components)
    angles = 2.0 * np.pi * np.outer(np.arange(size), np.arange(size)) / size
    real: Any = None
    imaginary: Any = None
    for places, signs in zip(est.indexHash_, est.bitHash_, strict=True):
        hashed = np.zeros((len(places), size))
        hashed[np.arange(len(places)), places] = signs
        cosine, sine = scaled @ (hashed @ np.cos(angles)), scaled @ (hashed @ -np.sin(angles))
        if real is None:
            real, imaginary = cosine, sine
        else:
            real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    result: Value = (real @ np.cos(angles) - imaginary @ np.sin(angles)) / float(size)
    return result
