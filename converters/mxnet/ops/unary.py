"""Functions of one tensor, element by element, with the input's dtype as the result's, and changes of that dtype.

Of integers they are computed in floats and cut towards zero: exp(1) is 2. The numpy front end has the same functions
under names of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from converters.mxnet.ops.kernels import NARROW
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
_NUMPY_ABSENT = frozenset({"abs", "round", "logical_not", "rsqrt", "rcbrt", "gamma", "gammaln", "erfinv"})
"""Those that the numpy front end lacks, or has under another name or with another result."""


def of_any(function: Function) -> Function:
    """The function for integers too: in float64, and cut."""
    return lambda x: function(x) if x.is_float else _cut(function(x.cast(np.float64))).cast(x.dtype)


def _cut(x: Value) -> Value:
    """What misses a whole number by its last digits becomes it: gamma(5) as 23.99999999999996 would be cut to 23."""
    g = x.g
    whole = g.emit("Round", x)
    close = g.emit("LessOrEqual", g.emit("Abs", x - whole), g.emit("Abs", x) * 1e-10)
    return g.emit("Where", close, whole, x)


def _register(function: Function, *names: str) -> None:
    @mxnet_op(*names)
    def unary(node: OpNode, data: Value) -> Value:
        return function(data)


for _name, _function in {**EXACT, **{name: of_any(function) for name, function in FLOATING.items()}}.items():
    _register(_function, _name, *([] if _name in _NUMPY_ABSENT else [f"_npi_{_name}"]))
_register(absolute, "_npi_absolute")


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


@mxnet_op("_npi_nan_to_num")
def nan_to_num(node: OpNode, data: Value) -> Value:
    """NaN as `nan` (0), infinities as `posinf` and `neginf` (the dtype's largest and lowest numbers)."""
    if not data.is_float:
        return data
    g, attrs, limits = node.g, node.attrs, np.finfo(data.dtype)
    x = g.emit("Where", g.emit("IsNaN", data), g.scalar(attrs.number("nan", 0.0), data), data)
    high, low = attrs.number("posinf", float(limits.max)), attrs.number("neginf", float(limits.min))
    x = g.emit("Where", g.emit("Equal", data, g.scalar(np.inf, data)), g.scalar(high, data), x)
    return g.emit("Where", g.emit("Equal", data, g.scalar(-np.inf, data)), g.scalar(low, data), x)


@mxnet_op("Cast")
def cast(node: OpNode, data: Value) -> Value:
    """`data` as `dtype`: floats are cut towards zero, and what is too large for a narrow integer wraps (300 -> 44)."""
    dtype = node.attrs.dtype("dtype")
    # C leaves a float's conversion to a narrow integer undefined out of range; by way of int32 it wraps.
    through = data.cast(np.int32) if data.is_float and dtype in NARROW else data
    return through.cast(dtype)


@mxnet_op("amp_cast")
def amp_cast(node: OpNode, data: Value) -> Value:
    """Mixed precision's cast: floats become `dtype`, all else stays."""
    return data.cast(node.attrs.dtype("dtype")) if data.is_float else data


@mxnet_op("amp_multicast")
def amp_multicast(node: OpNode, *data: Value) -> Sequence[Value]:
    """All floats as the widest float among them, or the narrowest with `cast_narrow` (default False)."""
    floats = [each.dtype for each in data if each.is_float]
    if not floats:
        return data
    choose = min if node.attrs.boolean("cast_narrow", False) else max
    dtype = choose(floats, key=lambda each: each.itemsize)
    return [each.cast(dtype) if each.is_float else each for each in data]
