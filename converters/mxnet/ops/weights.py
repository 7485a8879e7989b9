"""Shapes that parameters must have."""

from __future__ import annotations

from collections.abc import Sequence

from converters.mxnet.registry import OpNode
from converters.mxnet.values import Size, Value


def expect_shape(node: OpNode, name: str, value: Value, expected: Sequence[Size]) -> None:
    """Refuses a value, called `name` in the operator's documentation, whose known sizes are others than `expected`."""
    if value.rank != len(expected) or not all(map(_fits, value.shape, expected)):
        shape = ", ".join(map(str, expected))
        raise node.refuse(f"input {name!r}: expected the shape ({shape}), got {value}")


def _fits(size: Size, expected: Size) -> bool:
    return isinstance(size, str) or isinstance(expected, str) or size == expected
