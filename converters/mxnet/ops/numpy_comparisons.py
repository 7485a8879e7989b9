"""Comparisons, logic and tests of the numpy front end, which give bool, and the operators on bits."""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.arithmetic import Calculation
from converters.mxnet.ops.comparisons import COMPARISONS
from converters.mxnet.ops.numpy_arithmetic import promoted
from converters.mxnet.ops.scalars import operand, widened
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

_COMPARISONS = {
    "equal": "equal",
    "not_equal": "not_equal",
    "less": "lesser",
    "less_equal": "lesser_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "logical_xor": "logical_xor",
}
"""Word in `_npi_WORD` -> word in `broadcast_WORD`. 1.9.1 knows the logical ones under other names only."""
_BITS = {"bitwise_and": ("BitwiseAnd", "And"), "bitwise_or": ("BitwiseOr", "Or"), "bitwise_xor": ("BitwiseXor", "Xor")}


def _bitwise(integers: str, bools: str) -> Calculation:
    return lambda lhs, rhs: lhs.g.emit(bools if lhs.dtype.kind == "b" else integers, lhs, rhs)


def _register(word: str, calculate: Calculation) -> None:
    @mxnet_op(f"_npi_{word}")
    def binary(node: OpNode, x1: Value, x2: Value) -> Value:
        return calculate(*promoted(node, x1, x2))

    @mxnet_op(f"_npi_{word}_scalar")
    def with_scalar(node: OpNode, data: Value) -> Value:
        # To a bool the number is one too, and bits are those of the data, whatever Python's number was.
        wide = data if data.dtype.kind == "b" or word in _BITS else widened(node, data)
        return calculate(wide, operand(node, wide))


for _word, _older in _COMPARISONS.items():
    _register(_word, COMPARISONS[_older])
for _word, _ops in _BITS.items():
    _register(_word, _bitwise(*_ops))


@mxnet_op("_npi_bitwise_not")
def bitwise_not(node: OpNode, x: Value) -> Value:
    """All bits turned; of bools the opposite."""
    return node.g.emit("Not" if x.dtype.kind == "b" else "BitwiseNot", x)


@mxnet_op("_npi_logical_not")
def logical_not(node: OpNode, x: Value) -> Value:
    """Whether x is 0, as bool."""
    return node.g.emit("Not", x.cast(np.bool_))


@mxnet_op("_npi_isnan")
def isnan(node: OpNode, x: Value) -> Value:
    """Whether x is NaN; integers never are."""
    return node.g.emit("IsNaN", x if x.is_float else x.cast(np.float32))


def _register_infinity(word: str, positive: int, negative: int) -> None:
    @mxnet_op(f"_npi_{word}")
    def is_infinite(node: OpNode, x: Value) -> Value:
        single = x if x.dtype == np.float64 else x.cast(np.float32)
        return node.g.emit("IsInf", single, detect_positive=positive, detect_negative=negative)


_register_infinity("isinf", 1, 1)
_register_infinity("isposinf", 1, 0)
_register_infinity("isneginf", 0, 1)


def finite(x: Value) -> Value:
    """Whether x is neither infinite nor NaN."""
    single = x if x.dtype == np.float64 else x.cast(np.float32)
    return x.g.emit("Not", x.g.emit("Or", x.g.emit("IsInf", single), x.g.emit("IsNaN", single)))


@mxnet_op("_npi_isfinite")
def isfinite(node: OpNode, x: Value) -> Value:
    """`finite`; all integers are."""
    return finite(x)


@mxnet_op("_contrib_allclose")
def allclose(node: OpNode, a: Value, b: Value) -> Value:
    """Whether |a - b| <= atol + rtol |b| everywhere, a uint8 scalar; NaN equals NaN with `equal_nan` (default True)."""
    g, attrs = node.g, node.attrs
    within = g.emit("Abs", b) * attrs.number("rtol", 1e-5) + attrs.number("atol", 1e-8)
    close = g.emit("Or", g.emit("LessOrEqual", g.emit("Abs", a - b), within), g.emit("Equal", a, b))
    if attrs.boolean("equal_nan", True):
        close = g.emit("Or", close, g.emit("And", g.emit("IsNaN", a), g.emit("IsNaN", b)))
    return close.cast(np.int32).reduce("ReduceMin", *range(close.rank)).cast(np.uint8)


@mxnet_op("all_finite", "multi_all_finite")
def all_finite(node: OpNode, *data: Value) -> Value:
    """1 where no element of any tensor is infinite or NaN, else 0: float32[1]."""
    g = node.g
    found = [finite(each).cast(np.int32).reduce("ReduceMin", *range(each.rank)).unsqueeze(0) for each in data]
    return g.emit("Min", *found).cast(np.float32)
