"""Image preprocessing that was exported with a net: `mx.gluon.data.vision.transforms` as operators.

Images are [h, w, c] or a batch [n, h, w, c], uint8 or float32, until `_image_to_tensor` puts the channels first.
Sources followed: MXNet 1.9.1, src/operator/image/, the resizing of OpenCV that it calls, and their outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_SIDE = 1 << 16
_UNIT_BITS = 11
"""OpenCV's weights for uint8 are whole numbers of 1 / 2**11."""


@mxnet_op("_image_to_tensor")
def to_tensor(node: OpNode, data: Value) -> Value:
    """[h, w, c] or [n, h, w, c] to float32 with the channels before h, divided by 255 (floats too)."""
    _images(node, data)
    leading = range(data.rank - 3)
    channels = data.rank - 1
    return data.transpose(*leading, channels, channels - 2, channels - 1).cast(np.float32) / 255


@mxnet_op("_image_normalize")
def normalize(node: OpNode, data: Value) -> Value:
    """(data - mean) / std for each channel of [c, h, w] or [n, c, h, w]; one number stands for all channels."""
    mean, std = node.attrs.numbers("mean", (0.0,) * 4), node.attrs.numbers("std", (1.0,) * 4)
    channels = data.shape[-3]
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) != 1 and isinstance(channels, int) and len(numbers) != channels:
            raise node.refuse(
                f"attribute {name!r}: expected 1 number, or one for each channel of {data}, got {numbers}"
            )
    shape = (-1, 1, 1)
    centred = data - node.g.const(np.reshape(mean, shape), data.dtype)
    return centred / node.g.const(np.reshape(std, shape), data.dtype)


@mxnet_op("_image_crop")
def crop(node: OpNode, data: Value) -> Value:
    """The part of [.., h, w, c] from column `x` and row `y` on, `width` times `height`."""
    _images(node, data)
    x, y, width, height = (node.attrs.integer(name) for name in ("x", "y", "width", "height"))
    if min(x, y) < 0 or min(width, height) < 1:
        raise node.refuse(f"can't cut {width} x {height} pixels at ({x}, {y})")
    for axis, (end, name) in ((data.rank - 2, (x + width, "columns")), (data.rank - 3, (y + height, "rows"))):
        size = data.shape[axis]
        if isinstance(size, int) and end > size:
            raise node.refuse(f"expected at least {end} {name}, got {data}")
    return data.slice(data.rank - 2, x, x + width).slice(data.rank - 3, y, y + height)


def _images(node: OpNode, data: Value) -> None:
    if data.rank not in (3, 4):
        raise node.refuse(f"expected [h, w, c] or [n, h, w, c], got {data}")


@mxnet_op("_image_resize")
def resize(node: OpNode, data: Value) -> Value:
    """[.., h, w, c] to `size`: (width, height), a square for one number, or, with `keep_ratio`, the shorter side.

    `interp` 1 (default) is bilinear by centres of pixels, 0 the nearest pixel; others are refused. As OpenCV computes
    uint8: with weights in whole numbers, which can be 1 away from the rounded exact result.
    """
    _images(node, data)
    interp = node.attrs.integer("interp", 1)
    if interp not in (0, 1):
        raise node.refuse(f"attribute 'interp': expected 0 (nearest) or 1 (bilinear), got {interp}")
    rows, columns = data.rank - 3, data.rank - 2
    width, height = _target(node, data.shape[columns], data.shape[rows])
    if interp == 0:
        data = node.g.emit("Gather", data, _nearest(node, data.shape[rows], height), axis=rows)
        return node.g.emit("Gather", data, _nearest(node, data.shape[columns], width), axis=columns)
    x, y = _taps(node, data.shape[columns], width), _taps(node, data.shape[rows], height)
    if data.dtype == np.uint8:
        return _whole(data, (columns, x), (rows, y))
    return _mixed(_mixed(data, columns, x), rows, y)


def _target(node: OpNode, width: Size, height: Size) -> tuple[Value, Value]:
    """The new width and height, int64[1] each."""
    g = node.g
    size = node.attrs.integers("size")
    if len(size) not in (1, 2) or not all(0 < side <= MAX_SIDE for side in size):
        raise node.refuse(f"attribute 'size': expected 1 to {MAX_SIDE} for one or both sides, got {size}")
    if len(size) == 2 or not node.attrs.boolean("keep_ratio", False):
        return g.ints(size[0]), g.ints(size[-1])
    old_width, old_height = g.size(width), g.size(height)
    shorter = g.emit("Min", old_width, old_height)
    return old_width * size[0] / shorter, old_height * size[0] / shorter


@dataclass(frozen=True)
class _Taps:
    """The two pixels that each new pixel mixes, int64[n], and how much of the second, float32[n]."""

    first: Value
    second: Value
    weight: Value

    def spread(self, weight: Value, data: Value, axis: int) -> Value:
        """The weights along an axis of the data."""
        return weight.unsqueeze(*(place for place in range(1, data.rank - axis)))


def _counted(node: OpNode, count: Value) -> Value:
    g = node.g
    return g.emit("Range", g.const(0, np.int64), count.squeeze(0), g.const(1, np.int64)).cast(np.float64)


def _ratio(node: OpNode, old: Size, new: Value) -> Value:
    return node.g.size(old).cast(np.float64) / new.cast(np.float64)


def _nearest(node: OpNode, old: Size, new: Value) -> Value:
    places = node.g.emit("Floor", _counted(node, new) * _ratio(node, old, new)).cast(np.int64)
    return node.g.emit("Min", places, node.g.size(old) - 1)


def _taps(node: OpNode, old: Size, new: Value) -> _Taps:
    """Places beyond the first or last pixel mix that pixel with itself: with whole weights that can lose a unit."""
    g = node.g
    places = ((_counted(node, new) + 0.5) * _ratio(node, old, new) - 0.5).cast(np.float32)
    floor = g.emit("Floor", places)
    last, zero = g.size(old) - 1, g.ints(0)
    first, second = (g.emit("Max", g.emit("Min", floor.cast(np.int64) + far, last), zero) for far in (0, 1))
    return _Taps(first, second, places - floor)


def _mixed(data: Value, axis: int, taps: _Taps) -> Value:
    g = data.g
    first, second = (g.emit("Gather", data, places, axis=axis) for places in (taps.first, taps.second))
    weight = taps.spread(taps.weight, data, axis).cast(data.dtype)
    return first * (1 - weight) + second * weight


def _units(taps: _Taps, data: Value, axis: int) -> tuple[Value, Value]:
    """Both weights in whole units, rounded half to even, int32."""
    g = data.g
    weight = taps.spread(taps.weight, data, axis)
    first, second = (g.emit("Round", part * (1 << _UNIT_BITS)).cast(np.int32) for part in (1 - weight, weight))
    return first, second


def _whole(data: Value, x: tuple[int, _Taps], y: tuple[int, _Taps]) -> Value:
    """OpenCV's arithmetic on uint8: products of pixel and weight lose 4 bits, then 16, and the sum is rounded."""
    g = data.g
    (columns, across), (rows, down) = x, y
    wide = data.cast(np.int32)
    left, right = _units(across, data, columns)
    mixed = g.emit("Gather", wide, across.first, axis=columns) * left
    mixed = (mixed + g.emit("Gather", wide, across.second, axis=columns) * right) / 16
    top, bottom = _units(down, data, rows)
    upper = g.emit("Gather", mixed, down.first, axis=rows) * top / 65536
    lower = g.emit("Gather", mixed, down.second, axis=rows) * bottom / 65536
    return ((upper + lower + 2) / 4).cast(np.uint8)
