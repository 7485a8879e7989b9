"""Sequences of different lengths in one tensor: SequenceMask, SequenceLast and SequenceReverse.

Time is axis 0 and the batch axis 1, or the other way around with `axis=1`. Without `use_sequence_length` all are whole.
Lengths are numbers of any dtype, cut towards zero.
"""

from __future__ import annotations

from converters.mxnet.ops.axes import counted
from converters.mxnet.ops.gathering import whole
from converters.mxnet.ops.kernels import number, select, widened
from converters.mxnet.ops.reversing import reversed_along
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

REVERSED = frozenset({"float32", "float64", "int32", "int64", "int8", "uint8", "uint32", "uint64", "bool"})
"""Types that ReverseSequence has kernels for."""


def _time_axis(node: OpNode, data: Value) -> int:
    axis: int = node.attrs.integer("axis", 0)
    if axis not in (0, 1) or data.rank < 2:
        raise node.refuse(f"expected axis 0 or 1 of a tensor of 2 axes or more, got axis {axis} of {data}")
    return axis


def _lengths(node: OpNode, sequence_length: Value | None) -> Value | None:
    """int64[batch], or None where every sequence is whole."""
    if not node.attrs.boolean("use_sequence_length", False):
        return None
    if sequence_length is None or sequence_length.rank != 1:
        raise node.refuse(f"expected lengths [batch], got {sequence_length}")
    return whole(sequence_length)


@mxnet_op("SequenceMask")
def sequence_mask(node: OpNode, data: Value, sequence_length: Value | None = None) -> Value:
    """`data` with `value` (default 0) at all times from the length on."""
    axis, lengths = _time_axis(node, data), _lengths(node, sequence_length)
    if lengths is None:
        return data
    times = counted(node, data.shape[axis]).unsqueeze(1 - axis)
    inside = node.g.emit("Less", times, lengths.unsqueeze(axis)).unsqueeze(*range(2, data.rank))
    return select(inside, data, number(node.attrs.number("value", 0.0), data))


@mxnet_op("SequenceLast")
def sequence_last(node: OpNode, data: Value, sequence_length: Value | None = None) -> Value:
    """The step before the length, without the axis of time."""
    axis, lengths = _time_axis(node, data), _lengths(node, sequence_length)
    if lengths is None:
        return data.slice(axis, -1).squeeze(axis)
    by_batch = data if axis == 1 else data.transpose(1, 0, *range(2, data.rank))
    return node.g.emit("GatherND", by_batch, (lengths - 1).unsqueeze(1), batch_dims=1)


@mxnet_op("SequenceReverse")
def sequence_reverse(node: OpNode, data: Value, sequence_length: Value | None = None) -> Value:
    """The first steps, up to the length, backwards, and the rest as it is; time is axis 0 here in every case."""
    axis, lengths = _time_axis(node, data), _lengths(node, sequence_length)
    if axis != 0:
        raise node.refuse("attribute 'axis': expected 0, as MXNet does")
    if lengths is None:
        return reversed_along(node, data, (0,))

    def compute(value: Value) -> Value:
        return node.g.emit("ReverseSequence", value, lengths, time_axis=0, batch_axis=1)

    return widened(compute, REVERSED, data)
