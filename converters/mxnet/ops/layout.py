"""Axes moved, added and dropped: transpose, SwapAxis, expand_dims, squeeze, Flatten, and numpy's names for them."""

from __future__ import annotations

from collections.abc import Sequence

from converters.mxnet.ops.axes import axes_of, axis_of, known_size
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@mxnet_op("Flatten")
def flatten(node: OpNode, data: Value) -> Value:
    """`data[n, ...]` as `[n, rest]`; a vector becomes `[n, 1]`."""
    g = node.g
    return g.reshape(data, (data.shape[0], g.product(data.shape[1:])))


@mxnet_op("transpose", "_np_transpose")
def transpose(node: OpNode, data: Value, a: Value | None = None) -> Value:
    """Axes in the order `axes`; without it (also `()`) in reverse."""
    axes = node.attrs.integers("axes", tuple(range(data.rank))[::-1])
    return permuted(node, data, axes)


def permuted(node: OpNode, data: Value, axes: Sequence[int], attribute: str = "axes") -> Value:
    """The axes in another order, each of them once."""
    perm = axes_of(node, axes, data.rank, attribute)
    if len(perm) != data.rank:
        raise node.refuse(f"attribute {attribute!r}: expected {data.rank} axes, got {perm}")
    return data.transpose(*perm)


@mxnet_op("SwapAxis")
def swap_axis(node: OpNode, data: Value) -> Value:
    """Two axes exchanged: `dim1` and `dim2`, both 0 by default."""
    first = axis_of(node, node.attrs.integer("dim1", 0), data.rank, "dim1")
    second = axis_of(node, node.attrs.integer("dim2", 0), data.rank, "dim2")
    return swapped(data, first, second)


def swapped(data: Value, first: int, second: int) -> Value:
    """Two axes exchanged."""
    perm = list(range(data.rank))
    perm[first], perm[second] = second, first
    return data.transpose(*perm)


@mxnet_op("expand_dims")
def expand_dims(node: OpNode, data: Value) -> Value:
    """A new axis of size 1 at `axis` of the result."""
    return data.unsqueeze(axis_of(node, node.attrs.integer("axis"), data.rank + 1))


@mxnet_op("squeeze")
def squeeze(node: OpNode, data: Value) -> Value:
    """Without the axes of size 1, or those of `axis`; what has none left keeps one: the result has shape (1,) then."""
    axes = _squeezed(node, data)
    return data.squeeze(*(axes[1:] if len(axes) == data.rank else axes))


@mxnet_op("_np_squeeze")
def np_squeeze(node: OpNode, a: Value) -> Value:
    """As `squeeze`, but with nothing left the result is a scalar."""
    return a.squeeze(*_squeezed(node, a))


def _squeezed(node: OpNode, data: Value) -> tuple[int, ...]:
    axes = node.attrs.integers("axis", None)
    if axes is None:
        # A first axis of unknown size is the batch, and stays.
        first = int(bool(data.shape) and isinstance(data.shape[0], str))
        return tuple(axis for axis in range(first, data.rank) if known_size(node, data, axis) == 1)
    found = axes_of(node, axes, data.rank)
    for axis in found:
        if data.shape[axis] not in (1,) and isinstance(data.shape[axis], int):
            raise node.refuse(f"attribute 'axis': expected axes of size 1, got axis {axis} of {data}")
    return found


@mxnet_op("_np_moveaxis")
def move_axis(node: OpNode, a: Value) -> Value:
    """The axes `source` at the places `destination`; the others keep their order."""
    source = axes_of(node, node.attrs.integers("source"), a.rank, "source")
    destination = axes_of(node, node.attrs.integers("destination"), a.rank, "destination")
    perm = [axis for axis in range(a.rank) if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        perm.insert(place, axis)
    return a.transpose(*perm)
