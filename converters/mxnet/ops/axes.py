"""Axes, sizes and shapes as attributes give them, checked: a broken file may hold any number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from converters.mxnet.registry import OpNode
from converters.mxnet.values import Size, Value

MAX_ELEMENTS = 1 << 28
"""Of a tensor that an operator makes larger than its inputs. Nothing sensible comes near, a broken file may."""
MAX_STORED = 1 << 22
"""Of one that is calculated here and stored in the model."""


def axis_of(node: OpNode, axis: int, rank: int, attribute: str = "axis") -> int:
    """The axis counted from the front; refuses one that a tensor of `rank` does not have."""
    if not -rank <= axis < rank:
        raise node.refuse(f"attribute {attribute!r}: expected an axis of a {rank}-D tensor, got {axis}")
    return axis + rank if axis < 0 else axis


def axes_of(node: OpNode, axes: Iterable[int], rank: int, attribute: str = "axis") -> tuple[int, ...]:
    """Several axes, in the order given; refuses one that is named twice."""
    found = tuple(axis_of(node, axis, rank, attribute) for axis in axes)
    if len(set(found)) != len(found):
        raise node.refuse(f"attribute {attribute!r}: expected different axes, got {found}")
    return found


def known_size(node: OpNode, value: Value, axis: int) -> int:
    """The size along an axis, where a translation can't do without the number."""
    size = value.shape[axis]
    if isinstance(size, str):
        raise node.refuse(f"the size of its input {value} along axis {axis} must be known: declare it under `inputs:`")
    return size


def sides(node: OpNode, attribute: str, most: int) -> tuple[int, int]:
    """Height and width that an attribute gives; refuses one beyond `most`."""
    height, width = node.attrs.integers(attribute)
    if not (0 < height <= most and 0 < width <= most):
        raise node.refuse(f"attribute {attribute!r}: expected 1 to {most} a side, got ({height}, {width})")
    return height, width


def bounded(node: OpNode, sizes: Iterable[Size], most: int = MAX_ELEMENTS) -> tuple[Size, ...]:
    """The sizes, if a tensor of them has at most so many elements."""
    shape = tuple(sizes)
    count = math.prod(size for size in shape if isinstance(size, int))
    if count > most or any(isinstance(size, int) and size < 0 for size in shape):
        raise node.refuse(f"expected a shape of at most {most} elements, got ({', '.join(map(str, shape))})")
    return shape


def counted(node: OpNode, size: Size) -> Value:
    """int64[size]: 0, 1, 2, .."""
    g = node.g
    bounded(node, [size])
    return g.emit("Range", g.const(0, "int64"), g.size(size).squeeze(0), g.const(1, "int64"), shape=(size,))


def expect_shape(node: OpNode, name: str, value: Value, expected: Sequence[Size]) -> None:
    """Refuses a value, called `name` in the operator's documentation, whose known sizes are others than `expected`."""
    if value.rank != len(expected) or not all(map(_fits, value.shape, expected)):
        shape = ", ".join(map(str, expected))
        raise node.refuse(f"input {name!r}: expected the shape ({shape}), got {value}")


def _fits(size: Size, expected: Size) -> bool:
    return isinstance(size, str) or isinstance(expected, str) or size == expected
