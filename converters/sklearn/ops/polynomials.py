"""Products of columns, and splines."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.scaling import keep


@translates("transform", "PolynomialFeatures")
def transform_polynomial(g: Graph, est: Any, x: Value) -> Value:
    """Each output is a product of at most `degree` columns; a column of ones fills up."""
    powers = np.asarray(est.powers_)
    degree = max(int(powers.sum(axis=1).max()), 1)
    ones = powers.shape[1]
    factors = np.full((len(powers), degree), ones)
    for row, power in enumerate(powers):
        chosen = np.repeat(np.arange(ones), power)
        factors[row, : len(chosen)] = chosen
    wide = g.concat([x, x.column(0) * 0.0 + 1.0])
    product = wide.take(factors[:, 0])
    for place in range(1, degree):
        product = product * wide.take(factors[:, place])
    return keep(x, product)


@translates("transform", "SplineTransformer")
def transform_splines(g: Graph, est: Any, x: Value) -> Value:
    """The B-splines of every column side by side."""
    if est.extrapolation == "error":
        raise NotTranslated("SplineTransformer with extrapolation='error' refuses some inputs")
    blocks = []
    for place, spline in enumerate(est.bsplines_):
        degree = int(est.degree)
        if est.extrapolation == "linear" and place > 0:
            # scikit-learn 1.9 raises a degree of 1 while it works on the first column, and keeps that for the others.
            degree = max(degree, 2)
        block = _splines(g, x.column(place), spline, est.extrapolation, degree)
        missing = x.column(place).is_nan()
        block = g.where(missing, 0.0, block) if getattr(est, "handle_missing", "error") == "zeros" else block
        width = spline.c.shape[1]
        blocks.append(block if est.include_bias else block.take(np.arange(width - 1)))
    return keep(x, g.concat(blocks))


def _splines(g: Graph, x: Value, spline: Any, extrapolation: str, degree: int) -> Value:
    knots, order = np.asarray(spline.t), int(spline.k)
    if extrapolation == "periodic":
        end = len(knots) - order - 1
        start, period = float(knots[order]), float(knots[end] - knots[order])
        turns = ((x - start) / period).apply("Floor")
        return _piecewise(g, x - turns * period, spline)
    if extrapolation == "continue":
        return _piecewise(g, x, spline)
    low, high = float(knots[degree]), float(knots[-degree - 1])
    inside = _piecewise(g, x.clip(low, high), spline)
    if extrapolation == "constant":
        return inside
    width = spline.c.shape[1]
    edge = max(degree, 2)
    first, last = np.arange(width) < edge, np.arange(width) >= width - edge
    below = (x - low) * np.where(first, spline(low, nu=1), 0.0)[None] + np.where(first, spline(low), 0.0)[None]
    above = (x - high) * np.where(last, spline(high, nu=1), 0.0)[None] + np.where(last, spline(high), 0.0)[None]
    return g.where(x < low, below, g.where(x > high, above, inside))


def _piecewise(g: Graph, x: Value, spline: Any) -> Value:
    """All splines of a column at x, float64[N, splines], by the polynomial of the interval that x lies in."""
    from scipy.interpolate import PPoly  # type: ignore[import-untyped]

    order = int(spline.k)
    knots = floats(spline.t)
    inner = slice(order, len(knots) - order - 1)
    columns = [PPoly.from_spline((knots, column, order)).c for column in floats(spline.c).T]
    coefficients = np.stack(columns, axis=2)[:, inner]
    starts = knots[inner]
    place = (x >= starts[None]).cast(np.int64).sum() - 1
    place = g.maximum(place, 0).reshape(-1)
    offset = x - g.constant(starts).take(place, axis=0).reshape(-1, 1)
    value: Any = None
    for power in coefficients:
        term = g.constant(power).take(place, axis=0)
        value = term if value is None else value * offset + term
    result: Value = value
    return result
