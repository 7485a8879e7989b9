"""Piecewise linear functions, as `numpy.interp`."""

from __future__ import annotations

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats


def interpolate(g: Graph, x: Value, xs: np.ndarray, ys: np.ndarray) -> Value:
    """The value at `x`, float64[N, 1], of the line through (xs, ys), xs ascending; held outside, NaN stays NaN.

    Of equal `xs` the last counts at that very place and the first left of it, as numpy has it.
    """
    if len(xs) == 1:
        return x * 0.0 + float(ys[0])
    place = _last_not_above(g, x, xs)
    last = len(xs) - 1
    widths = np.diff(xs)
    slopes = np.divide(np.diff(ys), widths, out=np.zeros(last), where=widths > 0)
    inner = g.minimum(g.maximum(place, 0), last - 1)
    start, base, slope = (g.constant(each).take(inner, axis=0) for each in (xs[:-1], ys[:-1], slopes))
    line = (x - start) * slope + base
    line = g.where(place < 0, float(ys[0]), line)
    line = g.where(place >= last, float(ys[-1]), line)
    return g.where(x.is_nan(), float("nan"), line)


def _last_not_above(g: Graph, x: Value, xs: np.ndarray) -> Value:
    """Index of the last of `xs` that is not above x, -1 below all: int64[N, 1]."""
    return (x >= floats(xs)[None]).cast(np.int64).sum() - 1
