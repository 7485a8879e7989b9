"""Arithmetic of the numpy front end: `_npi_add` and its like, and the same with a number.

Unlike the older operators these promote: a float beats an integer whatever their sizes (int64 + float16 is float16),
and an integer beats a bool. `maximum`, `minimum` and `hypot` of a number are stored under their older names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from converters.mxnet.ops import arithmetic
from converters.mxnet.ops.arithmetic import CALCULATIONS, Calculation, hypotenuse, modulo
from converters.mxnet.ops.axes import known_size
from converters.mxnet.ops.scalars import operand, register, register_reversed
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_COEFFICIENTS = 64
"""Of a polynomial, which is written out."""


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
    origin = g.emit("And", g.emit("Equal", x, zero), g.emit("Equal", y, zero))
    angle = g.emit("Where", origin, zero, g.emit("Atan", y / x))
    half_turn = g.emit("Where", _has_minus(y), g.scalar(-math.pi, y), g.scalar(math.pi, y))
    return g.emit("Where", _has_minus(x), angle + half_turn, angle).cast(lhs.dtype)


def _has_minus(x: Value) -> Value:
    """Whether x is negative, or a negative zero."""
    g, zero = x.g, x.g.scalar(0, x)
    return g.emit("Or", g.emit("Less", x, zero), g.emit("Less", g.emit("Reciprocal", x), zero))


def copysign(lhs: Value, rhs: Value) -> Value:
    """|lhs| with the sign of rhs; unlike C's, a negative zero counts as positive."""
    g, size = lhs.g, lhs.g.emit("Abs", lhs)
    return g.emit("Where", g.emit("Less", rhs, g.scalar(0, rhs)), 0 - size, size)


def ldexp(lhs: Value, rhs: Value) -> Value:
    """lhs * 2^rhs, cut for integers."""
    if not lhs.is_float:
        return ldexp(lhs.cast(np.float64), rhs.cast(np.float64)).cast(lhs.dtype)
    return lhs * lhs.g.emit("Pow", lhs.g.scalar(2, lhs), rhs)


def floor_divide(lhs: Value, rhs: Value) -> Value:
    """The quotient, rounded down."""
    return lhs.g.emit("Floor", lhs / rhs) if lhs.is_float else arithmetic.divide(lhs - modulo(lhs, rhs), rhs)


def fmod(lhs: Value, rhs: Value) -> Value:
    """The remainder with the sign of `lhs`."""
    return lhs.g.emit("Mod", lhs, rhs, fmod=1) if lhs.is_float else lhs - arithmetic.divide(lhs, rhs) * rhs


def of_numbers(op: str) -> Calculation:
    """ONNX's operator, but a number where one operand is NaN and the other is none."""

    def calculate(lhs: Value, rhs: Value) -> Value:
        g, found = lhs.g, lhs.g.emit(op, lhs, rhs)
        if not lhs.is_float:
            return found
        found = g.emit("Where", g.emit("IsNaN", rhs), lhs, found)
        return g.emit("Where", g.emit("IsNaN", lhs), rhs, found)

    return calculate


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
    "floor_divide": floor_divide,
    "fmod": fmod,
    "fmax": of_numbers("Max"),
    "fmin": of_numbers("Min"),
}
"""Word in `_npi_WORD` and `_npi_WORD_scalar`; the last four are release 2's."""
REVERSED: Final = frozenset(NUMPY) - {"add", "multiply", "fmax", "fmin"}


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


@mxnet_op("_npi_polyval")
def polyval(node: OpNode, p: Value, x: Value) -> Value:
    """The polynomial of coefficients `p`, the highest power first, at each `x`: by Horner's rule."""
    count = known_size(node, p, 0)
    if not 0 < count <= MAX_COEFFICIENTS:
        raise node.refuse(f"expected 1 to {MAX_COEFFICIENTS} coefficients, got {count}")
    value = p.slice(0, 0, 1).squeeze(0) + (x - x)
    for power in range(1, count):
        value = value * x + p.slice(0, power, power + 1).squeeze(0)
    return value


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
