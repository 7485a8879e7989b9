"""Changes of dtype."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

_NARROW = frozenset(map(np.dtype, ("int8", "uint8", "int16", "uint16")))


@mxnet_op("Cast")
def cast(node: OpNode, data: Value) -> Value:
    """`data` as `dtype`: floats are cut towards zero, and what is too large for a narrow integer wraps (300 -> 44)."""
    dtype = node.attrs.dtype("dtype")
    # C leaves a float's conversion to a narrow integer undefined out of range; by way of int32 it wraps.
    through = data.cast(np.int32) if data.is_float and dtype in _NARROW else data
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
