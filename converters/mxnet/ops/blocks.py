"""Blocks of an image moved between its axes: depth_to_space, space_to_depth, im2col and col2im."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.axes import MAX_STORED, bounded, known_size
from converters.mxnet.ops.expanding import expanded
from converters.mxnet.ops.reshaping import quotient
from converters.mxnet.ops.slicing import window
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_WINDOW = 1 << 12
"""Elements of a kernel window, and pixels along the side of a block."""


@mxnet_op("depth_to_space")
def depth_to_space(node: OpNode, data: Value) -> Value:
    """Channels `(b, b, c)`, the block's rows slowest, become blocks of `b * b` pixels (the mode DCR of ONNX)."""
    (count, channels, height, width), block = _image(node, data)
    depth = quotient(node, [channels], [block * block])
    apart = node.g.reshape(data, (count, block, block, depth, height, width)).transpose(0, 3, 4, 1, 5, 2)
    product = node.g.product
    return node.g.reshape(apart, (count, depth, product((height, block)), product((width, block))))


@mxnet_op("space_to_depth")
def space_to_depth(node: OpNode, data: Value) -> Value:
    """The opposite of `depth_to_space`."""
    (count, channels, height, width), block = _image(node, data)
    rows, columns = quotient(node, [height], [block]), quotient(node, [width], [block])
    apart = node.g.reshape(data, (count, channels, rows, block, columns, block)).transpose(0, 3, 5, 1, 2, 4)
    return node.g.reshape(apart, (count, node.g.product((channels, block * block)), rows, columns))


def _image(node: OpNode, data: Value) -> tuple[tuple[Size, ...], int]:
    block = node.attrs.integer("block_size")
    if data.rank != 4 or not 1 <= block <= MAX_WINDOW:
        raise node.refuse(f"expected [n, c, h, w] and a block_size of 1 to {MAX_WINDOW}, got {data} and {block}")
    return data.shape, block


class Windows:
    """The windows of a kernel over an image: `kernel`, `stride`, `dilate` and `pad`, one number an axis each."""

    def __init__(self, node: OpNode, rank: int) -> None:
        attrs = node.attrs
        self.kernel: tuple[int, ...] = attrs.integers("kernel")
        count = len(self.kernel)
        self.stride: tuple[int, ...] = attrs.integers("stride", (1,) * count)
        self.dilate: tuple[int, ...] = attrs.integers("dilate", (1,) * count)
        self.pad: tuple[int, ...] = attrs.integers("pad", (0,) * count)
        lengths = {count, len(self.stride), len(self.dilate), len(self.pad), rank}
        if len(lengths) > 1 or min(self.kernel + self.stride + self.dilate, default=0) < 1 or min(self.pad) < 0:
            raise node.refuse(f"expected kernel, stride, dilate and pad of {rank} numbers for {rank} spatial axes")
        if math.prod(self.kernel) > MAX_WINDOW:
            raise node.refuse(f"attribute 'kernel': expected at most {MAX_WINDOW} elements, got {self.kernel}")

    def positions(self, sizes: Sequence[int]) -> list[int]:
        """How many windows lie along each axis of an image of these sizes."""
        together = zip(sizes, self.kernel, self.stride, self.dilate, self.pad, strict=True)
        return [
            (size + 2 * pad - dilate * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, dilate, pad in together
        ]

    def pixels(self, node: OpNode, sizes: Sequence[int]) -> np.ndarray:
        """int64[window elements, windows]: the number of the padded image's pixel for each of them."""
        counts = self.positions(sizes)
        if min(counts) < 1:
            raise node.refuse(f"expected a kernel that fits the padded image of {tuple(sizes)}, got {self.kernel}")
        bounded(node, (math.prod(self.kernel), math.prod(counts)), MAX_STORED)
        padded = [size + 2 * pad for size, pad in zip(sizes, self.pad, strict=True)]
        numbers = np.zeros((1,) * (2 * len(sizes)), np.int64)
        for axis, size in enumerate(padded):
            along = (
                np.arange(self.kernel[axis])[:, None] * self.dilate[axis] + np.arange(counts[axis]) * self.stride[axis]
            )
            shape = [1] * numbers.ndim
            shape[axis], shape[axis + len(sizes)] = along.shape
            numbers = numbers * size + along.reshape(shape)
        return numbers.reshape(math.prod(self.kernel), math.prod(counts))


@mxnet_op("im2col")
def im2col(node: OpNode, data: Value) -> Value:
    """The windows of `data[n, c, ...]` as columns: `[n, c * window elements, windows]`."""
    windows, sizes, count = _windows(node, data, [known_size(node, data, axis) for axis in range(2, data.rank)])
    g, channels = node.g, data.shape[1]
    pixels = windows.pixels(node, sizes)
    amounts = g.ints(0, 0, *windows.pad, 0, 0, *windows.pad)
    padded = g.emit("Pad", data, amounts) if any(windows.pad) else data
    flat = g.reshape(padded, (data.shape[0], channels, count))
    columns = g.emit("Gather", flat, g.const(pixels), axis=2)
    return g.reshape(columns, (data.shape[0], g.product((channels, len(pixels))), pixels.shape[1]))


@mxnet_op("col2im")
def col2im(node: OpNode, data: Value) -> Value:
    """The image of `output_size` whose pixels are the sums of the columns' elements that come from them."""
    windows, sizes, count = _windows(node, data, list(node.attrs.integers("output_size")))
    g, pixels = node.g, windows.pixels(node, sizes)
    channels = quotient(node, [data.shape[1]], [len(pixels)])
    rows = g.product((data.shape[0], channels))
    columns = g.reshape(data, (rows, pixels.size)).transpose(1, 0)
    blank = expanded(node, g.scalar(0, data), (count, rows))
    image = g.emit("ScatterND", blank, g.const(pixels.reshape(-1, 1)), columns, reduction="add").transpose(1, 0)
    padded = [size + 2 * pad for size, pad in zip(sizes, windows.pad, strict=True)]
    cut = g.reshape(image, (data.shape[0], channels, *padded))
    return window(node, cut, {2 + axis: (pad, sizes[axis]) for axis, pad in enumerate(windows.pad)})


def _windows(node: OpNode, data: Value, sizes: list[int]) -> tuple[Windows, list[int], int]:
    windows = Windows(node, len(sizes))
    return windows, sizes, math.prod(size + 2 * pad for size, pad in zip(sizes, windows.pad, strict=True))
