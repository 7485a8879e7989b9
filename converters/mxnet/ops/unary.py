"""Functions of one tensor, element by element, with the input's dtype as the result's.

Of integers they are computed in floats and cut towards zero. `numpy_unary.py` names the same functions again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from converters.mxnet.ops.rounding import ROUNDINGS
from converters.mxnet.ops.special import SPECIAL
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

Function = Callable[[Value], Value]


def direct(op: str, *, single: bool = False) -> Function:
    """ONNX's own operator. `single` ones have no kernel for float64: they are computed in float32 then."""

    def function(x: Value) -> Value:
        return x.g.emit(op, x.cast(np.float32) if single else x).cast(x.dtype)

    return function


def sign(x: Value) -> Value:
    """-1, 0 or 1; 0 for NaN."""
    g = x.g
    return g.emit("Greater", x, g.scalar(0, x)).cast(x.dtype) - g.emit("Less", x, g.scalar(0, x)).cast(x.dtype)


def absolute(x: Value) -> Value:
    """|x|."""
    return x.g.emit("Abs", x)


def negative(x: Value) -> Value:
    """-x; unsigned integers wrap."""
    return -x if x.dtype.kind != "u" else 0 - x


def logical_not(x: Value) -> Value:
    """1 where x is 0, else 0."""
    return x.g.emit("Not", x.cast("bool")).cast(x.dtype)


def cube_root(x: Value) -> Value:
    """Of negative numbers too."""
    return x.g.emit("Sign", x) * x.g.emit("Pow", x.g.emit("Abs", x), x.g.scalar(1 / 3, x))


def expm1(x: Value) -> Value:
    """e^x - 1 without cancellation near 0: tanh(x/2) (e^x + 1)."""
    return x.g.emit("Tanh", x * 0.5) * (x.g.emit("Exp", x) + 1)


def log1p(x: Value) -> Value:
    """log(1 + x) without cancellation near 0: there 2 atanh(x / (2 + x))."""
    g = x.g
    plain = g.emit("Log", x + 1)
    if x.dtype == np.float64:
        return plain
    near = g.emit("Less", g.emit("Abs", x), g.scalar(0.5, x))
    return g.emit("Where", near, g.emit("Atanh", x / (x + 2)) * 2, plain)


def inverse(function: Function) -> Function:
    """1 / function."""
    return lambda x: x.g.emit("Reciprocal", function(x))


def scaled(function: Function, factor: float) -> Function:
    """function * factor."""
    return lambda x: function(x) * factor


EXACT: Final[Mapping[str, Function]] = {
    "abs": absolute,
    "sign": sign,
    "negative": negative,
    "square": lambda x: x * x,
    "logical_not": logical_not,
    **ROUNDINGS,
}
"""Functions that are as well defined for integers as for floats."""

_SQRT, _EXP, _LOG = direct("Sqrt"), direct("Exp"), direct("Log")
FLOATING: Final[Mapping[str, Function]] = {
    "sqrt": _SQRT,
    "rsqrt": inverse(_SQRT),
    "cbrt": cube_root,
    "rcbrt": inverse(cube_root),
    "exp": _EXP,
    "expm1": expm1,
    "log": _LOG,
    "log2": scaled(_LOG, 1 / math.log(2)),
    "log10": scaled(_LOG, 1 / math.log(10)),
    "log1p": log1p,
    "sin": direct("Sin"),
    "cos": direct("Cos"),
    "tan": direct("Tan", single=True),
    "arcsin": direct("Asin", single=True),
    "arccos": direct("Acos", single=True),
    "arctan": direct("Atan", single=True),
    "sinh": direct("Sinh", single=True),
    "cosh": direct("Cosh", single=True),
    "tanh": direct("Tanh"),
    "arcsinh": direct("Asinh", single=True),
    "arccosh": direct("Acosh", single=True),
    "arctanh": direct("Atanh", single=True),
    "degrees": lambda x: x * (180 / math.pi),
    "radians": lambda x: x * (math.pi / 180),
    "reciprocal": direct("Reciprocal"),
    **SPECIAL,
}
"""Functions that give floats; see `of_any`."""


def of_any(function: Function) -> Function:
    """The function for integers too: in float64, and cut."""
    return lambda x: function(x) if x.is_float else _cut(function(x.cast(np.float64))).cast(x.dtype)


def _cut(x: Value) -> Value:
    """What misses a whole number by its last digits becomes it: gamma(5) as 23.99999999999996 would be cut to 23."""
    g = x.g
    whole = g.emit("Round", x)
    close = g.emit("LessOrEqual", g.emit("Abs", x - whole), g.emit("Abs", x) * 1e-10)
    return g.emit("Where", close, whole, x)


def _register(name: str, function: Function) -> None:
    @mxnet_op(name)
    def unary(node: OpNode, data: Value) -> Value:
        return function(data)


for _name, _function in EXACT.items():
    _register(_name, _function)
for _name, _function in FLOATING.items():
    _register(_name, of_any(_function))


@mxnet_op("erf")
def erf(node: OpNode, data: Value) -> Value:
    """The error function; of integers it would be 0 nearly everywhere, and nobody means that."""
    if not data.is_float:
        raise node.refuse(f"expected floats, got {data}; cast to float32 before")
    return direct("Erf", single=True)(data)


@mxnet_op("_contrib_sign_ste")
def sign_ste(node: OpNode, data: Value) -> Value:
    """`sign`; only its gradient is another."""
    return sign(data)


@mxnet_op("_contrib_gradientmultiplier")
def gradient_multiplier(node: OpNode, data: Value) -> Value:
    """The tensor itself: `scalar` counts for the gradient."""
    return data
