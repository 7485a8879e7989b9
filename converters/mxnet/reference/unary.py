"""Functions of one tensor, element by element, and casts. Computed in doubles, given in the input's dtype."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

Function = Callable[[np.ndarray], Any]


def _round(x: np.ndarray) -> np.ndarray:
    """Halves away from zero."""
    return np.asarray(np.trunc(x) + np.where(np.abs(x - np.trunc(x)) >= 0.5, np.sign(x), 0))


def _rint(x: np.ndarray) -> np.ndarray:
    """Halves down."""
    return np.asarray(np.where(x - np.floor(x) <= np.ceil(x) - x, np.floor(x), np.ceil(x)))


def _each(function: Callable[[float], float]) -> Function:
    """Of the standard library, number by number."""
    return lambda x: np.array([function(float(each)) for each in x.flat], np.float64).reshape(x.shape)


def _gamma(x: float) -> float:
    if x == 0:
        return math.copysign(math.inf, x)
    if x < 0 and (math.isinf(x) or x.is_integer()):
        return math.nan
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf


def _gammaln(x: float) -> float:
    return math.inf if x <= 0 and x.is_integer() else math.lgamma(x)


def _erfinv(x: float) -> float:
    if not abs(x) < 1:
        return math.copysign(math.inf, x) if abs(x) == 1 else math.nan
    return NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)


FUNCTIONS: dict[str, Function] = {
    "abs": np.abs,
    "sign": lambda x: (x > 0).astype(np.float64) - (x < 0),
    "negative": np.negative,
    "square": np.square,
    "logical_not": lambda x: x == 0,
    "round": _round,
    "rint": _rint,
    "ceil": np.ceil,
    "floor": np.floor,
    "trunc": np.trunc,
    "fix": np.fix,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "cbrt": np.cbrt,
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "degrees": np.degrees,
    "radians": np.radians,
    "reciprocal": np.reciprocal,
    "erf": _each(math.erf),
    "gamma": _each(_gamma),
    "gammaln": _each(_gammaln),
    "erfinv": _each(_erfinv),
}
_NUMPY_ABSENT = {"abs", "round", "logical_not", "rsqrt", "rcbrt", "erf", "gamma", "gammaln", "erfinv"}
"""Those that the numpy front end lacks, or has under another name or with another result."""


def _register(function: Function, *names: str) -> None:
    @numpy_op(*names)
    def unary(node: Context, data: np.ndarray) -> np.ndarray:
        wide = data.astype(np.float64) if data.dtype.kind == "f" or data.dtype.itemsize < 8 else data
        made = np.asarray(function(wide))
        # Negative numbers as unsigned integers wrap by way of int64.
        return (made.astype(np.int64) if data.dtype.kind in "iu" else made).astype(data.dtype)


for _name, _function in FUNCTIONS.items():
    _register(_function, _name, *([] if _name in _NUMPY_ABSENT else [f"_npi_{_name}"]))
_register(FUNCTIONS["abs"], "_npi_absolute")
_register(FUNCTIONS["round"], "_contrib_round_ste")
_register(FUNCTIONS["sign"], "_contrib_sign_ste")


def _register_test(test: Function, name: str) -> None:
    @numpy_op(name)
    def tested(node: Context, x: np.ndarray) -> np.ndarray:
        return np.asarray(test(x.astype(np.float64)))


for _test in (np.isfinite, np.isinf, np.isnan, np.isneginf, np.isposinf):
    _register_test(_test, f"_npi_{_test.__name__}")


@numpy_op("_npi_logical_not")
def logical_not(node: Context, x: np.ndarray) -> np.ndarray:
    """Whether x is 0."""
    return np.asarray(x == 0)


@numpy_op("_npi_bitwise_not")
def bitwise_not(node: Context, x: np.ndarray) -> np.ndarray:
    """All bits turned; of bools the opposite."""
    return np.asarray(np.invert(x))


@numpy_op("_npi_around")
def around(node: Context, x: np.ndarray) -> np.ndarray:
    """Halves to the even digit."""
    return np.asarray(np.around(x, node.attrs.integer("decimals", 0)))


@numpy_op("Cast")
def cast(node: Context, data: np.ndarray) -> np.ndarray:
    """Floats are cut, and wrap in narrow integers."""
    dtype = node.attrs.dtype("dtype")
    narrow = data.dtype.kind == "f" and dtype.kind in "iu" and dtype.itemsize < 4
    return (data.astype(np.int64) if narrow else data).astype(dtype)


@numpy_op("amp_cast")
def amp_cast(node: Context, data: np.ndarray) -> np.ndarray:
    """Of floats alone."""
    return data.astype(node.attrs.dtype("dtype")) if data.dtype.kind == "f" else data


@numpy_op("amp_multicast")
def amp_multicast(node: Context, *data: np.ndarray) -> Sequence[np.ndarray]:
    """Floats as the widest, or narrowest, of them."""
    floats = sorted((each.dtype for each in data if each.dtype.kind == "f"), key=lambda dtype: dtype.itemsize)
    dtype = floats[0 if node.attrs.boolean("cast_narrow", False) else -1] if floats else None
    return [each.astype(dtype) if each.dtype.kind == "f" else each for each in data]
