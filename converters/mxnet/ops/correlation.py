"""Correlation of two feature maps over displacements, the cost volume of optical flow nets (FlowNet).

Source followed: MXNet 1.9.1, src/operator/correlation-inl.h and correlation.cc, and its outputs.
"""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.kernels import single
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_DISPLACEMENTS = 129
"""Along one axis: the graph has a few nodes for each. FlowNet has 21."""


@mxnet_op("Correlation")
def correlation(node: OpNode, data1: Value, data2: Value) -> Value:
    """Both maps [n, c, h, w] to [n, d * d, h2, w2], one channel for each displacement (y slow, x fast).

    Means over channels and a `kernel_size` square of products (`is_multiply`, the default) or absolute differences, of
    data1 at steps of `stride1` and data2 displaced by up to `max_displacement` at steps of `stride2`, both padded with
    `pad_size` zeros. d = 2 * (max_displacement div stride2) + 1.
    """
    g, attrs = node.g, node.attrs
    kernel, reach = attrs.integer("kernel_size", 1), attrs.integer("max_displacement", 1)
    stride, step, pad = attrs.integer("stride1", 1), attrs.integer("stride2", 1), attrs.integer("pad_size", 0)
    if kernel < 1 or kernel % 2 == 0 or min(reach, pad) < 0 or min(stride, step) < 1:
        raise node.refuse(f"expected an odd kernel_size and strides of at least 1, got {kernel}, {stride}, {step}")
    radius = reach // step
    if 2 * radius + 1 > MAX_DISPLACEMENTS:
        raise node.refuse(f"expected at most {MAX_DISPLACEMENTS} displacements an axis, got {2 * radius + 1}")
    first, second = (g.emit("Pad", each, g.ints(0, 0, pad, pad, 0, 0, pad, pad)) for each in (data1, data2))
    border = reach + kernel // 2
    rows, columns = (_extent(node, first.shape[axis], 2 * border, kernel) for axis in (2, 3))
    fixed = _window(_window(first, reach, rows, 2), reach, columns, 3)
    shifts = [place * step for place in range(-radius, radius + 1)]
    steps = g.emit("Range", g.const(0, np.int64), columns.squeeze(0), g.const(1, np.int64))
    places = steps.unsqueeze(0) + g.const(np.array(shifts)[:, None] + reach)
    compare = _products if attrs.boolean("is_multiply", True) else _differences
    maps = compare(fixed, [_window(second, reach + shift, rows, 2) for shift in shifts], places, steps)
    joined = g.emit("Concat", *(each.transpose(0, 2, 1, 3) for each in maps), axis=1)
    return _pooled(joined, kernel, stride)


def _extent(node: OpNode, size: Size, lost: int, kernel: int) -> Value:
    """How many pixels of the padded map take part, from the first that a kernel starts at: int64[1]."""
    g = node.g
    return g.size(size) - lost + (kernel - 1)


def _window(value: Value, start: int, extent: Value, axis: int) -> Value:
    g = value.g
    return g.emit("Slice", value, g.ints(start), extent + start, g.ints(axis))


def _products(fixed: Value, moved: list[Value], places: Value, steps: Value) -> list[Value]:
    """Means of products over channels, [n, h2, d, w2] for each displacement along y.

    Sums over channels for all pairs of columns are one product of matrices a row, of which `places` [d, w2] are read:
    more to compute than is needed, and many times faster than element by element.
    """
    g = fixed.g
    left = fixed.transpose(0, 2, 3, 1)
    width = g.emit("Shape", moved[0], start=3, end=4)
    pairs = places + steps * width
    sums = [g.emit("MatMul", left, each.transpose(0, 2, 1, 3)) for each in moved]
    flat = [g.emit("Reshape", each, g.ints(0, 0, -1)) for each in sums]
    channels = g.size(fixed.shape[1]).cast(fixed.dtype)
    return [g.emit("Gather", each, pairs, axis=2) / channels for each in flat]


def _differences(fixed: Value, moved: list[Value], places: Value, steps: Value) -> list[Value]:
    """Means of absolute differences over channels, [n, h2, d, w2] for each displacement along y."""
    g = fixed.g
    shifted = [g.emit("Gather", each, places, axis=3) for each in moved]
    return [g.emit("Abs", fixed.unsqueeze(3) - each).reduce("ReduceMean", 1) for each in shifted]


def _pooled(maps: Value, kernel: int, stride: int) -> Value:
    """Means over the kernel, at steps."""
    if kernel == stride == 1:
        return maps
    return single("AveragePool", maps, kernel_shape=[kernel, kernel], strides=[stride, stride])
