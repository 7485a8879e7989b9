"""Elements looked up by index: take, Embedding, pick, batch_take, gather_nd and one_hot.

Indices are numbers of any dtype, cut towards zero where they are floats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from converters.mxnet.ops.axes import axis_of, bounded, counted, known_size
from converters.mxnet.ops.kernels import select
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value


def whole(indices: Value) -> Value:
    """The indices as int64."""
    return indices.cast(np.int64)


def clipped(indices: Value, size: Size) -> Value:
    """Indices below 0 become 0, too large ones the last."""
    g = indices.g
    last = g.size(size).squeeze(0) - 1
    return g.emit("Max", g.emit("Min", indices, last), g.const(0, np.int64))


def wrapped(indices: Value, size: Size) -> Value:
    """Indices count around the end, in both directions."""
    return indices.g.emit("Mod", indices, indices.g.size(size).squeeze(0))


def _trusted(indices: Value, size: Size) -> Value:
    """Indices that the model promises to be in range; ONNX Runtime raises for others."""
    del size
    return indices


_MODES: Mapping[str, Callable[[Value, Size], Value]] = {"clip": clipped, "wrap": wrapped, "raise": _trusted}


def _in_range(node: OpNode, indices: Value, size: Size) -> Value:
    mode = node.attrs.text("mode", "clip")
    if mode not in _MODES:
        raise node.refuse(f"attribute 'mode': expected clip, wrap or raise, got {mode!r}")
    return _MODES[mode](whole(indices), size)


@mxnet_op("take")
def take(node: OpNode, a: Value, indices: Value) -> Value:
    """The slices of `a` along `axis` (default 0) with these numbers; out of range they clip, or wrap by `mode`."""
    axis = axis_of(node, node.attrs.integer("axis", 0), a.rank)
    return node.g.emit("Gather", a, _in_range(node, indices, a.shape[axis]), axis=axis)


@mxnet_op("Embedding")
def embedding(node: OpNode, data: Value, weight: Value) -> Value:
    """The rows of `weight[input_dim, output_dim]` with these numbers; out of range they clip."""
    return node.g.emit("Gather", weight, clipped(whole(data), weight.shape[0]), axis=0)


@mxnet_op("pick")
def pick(node: OpNode, data: Value, index: Value) -> Value:
    """One element along `axis` (default: the last) for each place of the others.

    `index` lacks the axis, or has it with a size of 1. By `mode` it clips (default) or wraps. The axis is dropped
    unless `keepdims` says otherwise or `data` is a vector.
    """
    axis = axis_of(node, node.attrs.integer("axis", -1), data.rank)
    place = _in_range(node, index, data.shape[axis])
    if index.rank < data.rank:
        place = place.unsqueeze(axis)
    picked = node.g.emit("GatherElements", data, place, axis=axis)
    return picked if node.attrs.boolean("keepdims", False) or data.rank == 1 else picked.squeeze(axis)


@mxnet_op("batch_take")
def batch_take(node: OpNode, a: Value, indices: Value) -> Value:
    """One element of each row of `a[n, m]`, in the shape of the n `indices`; out of range they clip."""
    if a.rank != 2:
        raise node.refuse(f"expected a matrix, got {a}")
    g = node.g
    rows = g.emit("Reshape", clipped(whole(indices), a.shape[1]), g.ints(-1, 1), shape=(a.shape[0], 1))
    return g.emit("Reshape", g.emit("GatherElements", a, rows, axis=1), g.sizes(indices.shape), shape=indices.shape)


def coordinates(node: OpNode, indices: Value) -> Value:
    """int64[..., m] of `indices[m, ...]`, as ONNX wants them: the coordinate last."""
    known_size(node, indices, 0)
    return whole(indices).transpose(*range(1, indices.rank), 0)


@mxnet_op("gather_nd")
def gather_nd(node: OpNode, data: Value, indices: Value) -> Value:
    """The parts of `data` at `indices[m, ...]`, coordinates along its first m axes; negative ones are from the end."""
    return node.g.emit("GatherND", data, coordinates(node, indices))


@mxnet_op("one_hot")
def one_hot(node: OpNode, indices: Value) -> Value:
    """A last axis of size `depth` with `on_value` at the index, if it is in range, and `off_value` elsewhere."""
    g, attrs = node.g, node.attrs
    depth = attrs.integer("depth")
    bounded(node, (*indices.shape, depth))
    dtype = attrs.dtype("dtype", np.dtype(np.float32))
    on, off = (
        g.const(np.array(attrs.number(name, default)).astype(dtype))
        for name, default in (("on_value", 1.0), ("off_value", 0.0))
    )
    hot = g.emit("Equal", whole(indices).unsqueeze(indices.rank), counted(node, depth))
    return select(hot, on, off)
