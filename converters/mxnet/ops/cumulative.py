"""Sums and differences along an axis."""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.axes import axis_of
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_DIFFERENCES = 64


@mxnet_op("_np_cumsum")
def cumsum(node: OpNode, a: Value) -> Value:
    """The running sum along `axis`, or of the flattened tensor without one; in `dtype` where that is given.

    Narrow integers wrap; bools give int64.
    """
    g = node.g
    dtype = node.attrs.dtype("dtype", np.dtype(np.int64) if a.dtype.kind == "b" else a.dtype)
    axis = node.attrs.integer("axis", None)
    flat = a if axis is not None else g.reshape(a, [g.product(a.shape)])
    place = 0 if axis is None else axis_of(node, axis, a.rank)
    x = flat.cast(dtype)
    wide = x if dtype.kind == "f" or dtype.itemsize >= 4 else x.cast(np.int32)
    return g.emit("CumSum", wide, g.const(place, np.int64)).cast(dtype)


@mxnet_op("_npi_diff")
def diff(node: OpNode, a: Value) -> Value:
    """The differences of neighbours along `axis` (default -1), taken `n` (default 1) times."""
    times = node.attrs.integer("n", 1)
    if not 0 <= times <= MAX_DIFFERENCES:
        raise node.refuse(f"attribute 'n': expected 0 to {MAX_DIFFERENCES}, got {times}")
    axis = axis_of(node, node.attrs.integer("axis", -1), a.rank)
    for _ in range(times):
        a = a.slice(axis, 1) - a.slice(axis, 0, -1)
    return a
