"""Tensors joined and split: Concat, stack, SliceChannel and `_split_v2`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from converters.mxnet.ops.axes import axis_of
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_PIECES = 4096
"""Outputs of a split."""


@mxnet_op("Concat")
def concat(node: OpNode, *data: Value) -> Value:
    """Joined along `dim` (default 1)."""
    return joined(node, data, node.attrs.integer("dim", 1), "dim")


def joined(node: OpNode, data: Sequence[Value], axis: int, attribute: str = "axis") -> Value:
    """The tensors one after the other along an axis they have."""
    place = axis_of(node, axis, data[0].rank, attribute)
    return node.g.emit("Concat", *data, axis=place) if len(data) > 1 else data[0]


@mxnet_op("stack", "_npi_stack")
def stack(node: OpNode, *data: Value) -> Value:
    """Joined along a new axis (default 0)."""
    axis = axis_of(node, node.attrs.integer("axis", 0), data[0].rank + 1)
    return joined(node, [value.unsqueeze(axis) for value in data], axis)


@mxnet_op("SliceChannel")
def slice_channel(node: OpNode, data: Value) -> list[Value]:
    """`num_outputs` equal pieces along `axis` (default 1); `squeeze_axis` drops the axis from pieces of size 1."""
    attrs = node.attrs
    axis = axis_of(node, attrs.integer("axis", 1), data.rank)
    pieces = equal_pieces(node, data, axis, attrs.integer("num_outputs"))
    return [piece.squeeze(axis) for piece in pieces] if attrs.boolean("squeeze_axis", False) else pieces


def equal_pieces(node: OpNode, data: Value, axis: int, count: int) -> list[Value]:
    """Pieces of one size; refuses a size that `count` does not divide, and more than `MAX_PIECES`."""
    if not 1 <= count <= MAX_PIECES:
        raise node.refuse(f"expected 1 to {MAX_PIECES} pieces, got {count}")
    if count == 1:
        return [data]
    size = data.shape[axis]
    if isinstance(size, int) and size % count:
        raise node.refuse(f"expected a size along axis {axis} that {count} divides, got {data}")
    return list(node.g.emit_many("Split", data, outputs=count, axis=axis, num_outputs=count))


def near_equal_pieces(node: OpNode, data: Value, axis: int, count: int) -> list[Value]:
    """As numpy's `array_split`: what is left over by the division makes the first pieces larger by one."""
    size = data.shape[axis]
    if isinstance(size, int) and size % count == 0:
        return equal_pieces(node, data, axis, count)
    if count > MAX_PIECES:
        raise node.refuse(f"expected at most {MAX_PIECES} pieces, got {count}")
    g = node.g
    sizes = g.emit("Div", g.size(size) + g.ints(*range(count - 1, -1, -1)), g.ints(count))
    return list(g.emit_many("Split", data, sizes, outputs=count, axis=axis))


def pieces_from(node: OpNode, data: Value, axis: int, starts: Sequence[int]) -> list[Value]:
    """Pieces that begin at 0 and at each of `starts`, as numpy's `split` cuts them."""
    if len(starts) >= MAX_PIECES:
        raise node.refuse(f"expected at most {MAX_PIECES} pieces, got {len(starts) + 1}")
    bounds = [0, *starts]
    cuts = [data.slice(axis, start, end) for start, end in pairwise(bounds)]
    return [*cuts, data.slice(axis, bounds[-1])]


@mxnet_op("_split_v2")
def split(node: OpNode, data: Value) -> list[Value]:
    """`sections` pieces along `axis`, as equal as can be, or pieces that begin at `indices`, whose first is 0."""
    return split_along(node, data, axis_of(node, node.attrs.integer("axis", 1), data.rank))


def split_along(node: OpNode, data: Value, axis: int) -> list[Value]:
    """Cut along an axis as the attributes `sections`, `indices` and `squeeze_axis` say."""
    attrs = node.attrs
    sections, starts = attrs.integer("sections", 0), attrs.integers("indices", ())
    pieces = (
        near_equal_pieces(node, data, axis, sections) if sections > 0 else pieces_from(node, data, axis, starts[1:])
    )
    return [piece.squeeze(axis) for piece in pieces] if attrs.boolean("squeeze_axis", False) else pieces
