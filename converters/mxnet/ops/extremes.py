"""Where the largest and smallest elements are: `argmax`, `argmin`. Ties give the first, NaN counts as the extreme."""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.ops.axes import axis_of
from converters.mxnet.ops.reductions import unscalar
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

NONE_UNTIL = 905
"""Before 0.9.5 an axis of -1 meant that there is none."""
_EXTREMES = {"argmax": ("ArgMax", math.inf), "argmin": ("ArgMin", -math.inf)}


def position(name: str, x: Value, axis: int | None, keepdims: bool) -> Value:
    """int64 positions along `axis`, or a scalar in the flattened tensor when it is None; `keepdims` keeps all axes."""
    g = x.g
    op, extreme = _EXTREMES[name]
    if x.is_float:
        x = g.emit("Where", g.emit("IsNaN", x), g.scalar(extreme, x), x)
    elif x.dtype.kind == "b":
        x = x.cast(np.int32)
    if axis is not None:
        return g.emit(op, x, axis=axis, keepdims=int(keepdims))
    found = g.emit(op, g.reshape(x, [g.product(x.shape)]), axis=0, keepdims=0)
    return g.reshape(found, [1] * x.rank) if keepdims else found


def _axis(node: OpNode, x: Value) -> int | None:
    axis = node.attrs.integer("axis", None)
    if axis is None or (axis == -1 and node.origin.version < NONE_UNTIL):
        return None
    return axis_of(node, axis, x.rank)


def _register(name: str) -> None:
    @mxnet_op(name)
    def legacy(node: OpNode, data: Value) -> Value:
        # The positions have the dtype of the data: what indices are for float32 is float32.
        found = position(name, data, _axis(node, data), node.attrs.boolean("keepdims", False))
        return unscalar(found).cast(data.dtype)

    @mxnet_op(f"_npi_{name}")
    def numpy(node: OpNode, data: Value) -> Value:
        return position(name, data, _axis(node, data), node.attrs.boolean("keepdims", False))


for _name in _EXTREMES:
    _register(_name)


@mxnet_op("argmax_channel")
def argmax_channel(node: OpNode, data: Value) -> Value:
    """`argmax` over axis 1: (N, C, ..) -> (N, ..), in the dtype of the data."""
    return position("argmax", data, axis_of(node, 1, data.rank), False).cast(data.dtype)
