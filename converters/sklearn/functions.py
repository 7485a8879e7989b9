"""FunctionTransformer as ONNX, for the functions of numpy that have an operator.

Functions of the user's own run Python and stay with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.table import Table

Function = Callable[[Value], Value]


def _log1p(x: Value) -> Value:
    """log(1 + x), exact for small x too (Kahan): what rounding takes from 1 + x is put back by x / (u - 1)."""
    u = x + 1.0
    unchanged = u.equals(1.0)
    ratio = x / x.graph.where(unchanged, 1.0, u - 1.0)
    exact = u.log() * x.graph.where(u.equals(np.inf), 1.0, ratio)
    return x.graph.where(unchanged, x, exact)


def _expm1(x: Value) -> Value:
    """exp(x) - 1, exact for small x too, by way of tanh(x / 2)."""
    half = (x * 0.5).apply("Tanh")
    return x.graph.where(x.abs() < 1.0, half * 2.0 / (1.0 - half), x.exp() - 1.0)


FUNCTIONS: dict[str, Function] = {
    "absolute": lambda x: x.abs(),
    "ceil": lambda x: x.apply("Ceil"),
    "cos": lambda x: x.apply("Cos"),
    "exp": lambda x: x.exp(),
    "exp2": lambda x: (x * float(np.log(2.0))).exp(),
    "expm1": _expm1,
    "floor": lambda x: x.apply("Floor"),
    "log": lambda x: x.log(),
    "log10": lambda x: x.log() / float(np.log(10.0)),
    "log1p": _log1p,
    "log2": lambda x: x.log() / float(np.log(2.0)),
    "negative": lambda x: -x,
    "reciprocal": lambda x: 1.0 / x,
    "rint": lambda x: x.apply("Round"),
    "sign": lambda x: x.apply("Sign"),
    "sin": lambda x: x.apply("Sin"),
    "sqrt": lambda x: x.sqrt(),
    "square": lambda x: x * x,
    "tanh": lambda x: x.apply("Tanh"),
}
"""Name of numpy's function -> how ONNX computes it from float64[N, columns]."""
DOMAINS: dict[str, tuple[float, float]] = {
    "exp": (-5, 5),
    "exp2": (-5, 5),
    "expm1": (-5, 5),
    "log": (0.01, 100),
    "log10": (0.01, 100),
    "log1p": (-0.5, 100),
    "log2": (0.01, 100),
    "reciprocal": (0.1, 10),
    "sqrt": (0, 100),
}
"""Where a function has sensible values; others take any number."""


def function_name(estimator: Any) -> str | None:
    """The name of the numpy function that a FunctionTransformer applies; None for another one or none."""
    function = getattr(estimator, "func", None)
    return str(function.__name__) if isinstance(function, np.ufunc) else None


def _only_checks(function: Any) -> bool:
    """Whether it is scikit-learn's own check of an array, as HistGradientBoosting puts in front of its numbers."""
    inner = getattr(function, "func", None)
    if inner is None:
        return False
    return (inner.__module__, inner.__name__) == ("sklearn.utils.validation", "check_array")


@translates("transform", "FunctionTransformer", table=True)
def function_transformer(g: Graph, estimator: Any, table: Table) -> Any:
    """The function, element by element: float64[N, columns]; without one the columns as they are."""
    if estimator.func is None or _only_checks(estimator.func):
        return table
    name = function_name(estimator)
    if name not in FUNCTIONS:
        kind = getattr(estimator.func, "__name__", type(estimator.func).__name__)
        raise NotTranslated(
            f"FunctionTransformer calls {kind}, which is Python; ONNX forms have {', '.join(FUNCTIONS)}"
        )
    if estimator.kw_args:
        raise NotTranslated(f"FunctionTransformer calls {name} with arguments")
    x = table.matrix()
    result = FUNCTIONS[name](x)
    return result.rounded() if x.narrow else result
