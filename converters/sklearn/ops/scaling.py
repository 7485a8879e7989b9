"""Scalers, normalisers and other functions of single columns that keep their input's type."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, translates


def keep(x: Value, result: Value) -> Value:
    """Rounded to float32 where scikit-learn's result is float32, because its input was."""
    return result.rounded() if x.narrow else result


def _of_type(x: Value, parameter: Any) -> np.ndarray:
    """StandardScaler alone rounds its own numbers to its input's type first (scikit-learn 1.9)."""
    known = floats(parameter)
    return known.astype(np.float32).astype(np.float64) if x.narrow else known


@translates("transform", "StandardScaler")
def _transform_standard(g: Graph, est: Any, x: Value) -> Value:
    value = x
    if est.with_mean:
        value = keep(x, value - _of_type(x, est.mean_))
    if est.scale_ is not None:
        value = keep(x, value / _of_type(x, est.scale_))
    return value.as_narrow(x.narrow)


@translates("transform", "MinMaxScaler")
def _transform_min_max(g: Graph, est: Any, x: Value) -> Value:
    value = keep(x, keep(x, x * floats(est.scale_)) + floats(est.min_))
    return value.clip(*map(float, est.feature_range)).as_narrow(x.narrow) if est.clip else value


@translates("transform", "MaxAbsScaler")
def _transform_max_abs(g: Graph, est: Any, x: Value) -> Value:
    value = keep(x, x / floats(est.scale_))
    return value.clip(-1.0, 1.0).as_narrow(x.narrow) if getattr(est, "clip", False) else value


@translates("transform", "RobustScaler")
def _transform_robust(g: Graph, est: Any, x: Value) -> Value:
    value = x
    if est.with_centering:
        value = keep(x, value - floats(est.center_))
    if est.with_scaling:
        value = keep(x, value / floats(est.scale_))
    return value.as_narrow(x.narrow)


def normalise(g: Graph, x: Value, norm: str) -> Value:
    """Rows divided by their norm; rows of zeros stay."""
    if norm == "l1":
        length = x.abs().sum()
    elif norm == "l2":
        length = (x * x).sum().sqrt()
    else:
        length = x.abs().max()
    return x / g.where(length.equals(0.0), 1.0, length)


@translates("transform", "Normalizer")
def _transform_normal(g: Graph, est: Any, x: Value) -> Value:
    return keep(x, normalise(g, x, est.norm))


@translates("transform", "Binarizer")
def _transform_binary(g: Graph, est: Any, x: Value) -> Value:
    return (x > float(est.threshold)).double()


@translates("transform", "PowerTransformer")
def transform_power(g: Graph, est: Any, x: Value) -> Value:
    """Yeo and Johnson (2000) or Box and Cox (1964), then standardised."""
    power = _box_cox if est.method == "box-cox" else _yeo_johnson
    columns = [power(g, x.column(place), float(lam)) for place, lam in enumerate(est.lambdas_)]
    value = keep(x, g.concat(columns))
    return _transform_standard(g, est._scaler, value) if est.standardize else value


def _box_cox(g: Graph, x: Value, lam: float) -> Value:
    if np.isnan(lam):
        return x
    return x.log() if abs(lam) < 1e-19 else (x**lam - 1.0) / lam


def _yeo_johnson(g: Graph, x: Value, lam: float) -> Value:
    if np.isnan(lam):
        return x
    tiny = float(np.spacing(1.0))
    positive = x >= 0.0
    up = (g.where(positive, x, 0.0) + 1.0).log()
    down = (1.0 - g.where(positive, 0.0, x)).log()
    above = up if abs(lam) < tiny else ((up * lam).exp() - 1.0) / lam
    below = -down if abs(lam - 2) <= tiny else ((down * (2 - lam)).exp() - 1.0) / (lam - 2)
    return g.where(x.is_nan(), float("nan"), g.where(positive, above, below))


def inverse_transform(g: Graph, est: Any, x: Value) -> Value:
    """`est.inverse_transform(x)` of what targets are commonly put through."""
    name = type(est).__name__
    if name == "FunctionTransformer":
        return _inverse_function(est, x)
    if name == "StandardScaler":
        scaled = x if est.scale_ is None else x * floats(est.scale_)
        return scaled + floats(est.mean_) if est.with_mean else scaled
    if name == "MinMaxScaler":
        return (x - floats(est.min_)) / floats(est.scale_)
    if name == "MaxAbsScaler":
        return x * floats(est.scale_)
    if name == "RobustScaler":
        scaled = x * floats(est.scale_) if est.with_scaling else x
        return scaled + floats(est.center_) if est.with_centering else scaled
    if name == "PowerTransformer":
        return _inverse_power(g, est, x)
    if name == "QuantileTransformer" and est.output_distribution == "uniform":
        from converters.sklearn.ops.interpolation import interpolate

        columns = [
            interpolate(g, x.column(place), np.asarray(est.references_), np.asarray(est.quantiles_[:, place]))
            for place in range(est.quantiles_.shape[1])
        ]
        return g.concat(columns)
    raise NotTranslated(f"the inverse of {name}")


def _inverse_function(est: Any, x: Value) -> Value:
    from converters.sklearn.functions import FUNCTIONS

    if est.inverse_func is None:
        return x
    name = getattr(est.inverse_func, "__name__", type(est.inverse_func).__name__)
    if not isinstance(est.inverse_func, np.ufunc) or name not in FUNCTIONS or est.inv_kw_args:
        raise NotTranslated(f"the inverse function {name}, which is none of numpy's {', '.join(FUNCTIONS)}")
    return FUNCTIONS[name](x)


def _inverse_power(g: Graph, est: Any, x: Value) -> Value:
    value = inverse_transform(g, est._scaler, x) if est.standardize else x
    columns = []
    for place, lam in enumerate(map(float, est.lambdas_)):
        column = value.column(place)
        if est.method == "box-cox":
            columns.append(column.exp() if lam == 0 else (column * lam + 1.0) ** (1.0 / lam))
            continue
        positive = column >= 0.0
        up, down = g.where(positive, column, 0.0), g.where(positive, 0.0, column)
        above = up.exp() - 1.0 if abs(lam) < np.spacing(1.0) else (up * lam + 1.0) ** (1.0 / lam) - 1.0
        below = (
            1.0 - (-down).exp()
            if abs(lam - 2) <= np.spacing(1.0)
            else 1.0 - (down * (lam - 2) + 1.0) ** (1.0 / (2 - lam))
        )
        columns.append(g.where(positive, above, below))
    return g.concat(columns)
