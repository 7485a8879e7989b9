"""Arithmetic of the numpy front end: `_npi_add` and its like, and the same with a number.

Unlike the older operators these promote: a float beats an integer whatever their sizes (int64 + float16 is float16),
and an integer beats a bool. `maximum`, `minimum` and `hypot` of a number are stored under their older names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from converters.mxnet.ops.arithmetic import CALCULATIONS, Calculation, hypotenuse
from converters.mxnet.ops.scalars import operand, register, register_reversed
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


def promoted(node: OpNode, *values: Value) -> list[Value]:
    """The values in the dtype that MXNet would choose for them together."""

    def order(dtype: np.dtype) -> tuple[int, int]:
        return "biuf".index(dtype.kind) if dtype.kind != "u" else 1, dtype.itemsize

    widest = max((value.dtype for value in values), key=order)
    if any(order(value.dtype) == order(widest) and value.dtype != widest for value in values):
        raise node.refuse(f"expected operands of one dtype, got {' and '.join(str(value.dtype) for value in values)}")
    return [value.cast(widest) for value in values]


def true_divide(lhs: Value, rhs: Value) -> Value:
    """The quotient, float32 for integers."""
    return lhs / rhs if lhs.is_float else lhs.cast(np.float32) / rhs.cast(np.float32)


def arctan2(lhs: Value, rhs: Value) -> Value:
    """The angle of the point (rhs, lhs), from -pi to pi."""
    if not lhs.is_float:
        return arctan2(lhs.cast(np.float64), rhs.cast(np.float64)).cast(lhs.dtype)
    g = lhs.g
    y, x = (value.cast(np.float32) if value.dtype == np.float64 else value for value in (lhs, rhs))
    zero = g.scalar(0, y)
    half_turn = g.emit("Where", g.emit("Less", y, zero), g.scalar(-math.pi, y), g.scalar(math.pi, y))
    angle = g.emit("Atan", y / x)
    angle = g.emit("Where", g.emit("Less", x, zero), angle + half_turn, angle)
    origin = g.emit("And", g.emit("Equal", x, zero), g.emit("Equal", y, zero))
    return g.emit("Where", origin, zero, angle).cast(lhs.dtype)


def copysign(lhs: Value, rhs: Value) -> Value:
    """|lhs| with the sign of rhs, of a negative zero too."""
    g, zero = lhs.g, lhs.g.scalar(0, rhs)
    below = g.emit("Less", rhs, zero)
    if rhs.is_float:
        below = g.emit("Or", below, g.emit("Less", g.emit("Reciprocal", rhs), zero))
    size = g.emit("Abs", lhs)
    return g.emit("Where", below, 0 - size, size)


def ldexp(lhs: Value, rhs: Value) -> Value:
    """lhs * 2^rhs, cut for integers."""
    if not lhs.is_float:
        return ldexp(lhs.cast(np.float64), rhs.cast(np.float64)).cast(lhs.dtype)
    return lhs * lhs.g.emit("Pow", lhs.g.scalar(2, lhs), rhs)


def of_bools(calculate: Calculation) -> Calculation:
    """The calculation for bools as well, which count as 0 and 1."""

    def calculate_any(lhs: Value, rhs: Value) -> Value:
        if lhs.dtype.kind != "b":
            return calculate(lhs, rhs)
        return calculate(lhs.cast(np.int32), rhs.cast(np.int32)).cast(np.bool_)

    return calculate_any


NUMPY: Final[Mapping[str, Calculation]] = {
    "add": CALCULATIONS["add"],
    "subtract": CALCULATIONS["sub"],
    "multiply": CALCULATIONS["mul"],
    "mod": CALCULATIONS["mod"],
    "power": CALCULATIONS["power"],
    "arctan2": arctan2,
    "copysign": copysign,
    "ldexp": ldexp,
}
"""Word in `_npi_WORD` and `_npi_WORD_scalar`."""
REVERSED: Final = frozenset(NUMPY) - {"add", "multiply"}


def _register(name: str, calculate: Calculation) -> None:
    @mxnet_op(name)
    def binary(node: OpNode, x1: Value, x2: Value) -> Value:
        return of_bools(calculate)(*promoted(node, x1, x2))


for _word, _calculate in NUMPY.items():
    _register(f"_npi_{_word}", _calculate)
    register(f"_npi_{_word}_scalar", _calculate)
    if _word in REVERSED:
        register_reversed(f"_npi_r{_word}_scalar", _calculate)
_register("_npi_hypot", hypotenuse)


@mxnet_op("_npi_true_divide")
def divide(node: OpNode, x1: Value, x2: Value) -> Value:
    """`x1 / x2`, in floats always."""
    return true_divide(*promoted(node, x1, x2))


@mxnet_op("_npi_true_divide_scalar")
def divide_by_scalar(node: OpNode, data: Value) -> Value:
    """`data / scalar`, in float32 for integers, with a scalar that is not cut."""
    x = data if data.is_float else data.cast(np.float32)
    return x / operand(node, x)


@mxnet_op("_npi_rtrue_divide_scalar")
def divide_scalar(node: OpNode, data: Value) -> Value:
    """`scalar / data`, as `_npi_true_divide_scalar`."""
    x = data if data.is_float else data.cast(np.float32)
    return operand(node, x) / x
