"""Transformers by quantiles: to a uniform or normal distribution, and into bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.interpolation import interpolate
from converters.sklearn.ops.registry import translates
from converters.sklearn.ops.scaling import keep

BOUND = 1e-7
"""scikit-learn takes values this near to the outermost quantiles for these."""

# Wichura's algorithm AS 241 (1988), PPND16: numerators and denominators from the constant term on.
CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
TAIL = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
FAR_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def normal_quantile(g: Graph, share: Value) -> Value:
    """The standard normal distribution's quantile, to about 1e-16 relative; 0 and 1 give infinities."""
    from_half = share - 0.5
    inner = _ratio(from_half * from_half * -1.0 + 0.180625, CENTRE) * from_half
    rest = g.minimum(share, 1.0 - share)
    depth = (-g.maximum(rest, 1e-300).log()).sqrt()
    outer = g.where(depth <= 5.0, _ratio(depth - 1.6, TAIL), _ratio(depth - 5.0, FAR_TAIL)) * from_half.apply("Sign")
    value = g.where(from_half.abs() <= 0.425, inner, outer)
    value = g.where(share <= 0.0, float("-inf"), value)
    return g.where(share >= 1.0, float("inf"), value)


def _ratio(x: Value, polynomials: tuple[tuple[float, ...], tuple[float, ...]]) -> Value:
    """The quotient of two polynomials of one degree, float64[N, columns]."""
    powers = x.expand_dims(2) ** np.arange(len(polynomials[0]), dtype=np.float64)
    both = powers @ np.array(polynomials).T
    return (both.take([0], axis=2) / both.take([1], axis=2)).squeeze(2)


@translates("transform", "QuantileTransformer")
def _transform_quantiles(g: Graph, est: Any, x: Value) -> Value:
    columns = [
        _share_below(g, est, x.column(place).as_narrow(x.narrow), floats(est.quantiles_[:, place]))
        for place in range(est.quantiles_.shape[1])
    ]
    share = g.concat(columns)
    if est.output_distribution == "uniform":
        return keep(x, share)
    from scipy.stats import norm  # type: ignore[import-untyped]

    limits = (norm.ppf(BOUND - np.spacing(1)), norm.ppf(1 - (BOUND - np.spacing(1))))
    return keep(x, normal_quantile(g, share).clip(*map(float, limits)))


def _share_below(g: Graph, est: Any, x: Value, quantiles: np.ndarray) -> Value:
    """The mean of both ways to interpolate, which differ where quantiles repeat: float64[N, 1]."""
    references = floats(est.references_)
    upward = interpolate(g, x, quantiles, references)
    downward = interpolate(g, -x, -quantiles[::-1], -references[::-1])
    share = keep(x, (upward - downward) * 0.5)
    low, high = float(quantiles[0]), float(quantiles[-1])
    if est.output_distribution == "normal":
        at_low, at_high = keep(x, x - BOUND) < low, keep(x, x + BOUND) > high
    else:
        at_low, at_high = x.equals(low), x.equals(high)
    return g.where(at_low, 0.0, g.where(at_high, 1.0, share))


@translates("transform", "KBinsDiscretizer")
def transform_bins(g: Graph, est: Any, x: Value) -> Value:
    """The number of inner edges that are not above the value, as it is or one column a bin."""
    blocks = []
    for place, edges in enumerate(est.bin_edges_):
        column = x.column(place)
        inner = floats(edges[1:-1])
        index = (column >= inner[None]).double().sum() if len(inner) else column * 0.0
        if est.encode != "ordinal":
            known = floats(est._encoder.categories_[place])
            index = index.equals(known[None]).double()
        blocks.append(index)
    return g.concat(blocks)
