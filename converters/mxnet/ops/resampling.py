"""Feature maps in another size: interpolation, repetition, adaptive means.

Sources followed: MXNet 1.9.1, src/operator/contrib/bilinear_resize-inl.h, nn/upsampling.cc,
contrib/adaptive_avg_pooling.cc, and their outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from converters.mxnet.ops.axes import counted, known_size
from converters.mxnet.ops.kernels import single
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_SIDE = 1 << 16
"""Of an output that an attribute gives."""


def resized(node: OpNode, data: Value, height: Size, width: Size, *, align_corners: bool) -> Value:
    """data[n, c, h, w] interpolated linearly; without `align_corners` by the centres of pixels.

    An output of one pixel reads the first one, in both ways: that is ONNX's `pytorch_half_pixel`.
    """
    places = "align_corners" if align_corners else "pytorch_half_pixel"
    sizes = node.g.sizes((height, width))
    modes = {"mode": "linear", "coordinate_transformation_mode": places, "axes": [2, 3]}
    return single("Resize", data, None, None, sizes, shape=(*data.shape[:2], height, width), **modes)


def _computed(node: OpNode, size: Size, known: Callable[[int], int], measure: Callable[[Value], Value]) -> Size:
    """A size from another one: here when that is known, else in the graph, of its int64[1]."""
    return known(size) if isinstance(size, int) else node.g.new_size(lambda: measure(node.g.size(size)))


def _product(size: int, scale: float) -> int:
    with np.errstate(all="ignore"):
        return int(np.float32(size) * np.float32(scale))


def _scaled(node: OpNode, size: Size, scale: float) -> Size:
    """`int(size * scale)`, in float32 as MXNet computes it."""

    def measure(value: Value) -> Value:
        return (value.cast(np.float32) * scale).cast(np.int64)

    return _computed(node, size, lambda known: _product(known, scale), measure)


def _odd_scaled(node: OpNode, size: Size, scale: float) -> Size:
    """Even sizes scaled, odd ones so that first and last pixel stay where they are."""

    def known(size: int) -> int:
        odd = size % 2
        return _product(size - odd, scale) + odd

    def measure(value: Value) -> Value:
        odd = node.g.emit("Mod", value, node.g.ints(2))
        return ((value - odd).cast(np.float32) * scale).cast(np.int64) + odd

    return _computed(node, size, known, measure)


def _to_parity(odd: int, up: int) -> Callable[[OpNode, Size], Size]:
    """The next size at most (`up` 0) or at least (1) that is even (`odd` 0) or odd (1)."""

    def size_of(node: OpNode, size: Size) -> Size:
        step = 1 if up else -1

        def measure(value: Value) -> Value:
            return value + node.g.emit("Mod", value + odd, node.g.ints(2)) * step

        return _computed(node, size, lambda known: known + (known + odd) % 2 * step, measure)

    return size_of


_PARITIES = {"to_even_down": (0, 0), "to_even_up": (0, 1), "to_odd_down": (1, 0), "to_odd_up": (1, 1)}


@mxnet_op("_contrib_BilinearResize2D")
def bilinear_resize(node: OpNode, data: Value, like: Value | None = None) -> Value:
    """data[n, c, h, w] interpolated to another height and width; `align_corners` is True by default.

    `mode` size: `height` and `width`, or scaled by `scale_height` and `scale_width` where given; odd_scale; like: as
    the second input; to_even_down and its like: the next such size.
    """
    mode = node.attrs.text("mode", "size")
    height, width = _target(node, mode, data, like)
    for size in (height, width):
        if isinstance(size, int) and not 0 < size <= MAX_SIDE:
            raise node.refuse(f"expected a size of 1 to {MAX_SIDE}, got {height} x {width}")
    return resized(node, data, height, width, align_corners=node.attrs.boolean("align_corners", True))


def _target(node: OpNode, mode: str, data: Value, like: Value | None) -> tuple[Size, Size]:
    attrs = node.attrs
    height, width = data.shape[2:]
    scales = attrs.number("scale_height", None), attrs.number("scale_width", None)
    if mode == "size":
        sizes = [attrs.integer("height", 1), attrs.integer("width", 1)]
        pairs = zip((height, width), scales, sizes, strict=True)
        rows, columns = (size if scale is None else _scaled(node, old, scale) for old, scale, size in pairs)
        return rows, columns
    if mode == "odd_scale":
        if scales[0] is None or scales[1] is None:
            raise node.refuse("mode odd_scale: expected scale_height and scale_width")
        return _odd_scaled(node, height, scales[0]), _odd_scaled(node, width, scales[1])
    if mode == "like":
        if like is None:
            raise node.refuse("mode like: expected a second input")
        return like.shape[2], like.shape[3]
    if mode not in _PARITIES:
        raise node.refuse(f"attribute 'mode': expected size, odd_scale, like or {', '.join(_PARITIES)}, got {mode!r}")
    size_of = _to_parity(*_PARITIES[mode])
    return size_of(node, height), size_of(node, width)


@mxnet_op("UpSampling")
def upsampling(node: OpNode, *data: Value) -> Value:
    """data[n, c, h, w] `scale` times as large.

    nearest repeats pixels; several inputs are all brought to `scale` times the size of the first, each repeated a whole
    number of times, and then joined over channels, or added with `multi_input_mode` sum. bilinear has a weight
    [c, 1, k, k] as its second input: a transposed convolution of each channel by itself.
    """
    scale = node.attrs.integer("scale")
    if not 0 < scale <= 1024:
        raise node.refuse(f"attribute 'scale': expected 1 to 1024, got {scale}")
    kind = node.attrs.text("sample_type")
    if kind == "bilinear":
        first, weight = data
        return _interpolated(node, first, weight, scale)
    if kind != "nearest":
        raise node.refuse(f"attribute 'sample_type': expected nearest or bilinear, got {kind!r}")
    g = node.g
    made = [_repeated(node, each, _factor(node, data[0], each, scale)) for each in data]
    if len(made) == 1:
        return made[0]
    if node.attrs.text("multi_input_mode", "concat") == "sum":
        return g.emit("Sum", *made)
    return g.emit("Concat", *made, axis=1)


def _factor(node: OpNode, first: Value, each: Value, scale: int) -> int:
    """How often each pixel of an input is repeated."""
    if each is first or each.shape[2] == first.shape[2]:
        return scale
    height, own = known_size(node, first, 2), known_size(node, each, 2)
    if own < 1 or height * scale % own:
        raise node.refuse(f"an input of height {own} can't be repeated to {height * scale}")
    return height * scale // own


def _repeated(node: OpNode, data: Value, times: int) -> Value:
    """Pixels repeated along both axes. Exact for every dtype."""
    g = node.g
    if data.dtype in (np.float32, np.uint8, np.int32, np.int8):
        scales = g.const([times, times], np.float32)
        modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return g.emit("Resize", data, None, scales, axes=[2, 3], mode="nearest", **modes)
    batch, channels, height, width = data.shape
    tall = g.emit("Expand", data.unsqueeze(3, 5), g.ints(1, 1, 1, times, 1, times))
    return g.reshape(tall, (batch, channels, g.product((height, times)), g.product((width, times))))


def _interpolated(node: OpNode, data: Value, weight: Value, scale: int) -> Value:
    """MXNet computes a Deconvolution with kernel 2s - s mod 2, stride s, pad ceil((s - 1) / 2)."""
    kernel, pad = 2 * scale - scale % 2, math.ceil((scale - 1) / 2)
    channels = known_size(node, data, 1)
    sizes = {"kernel_shape": [kernel] * 2, "strides": [scale] * 2, "pads": [pad] * 4}
    return single("ConvTranspose", data, weight, group=channels, **sizes)


@mxnet_op("_contrib_AdaptiveAvgPooling2D")
def adaptive_avg_pooling(node: OpNode, data: Value) -> Value:
    """data[n, c, h, w] to [n, c, *output_size]; one number is a square, and the default is 1.

    Cell i is the mean of pixels floor(i * in / out) to ceil((i + 1) * in / out), so cells may overlap: a product with a
    matrix of weights for rows and one for columns, built in the graph where the size is not known.
    """
    sizes = node.attrs.integers("output_size", (1,))
    height, width = sizes if len(sizes) > 1 else sizes * 2
    if not (0 < height <= 4096 and 0 < width <= 4096):
        raise node.refuse(f"attribute 'output_size': expected 1 to 4096, got {sizes}")
    if (height, width) == (1, 1):
        return single("GlobalAveragePool", data)
    rows = _averaging(node, data.shape[2], height).cast(data.dtype)
    columns = _averaging(node, data.shape[3], width).cast(data.dtype)
    return node.g.emit("MatMul", node.g.emit("MatMul", rows, data), columns.transpose(1, 0))


def _averaging(node: OpNode, size: Size, cells: int) -> Value:
    """What each pixel counts in each cell: float32[cells, size]."""
    g = node.g
    whole = g.size(size)
    pixels = counted(node, size)
    cell = g.const(np.arange(cells)[:, None])
    start, end = cell * whole / cells, ((cell + 1) * whole + (cells - 1)) / cells
    inside = g.emit("And", g.emit("GreaterOrEqual", pixels, start), g.emit("Less", pixels, end))
    return inside.cast(np.float32) / (end - start).cast(np.float32)
