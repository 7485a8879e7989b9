"""Correlation of two feature maps over displacements, the cost volume of optical flow nets (FlowNet).

Source followed: MXNet 1.9.1, src/operator/correlation-inl.h and correlation.cc, and its outputs.
"""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.precision import single
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
    fixed = _window(first, reach, rows, 2)
    fixed = _window(fixed, reach, columns, 3).unsqueeze(3)
    shifts = [place * step for place in range(-radius, radius + 1)]
    moved = _displaced(second, reach, columns, shifts)
    maps = [_compared(node, fixed, _window(moved, reach + shift, rows, 2)) for shift in shifts]
    joined = g.emit("Concat", *(each.transpose(0, 2, 1, 3) for each in maps), axis=1)
    return _pooled(joined, kernel, stride)


def _extent(node: OpNode, size: Size, lost: int, kernel: int) -> Value:
    """How many pixels of the padded map take part, from the first that a kernel starts at: int64[1]."""
    g = node.g
    return g.size(size) - lost + (kernel - 1)


def _window(value: Value, start: int, extent: Value, axis: int) -> Value:
    g = value.g
    return g.emit("Slice", value, g.ints(start), extent + start, g.ints(axis))


def _displaced(value: Value, reach: int, extent: Value, shifts: list[int]) -> Value:
    """[n, c, h, w] read at every displacement along x: [n, c, h, d, w2]."""
    g = value.g
    steps = g.emit("Range", g.const(0, np.int64), extent.squeeze(0), g.const(1, np.int64))
    places = steps.unsqueeze(0) + g.const(np.array(shifts)[:, None] + reach)
    return g.emit("Gather", value, places, axis=3)


def _compared(node: OpNode, fixed: Value, moved: Value) -> Value:
    """Means over channels: [n, h2, d, w2]."""
    if node.attrs.boolean("is_multiply", True):
        return (fixed * moved).reduce("ReduceMean", 1)
    return node.g.emit("Abs", fixed - moved).reduce("ReduceMean", 1)


def _pooled(maps: Value, kernel: int, stride: int) -> Value:
    """Means over the kernel, at steps."""
    if kernel == stride == 1:
        return maps
    return single("AveragePool", maps, kernel_shape=[kernel, kernel], strides=[stride, stride])
