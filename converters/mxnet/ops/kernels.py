"""Element types for which ONNX Runtime's CPU provider has no kernel: computed in a wider one, exactly.

But for `single`: what has kernels of single precision alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from converters.mxnet.values import Value

WIDER: Mapping[str, str] = {
    "float16": "float32", "bool": "uint8", "int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64",
}  # fmt: skip
"""Every value of the first type is one of the second."""
NARROW = frozenset(map(np.dtype, ("int8", "uint8", "int16", "uint16")))
"""Integers that wrap: they are computed as int32, and cut."""
SELECTED = frozenset({"float32", "float64", "int32", "int64", "uint8"})
"""Types that Where selects."""


def widened(compute: Callable[..., Value], kernels: frozenset[str], *values: Value) -> Value:
    """`compute` of values of one dtype: in the wider one where theirs is not among `kernels`, and cast back."""
    dtype = values[0].dtype
    if dtype.name in kernels or dtype.name not in WIDER:
        return compute(*values)
    return compute(*(value.cast(WIDER[dtype.name]) for value in values)).cast(dtype)


def select(condition: Value, yes: Value, no: Value) -> Value:
    """`yes` where the bool `condition` holds, else `no`, broadcast: of any dtype."""
    g = condition.g
    return widened(lambda one, other: g.emit("Where", condition, one, other), SELECTED, yes, no)


def truth(value: Value) -> Value:
    """Whether each element is not zero."""
    return value.cast(np.bool_)


def number(value: float, like: Value) -> Value:
    """A constant of rank 0 in the dtype of `like`, cut and wrapped as C does where that is an integer."""
    wide = np.array(value, np.float64) if like.is_float or not np.isfinite(value) else np.array(int(value), np.int64)
    with np.errstate(invalid="ignore"):
        return like.g.const(wide.astype(like.dtype))


def single(op: str, data: Value, *others: Value | None, **attributes: Any) -> Value:
    """`op` in float32 where `data` is float64, so that the model loads; the result has the dtype of `data`.

    MXNet computes doubles in double precision there: the difference is that of float32, some 1e-7 of the scale.
    float16 needs no help: ONNX Runtime widens it itself.
    """
    if data.dtype != np.float64:
        return data.g.emit(op, data, *others, **attributes)
    inputs = [value.cast(np.float32) if value is not None and value.is_float else value for value in (data, *others)]
    return data.g.emit(op, *inputs, **attributes).cast(np.float64)
