"""Softmax in its forms: the operators, and the heads of classifiers, whose labels mean nothing at inference."""

from __future__ import annotations

import logging

import numpy as np

from converters.mxnet.ops.axes import axis_of, counted
from converters.mxnet.ops.kernels import select, truth
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

log = logging.getLogger(__name__)


@mxnet_op("softmax")
def softmax(node: OpNode, data: Value, length: Value | None = None) -> Value:
    """softmax(data / temperature) along `axis` (-1), as `dtype` (that of data).

    With `use_length`, `length` (data's shape without the axis) tells how many positions count for each remaining
    index: the others are exactly 0, all of them where it is 0.
    """
    if length is None or not node.attrs.boolean("use_length", False):
        return _scaled(node, data, "Softmax")
    axis = axis_of(node, node.attrs.integer("axis", -1), data.rank)
    positions = counted(node, data.shape[axis]).unsqueeze(*range(1, data.rank - axis))
    counts = node.g.emit("Less", positions, length.cast(np.int64).unsqueeze(axis))
    return _masked(node, data, counts, "Softmax", 0.0)


@mxnet_op("masked_softmax", "_npx_masked_softmax")
def masked_softmax(node: OpNode, data: Value, mask: Value) -> Value:
    """softmax(data / temperature) along `axis` (-1) over the elements where the mask, broadcast, holds; 0 elsewhere.

    Came with 2.0 (src/operator/nn/masked_softmax.cc).
    """
    return _masked(node, data, truth(mask), "Softmax", 0.0)


@mxnet_op("masked_log_softmax", "_npx_masked_log_softmax")
def masked_log_softmax(node: OpNode, data: Value, mask: Value) -> Value:
    """The logarithm of `masked_softmax`: -inf where the mask does not hold."""
    return _masked(node, data, truth(mask), "LogSoftmax", -np.inf)


def _masked(node: OpNode, data: Value, counts: Value, op: str, elsewhere: float) -> Value:
    if not data.is_float:
        raise node.refuse(f"expected floats, got {data}")
    # The lowest number and not -inf, which would make NaN where nothing counts.
    kept = select(counts, data, node.g.scalar(float(np.finfo(data.dtype).min), data))
    made = _scaled(node, kept, op)
    return select(counts, made, node.g.scalar(elsewhere, made))


@mxnet_op("log_softmax")
def log_softmax(node: OpNode, data: Value) -> Value:
    """The logarithm of softmax(data / temperature) along `axis` (-1), as `dtype` (that of data)."""
    return _scaled(node, data, "LogSoftmax")


@mxnet_op("softmin")
def softmin(node: OpNode, data: Value) -> Value:
    """softmax(-data / temperature) along `axis` (-1), as `dtype` (that of data)."""
    return _scaled(node, -data, "Softmax")


def _scaled(node: OpNode, data: Value, op: str) -> Value:
    """Computed in the wider of data's dtype and `dtype`. Integers have no softmax in MXNet."""
    if not data.is_float:
        raise node.refuse(f"expected floats, got {data}")
    axis = axis_of(node, node.attrs.integer("axis", -1), data.rank)
    dtype = node.attrs.dtype("dtype", data.dtype)
    temperature = node.attrs.number("temperature", 1.0)
    wide = data.cast(np.promote_types(data.dtype, dtype))
    wide = wide if temperature == 1 else wide / temperature
    return node.g.emit(op, wide, axis=axis).cast(dtype)


@mxnet_op("SoftmaxActivation")
def softmax_activation(node: OpNode, data: Value) -> Value:
    """`mode` instance (default): over the last axis, whatever the rank. channel: over axis 1 of 3-D data or more."""
    axes = {"instance": data.rank - 1, "channel": 1}
    mode = node.attrs.text("mode", "instance")
    if mode not in axes:
        raise node.refuse(f"attribute 'mode': expected one of {', '.join(axes)}, got {mode!r}")
    return node.g.emit("Softmax", data, axis=axis_of(node, axes[mode], data.rank, "mode"))


@mxnet_op("SoftmaxOutput", ignored=1)
def softmax_output(node: OpNode, data: Value) -> Value:
    """`multi_output`: over axis 1. `preserve_shape`: over the last axis. Neither: over all axes but the first.

    MXNet's engines disagree on the last case for 4-D data: oneDNN takes the last axis alone.
    """
    if data.rank < 2:
        raise node.refuse(f"expected data (N, classes, ..), got {data}")
    if node.attrs.boolean("multi_output", False):
        return node.g.emit("Softmax", data, axis=1)
    if data.rank == 2 or node.attrs.boolean("preserve_shape", False):
        return node.g.emit("Softmax", data, axis=-1)
    if data.rank == 4:
        log.warning("%s: MXNet's builds disagree on 4-D data without multi_output or preserve_shape", node.node.where)
    flat = node.g.reshape(data, (data.shape[0], node.g.product(data.shape[1:])))
    return node.g.reshape(node.g.emit("Softmax", flat, axis=-1), data.shape)


@mxnet_op("softmax_cross_entropy")
def softmax_cross_entropy(node: OpNode, data: Value, label: Value) -> Value:
    """The sum over rows of data (N, classes) of -log(softmax[label]), shape (1,); probabilities count from 1e-8 on."""
    g = node.g
    if data.rank != 2 or label.rank != 1:
        raise node.refuse(f"expected data (N, classes) and label (N), got {data} and {label}")
    logarithms = g.emit("LogSoftmax", data, axis=1)
    chosen = g.emit("GatherElements", logarithms, label.cast(np.int64).unsqueeze(1), axis=1)
    return -g.emit("Max", chosen, g.scalar(float(np.log(1e-8)), data)).reduce("ReduceSum", 0)
