"""Ranges along axes: slice, slice_axis, slice_like, Crop, and assignments to a range."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from converters.mxnet.ops.axes import axes_of, axis_of, counted
from converters.mxnet.ops.kernels import number
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

Range = tuple[int, int, int]
"""Start, end and step, in numpy's sense; the ends of int64 stand for None."""


@mxnet_op("slice")
def slice_(node: OpNode, data: Value) -> Value:
    """`data[begin:end:step]` on each leading axis; entries may be None, steps negative, and bounds clamp."""
    return ranged(node, data, _ranges(node, data.rank))


def _ranges(node: OpNode, rank: int) -> dict[int, Range]:
    """The range on each axis of the attributes `begin`, `end` and `step`."""
    attrs = node.attrs
    begins, ends = attrs.optional_integers("begin"), attrs.optional_integers("end")
    steps = attrs.optional_integers("step", ()) or (None,) * len(begins)
    if not len(begins) == len(ends) == len(steps) or len(begins) > rank:
        raise node.refuse(
            f"expected as many of 'begin', 'end' and 'step', at most {rank}, got {begins}, {ends}, {steps}"
        )
    return {axis: _range(node, *bounds) for axis, bounds in enumerate(zip(begins, ends, steps, strict=True))}


def _range(node: OpNode, begin: int | None, end: int | None, step: int | None) -> Range:
    if step == 0:
        raise node.refuse("attribute 'step': a step can't be 0")
    whole = (0, sys.maxsize) if step is None or step > 0 else (sys.maxsize, -sys.maxsize)
    return whole[0] if begin is None else begin, whole[1] if end is None else end, 1 if step is None else step


def ranged(node: OpNode, data: Value, ranges: Mapping[int, Range]) -> Value:
    """`data` on a range of some axes."""
    wanted = {axis: bounds for axis, bounds in ranges.items() if bounds != (0, sys.maxsize, 1)}
    if not wanted:
        return data
    g = node.g
    starts, ends, steps = (g.ints(*column) for column in zip(*wanted.values(), strict=True))
    return g.emit("Slice", data, starts, ends, g.ints(*wanted), steps)


@mxnet_op("slice_axis")
def slice_axis(node: OpNode, data: Value) -> Value:
    """`begin` to `end` along one axis; negative bounds count from its end, and an `end` of None is its end."""
    attrs = node.attrs
    axis = axis_of(node, attrs.integer("axis"), data.rank)
    return ranged(node, data, {axis: (attrs.integer("begin"), attrs.integer("end", sys.maxsize), 1)})


@mxnet_op("slice_like")
def slice_like(node: OpNode, data: Value, shape_like: Value) -> Value:
    """`data` cut at the end to the sizes of `shape_like`, along `axes`: all by default."""
    axes = axes_of(node, node.attrs.integers("axes", range(data.rank)), data.rank, "axes")
    if "axes" not in node.attrs and data.rank != shape_like.rank:
        raise node.refuse(f"without 'axes', expected inputs of one rank, got {data} and {shape_like}")
    return window(node, data, {axis: (0, shape_like.shape[axis]) for axis in axes})


def window(node: OpNode, data: Value, windows: Mapping[int, tuple[Value | int, Size]]) -> Value:
    """A start and a size on some axes, where either may be known only when the graph runs."""
    g = node.g
    starts, ends = [], []
    for axis, (start, size) in windows.items():
        have = data.shape[axis]
        if isinstance(size, int) and isinstance(have, int) and isinstance(start, int) and start + size > have:
            raise node.refuse(f"expected at most {have} along axis {axis} of {data}, got {start} to {start + size}")
        first = g.ints(start) if isinstance(start, int) else start
        starts.append(first)
        ends.append(g.ints(start + size) if isinstance(start, int) and isinstance(size, int) else first + g.size(size))
    shape = [windows[axis][1] if axis in windows else size for axis, size in enumerate(data.shape)]
    bounds = (_vector(node, starts), _vector(node, ends), g.ints(*windows))
    return data if tuple(shape) == data.shape else g.emit("Slice", data, *bounds, shape=shape)


def _vector(node: OpNode, values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else node.g.emit("Concat", *values, axis=0)


@mxnet_op("Crop")
def crop(node: OpNode, data: Value, crop_like: Value | None = None) -> Value:
    """A part of `data[n, c, h, w]` as large as `h_w` or as `crop_like`, from `offset` on, or centred."""
    attrs = node.attrs
    if data.rank != 4:
        raise node.refuse(f"expected [n, c, h, w], got {data}")
    sizes = attrs.integers("h_w", (0, 0)) if crop_like is None else crop_like.shape[2:4]
    offset = attrs.integers("offset", (0, 0))
    if len(sizes) != 2 or len(offset) != 2 or 0 in sizes or min(offset) < 0:
        raise node.refuse(f"expected a size above 0 and an offset for height and width, got {sizes} and {offset}")
    starts = [
        _centre(node, data.shape[2 + i], sizes[i]) if attrs.boolean("center_crop", False) else offset[i] for i in (0, 1)
    ]
    return window(node, data, {2 + i: (starts[i], sizes[i]) for i in (0, 1)})


def _centre(node: OpNode, whole: Size, part: Size) -> Value | int:
    if isinstance(whole, int) and isinstance(part, int):
        return (whole - part) // 2
    g = node.g
    return g.emit("Div", g.size(whole) - g.size(part), g.ints(2))


@mxnet_op("_slice_assign")
def slice_assign(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """`lhs` with `rhs` in the range that `begin`, `end` and `step` say, as for `slice`."""
    return _assigned(node, lhs, rhs)


@mxnet_op("_slice_assign_scalar")
def slice_assign_scalar(node: OpNode, data: Value) -> Value:
    """`data` with one number in the range that `begin`, `end` and `step` say, as for `slice`."""
    return _assigned(node, data, number(node.attrs.number("scalar", 0.0), data))


def _assigned(node: OpNode, data: Value, new: Value) -> Value:
    """The range of the elements' numbers says where the new elements go."""
    g = node.g
    numbers = counted(node, g.product(data.shape))
    places = ranged(node, g.reshape(numbers, data.shape), _ranges(node, data.rank))
    updates = g.emit("Expand", new, g.emit("Shape", places))
    flat = [g.emit("Reshape", value, g.ints(-1)) for value in (data, places, updates)]
    return g.emit("Reshape", g.emit("ScatterElements", *flat, axis=0), g.sizes(data.shape), shape=data.shape)
