"""Pad and numpy's pad: constants, edges and mirrors around a tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from converters.mxnet.ops.axes import MAX_STORED, bounded, known_size
from converters.mxnet.ops.expanding import expanded
from converters.mxnet.ops.kernels import number, widened
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

Widths = Sequence[tuple[int, int]]
"""Elements before and after, for each axis."""
PADDED = frozenset({"float32", "float64", "int32", "int64", "uint32", "uint64", "int8", "uint8", "bool"})
"""Types that Pad has kernels for."""
REDUCED = frozenset({"float32", "float64", "int32", "int64", "int8", "uint8"})
"""Types that ReduceMax has kernels for."""
AlongAxis = Callable[[OpNode, Value, int, tuple[int, int]], Value]
"""Pads one axis by so many elements before and after."""


@mxnet_op("Pad")
def pad(node: OpNode, data: Value) -> Value:
    """`pad_width` holds before and after of each axis in turn; the first two of the 4 or 5 axes have none."""
    flat = node.attrs.integers("pad_width")
    mode = node.attrs.text("mode")
    if data.rank not in (4, 5) or len(flat) != 2 * data.rank or any(flat[:4]) or min(flat) < 0:
        raise node.refuse(f"expected [n, c, ...] of 4 or 5 axes and widths after the first two, got {data} and {flat}")
    if mode not in ("constant", "edge", "reflect"):
        raise node.refuse(f"attribute 'mode': expected constant, edge or reflect, got {mode!r}")
    return padded(node, data, list(zip(flat[::2], flat[1::2], strict=True)), mode)


def padded(node: OpNode, data: Value, widths: Widths, mode: str) -> Value:
    """By a mode of ONNX's; `constant_value` is the node's."""
    g = node.g
    for axis, (size, width) in enumerate(zip(data.shape, widths, strict=True)):
        if mode == "reflect" and isinstance(size, int) and max(width) >= size:
            raise node.refuse(
                f"mode 'reflect': expected less than {size} elements along axis {axis} of {data}, got {width}"
            )
    shape = _grown(node, data, widths)
    amounts = g.ints(*(before for before, _ in widths), *(after for _, after in widths))
    fill = node.attrs.number("constant_value", 0.0)

    def compute(value: Value) -> Value:
        constant = number(fill, value) if mode == "constant" else None
        return g.emit("Pad", value, amounts, constant, mode=mode, shape=shape)

    return data if shape == data.shape else widened(compute, PADDED, data)


def _grown(node: OpNode, data: Value, widths: Widths) -> tuple[int | str, ...]:
    """The shape with padding; a size that is unknown gets a new name."""

    def size(axis: int) -> int | str:
        old, width = data.shape[axis], sum(widths[axis])
        if isinstance(old, int):
            return old + width
        return node.g.new_size(lambda: node.g.size(old) + width) if width else old

    return bounded(node, [size(axis) for axis in range(data.rank)])


@mxnet_op("_npi_pad")
def np_pad(node: OpNode, data: Value) -> Value:
    """`pad_width` is a pair for each axis; modes constant, edge, reflect, symmetric, maximum and minimum."""
    found = [int(number) for number in re.findall(r"-?\d+", node.attrs.text("pad_width"))]
    mode = node.attrs.text("mode", "constant")
    if len(found) != 2 * data.rank or min(found, default=0) < 0:
        raise node.refuse(f"attribute 'pad_width': expected {data.rank} pairs, got {node.attrs.text('pad_width')}")
    if node.attrs.text("reflect_type", "even") != "even":
        raise node.refuse("attribute 'reflect_type': expected 'even'")
    widths = list(zip(found[::2], found[1::2], strict=True))
    if mode in ("constant", "edge"):
        return padded(node, data, widths, mode)
    for axis, width in enumerate(widths):
        data = _BY_AXIS[mode](node, data, axis, width) if any(width) else data
    return data


def _mirror(mode: str) -> AlongAxis:
    """The elements from the end inwards, with the last one (`symmetric`) or without it (`reflect`), again and again."""

    def mirrored(node: OpNode, data: Value, axis: int, width: tuple[int, int]) -> Value:
        if mode == "reflect" and isinstance(data.shape[axis], str):
            # ONNX Runtime tells when the size turns out to be too small; it knows no symmetric padding.
            return padded(node, data, [width if place == axis else (0, 0) for place in range(data.rank)], mode)
        size = known_size(node, data, axis)
        bounded(node, (size + sum(width),), MAX_STORED)
        places = np.pad(np.arange(size), width, mode)  # type: ignore[call-overload]
        return node.g.emit("Gather", data, node.g.const(places), axis=axis)

    return mirrored


def _extreme(op: str) -> AlongAxis:
    """The largest or smallest element along the axis."""

    def extended(node: OpNode, data: Value, axis: int, width: tuple[int, int]) -> Value:
        best = widened(lambda value: value.reduce(op, axis, keepdims=True), REDUCED, data)
        before, after = data.shape[:axis], data.shape[axis + 1 :]
        first, last = ([expanded(node, best, (*before, count, *after))] if count else [] for count in width)
        return node.g.emit("Concat", *first, data, *last, axis=axis)

    return extended


_BY_AXIS: Mapping[str, AlongAxis] = {
    "reflect": _mirror("reflect"),
    "symmetric": _mirror("symmetric"),
    "maximum": _extreme("ReduceMax"),
    "minimum": _extreme("ReduceMin"),
}
