"""A tensor and a number: `_plus_scalar` and its like, `_rminus_scalar` and others with the number on the left.

**The number is cast to the tensor's dtype first**: int32 x * 0.5 is 0, and x > 1.9 compares with 1. Only where the file
says `is_int=False`, as the numpy front end does for a Python float, integers give float64.
"""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.ops.arithmetic import CALCULATIONS, Calculation
from converters.mxnet.ops.comparisons import COMPARISONS
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

_WORDS = {"add": "plus", "sub": "minus"}
"""Where the word of the scalar operator is another than that of `broadcast_WORD`."""
_REVERSED = ("sub", "div", "power", "mod")


def operand(node: OpNode, like: Value) -> Value:
    """Attribute `scalar` (default 1) as a constant of rank 0 and of the dtype of `like`; integers are cut, and wrap."""
    number = node.attrs.number("scalar", 1.0)
    if like.is_float or like.dtype.kind == "b":
        with np.errstate(over="ignore"):
            return node.g.const(np.float64(number).astype(like.dtype))
    if not math.isfinite(number) or abs(number) >= 2**63:
        raise node.refuse(f"attribute 'scalar': expected a number that {like.dtype} can hold, got {number}")
    return node.g.const(np.int64(int(number)).astype(like.dtype))


def widened(node: OpNode, data: Value) -> Value:
    """The tensor that meets the number: with `is_int` False (default True; since 1.8) integers become float64 before,
    else bools become int64."""
    if data.is_float:
        return data
    if not node.attrs.boolean("is_int", True):
        return data.cast(np.float64)
    return data.cast(np.int64) if data.dtype.kind == "b" else data


def register(name: str, calculate: Calculation) -> None:
    """Registers `tensor, number` under `name`."""

    @mxnet_op(name)
    def with_scalar(node: OpNode, data: Value) -> Value:
        wide = widened(node, data)
        return calculate(wide, operand(node, wide)).cast(wide.dtype)


def register_reversed(name: str, calculate: Calculation) -> None:
    """Registers `number, tensor` under `name`."""

    @mxnet_op(name)
    def scalar_with(node: OpNode, data: Value) -> Value:
        wide = widened(node, data)
        return calculate(operand(node, wide), wide).cast(wide.dtype)


for _word, _calculate in {**CALCULATIONS, **COMPARISONS}.items():
    register(f"_{_WORDS.get(_word, _word)}_scalar", _calculate)
for _word in _REVERSED:
    register_reversed(f"_r{_WORDS.get(_word, _word)}_scalar", CALCULATIONS[_word])
