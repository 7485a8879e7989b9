"""Comparisons and logic of two tensors, whose results have the **dtype of the operands** (0 and 1), not bool.

`COMPARISONS` gives bool from two values of one dtype; `scalars.py` and `numpy_arithmetic.py` use it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from converters.mxnet.ops.arithmetic import Calculation, register_pair
from converters.mxnet.values import Value


def _relation(op: str) -> Calculation:
    """ONNX's operator; it orders no bools, which count as 0 and 1."""

    def compare(lhs: Value, rhs: Value) -> Value:
        ordered = op != "Equal" and lhs.dtype.kind == "b"
        a, b = (lhs.cast("int32"), rhs.cast("int32")) if ordered else (lhs, rhs)
        return lhs.g.emit(op, a, b)

    return compare


def not_equal(lhs: Value, rhs: Value) -> Value:
    """True for NaN against anything."""
    return lhs.g.emit("Not", lhs.g.emit("Equal", lhs, rhs))


def _logical(op: str) -> Calculation:
    """Of whatever differs from 0; NaN does."""
    return lambda lhs, rhs: lhs.g.emit(op, lhs.cast("bool"), rhs.cast("bool"))


COMPARISONS: Final[Mapping[str, Calculation]] = {
    "equal": _relation("Equal"),
    "not_equal": not_equal,
    "greater": _relation("Greater"),
    "greater_equal": _relation("GreaterOrEqual"),
    "lesser": _relation("Less"),
    "lesser_equal": _relation("LessOrEqual"),
    "logical_and": _logical("And"),
    "logical_or": _logical("Or"),
    "logical_xor": _logical("Xor"),
}
"""MXNet's word for it, as in `broadcast_WORD`, to a function that gives bool."""


for _word, _compare in COMPARISONS.items():
    register_pair(f"_{_word}", f"broadcast_{_word}", _compare)
