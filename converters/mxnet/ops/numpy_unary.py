"""Functions of one tensor in the numpy front end. Their dtype is the input's, of integers too (exp(1) is 2)."""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.unary import EXACT, FLOATING, Function, of_any
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

_EXACT = ("sign", "rint", "ceil", "floor", "trunc", "fix", "square", "negative")
_FLOATING = (
    "sqrt", "cbrt", "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "degrees", "radians", "reciprocal",
)  # fmt: skip


def _register(name: str, function: Function) -> None:
    @mxnet_op(name)
    def unary(node: OpNode, x: Value) -> Value:
        return function(x)


_register("_npi_absolute", EXACT["abs"])
for _word in _EXACT:
    _register(f"_npi_{_word}", EXACT[_word])
for _word in _FLOATING:
    _register(f"_npi_{_word}", of_any(FLOATING[_word]))


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
