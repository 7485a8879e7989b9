"""Elements in another order along their axes: reverse, and numpy's flip, roll and rot90."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from converters.mxnet.ops.axes import axes_of, axis_of
from converters.mxnet.ops.layout import swapped
from converters.mxnet.ops.slicing import ranged
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@mxnet_op("reverse", "_npi_flip")
def reverse(node: OpNode, data: Value) -> Value:
    """Backwards along the axes `axis`; without them numpy's flip along all, reverse along none."""
    axes = node.attrs.integers("axis", range(data.rank) if node.node.op == "_npi_flip" else ())
    return reversed_along(node, data, axes_of(node, axes, data.rank))


def reversed_along(node: OpNode, data: Value, axes: Iterable[int]) -> Value:
    """Backwards along some axes."""
    return ranged(node, data, dict.fromkeys(axes, (-1, -sys.maxsize, -1)))


@mxnet_op("_np_roll")
def roll(node: OpNode, data: Value) -> Value:
    """Shifted by `shift` along `axis`, around the end; without an axis through the flattened tensor."""
    shifts, axes = node.attrs.integers("shift"), node.attrs.integers("axis", None)
    if axes is None:
        flat = node.g.reshape(data, (node.g.product(data.shape),))
        return node.g.reshape(_rolled(node, flat, 0, sum(shifts)), data.shape)
    places = [axis_of(node, axis, data.rank) for axis in axes]
    count = max(len(shifts), len(places))
    for axis, shift in zip(_repeated(places, count), _repeated(shifts, count), strict=True):
        data = _rolled(node, data, axis, shift)
    return data


def _repeated(values: Iterable[int], count: int) -> list[int]:
    listed = list(values)
    return listed * count if len(listed) == 1 else listed


def _rolled(node: OpNode, data: Value, axis: int, shift: int) -> Value:
    """The last `shift` elements first; the shift may be negative or go around several times."""
    g, size = node.g, data.shape[axis]
    if size == 0 or shift == 0:
        return data
    if isinstance(size, int):
        cut = g.ints(-shift % size)
    else:
        cut = g.emit("Mod", g.ints(-shift), g.emit("Max", g.size(size), g.ints(1)))
    start, end = g.ints(0), g.ints(sys.maxsize)
    parts = (g.emit("Slice", data, cut, end, g.ints(axis)), g.emit("Slice", data, start, cut, g.ints(axis)))
    return g.emit("Concat", *parts, axis=axis, shape=data.shape)


@mxnet_op("_npi_rot90")
def rot90(node: OpNode, data: Value) -> Value:
    """Turned `k` times by a right angle in the plane of `axes`, from the first towards the second."""
    first, second = axes_of(node, node.attrs.integers("axes", (0, 1)), data.rank, "axes")
    turns = node.attrs.integer("k", 1) % 4
    if turns == 0:
        return data
    if turns == 2:
        return reversed_along(node, data, (first, second))
    if turns == 1:
        return swapped(reversed_along(node, data, (second,)), first, second)
    return reversed_along(node, swapped(data, first, second), (second,))
