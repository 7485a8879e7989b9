"""Convolutions that read their pixels at learnt places: ONNX's DeformConv.

Offsets [n, 2 * d * kh * kw, h, w] hold y, then x for each point of the kernel, for d deformable groups of channels.
Sources followed: MXNet 1.9.1, src/operator/contrib/deformable_convolution-inl.h, nn/deformable_im2col.h and
modulated_deformable_convolution-inl.h, and their outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.mxnet.ops.axes import counted
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_POINTS = 1024
"""Of a kernel."""


def _geometry(node: OpNode) -> dict[str, Any]:
    """ONNX's attributes."""
    attrs = node.attrs
    kernel = attrs.integers("kernel")
    if len(kernel) != 2 or not 0 < kernel[0] * kernel[1] <= MAX_POINTS or min(kernel) < 1:
        raise node.refuse(f"attribute 'kernel': expected (h, w) with at most {MAX_POINTS} points, got {kernel}")
    pad = attrs.integers("pad", (0, 0))
    return {
        "kernel_shape": list(kernel),
        "strides": list(attrs.integers("stride", (1, 1))),
        "dilations": list(attrs.integers("dilate", (1, 1))),
        "pads": [*pad, *pad],
        "group": attrs.integer("num_group", 1),
        "offset_group": attrs.integer("num_deformable_group", 1),
    }


@mxnet_op("_contrib_DeformableConvolution")
def deformable_convolution(node: OpNode, data: Value, offset: Value, weight: Value, bias: Value | None = None) -> Value:
    """data[n, c, h, w], offset[n, 2dk, h2, w2], weight[f, c/g, kh, kw], bias[f] to [n, f, h2, w2].

    Here (unlike in ONNX, and in the modulated one) a point between the last pixel and the edge counts as the last
    pixel, and one before the first pixel as 0: the places are limited to the pixels, and a mask takes out the others.
    """
    g, geometry = node.g, _geometry(node)
    batch, _, height, width = offset.shape
    kernel_h, kernel_w = geometry["kernel_shape"]
    groups, points = geometry["offset_group"], kernel_h * kernel_w
    split = g.reshape(offset, (batch, groups, points, 2, height, width))
    places = _places(node, geometry, (height, width), data.dtype)
    at = split + places
    last = g.emit("Concat", g.size(data.shape[2]), g.size(data.shape[3]), axis=0).cast(data.dtype)
    size = last.unsqueeze(1, 2)
    zero = g.scalar(0, at)
    within = g.emit("And", g.emit("GreaterOrEqual", at, zero), g.emit("Less", at, size))
    mask = within.cast(data.dtype).reduce("ReduceMin", 3)
    limited = g.emit("Max", g.emit("Min", at, size - 1), zero) - places
    channels = groups * points
    return g.emit(
        "DeformConv",
        data,
        weight,
        g.reshape(limited, (batch, 2 * channels, height, width)),
        bias,
        g.reshape(mask, (batch, channels, height, width)),
        **geometry,
    )


def _places(node: OpNode, geometry: dict[str, Any], target: tuple[Size, Size], dtype: Any) -> Value:
    """Where the kernel's points lie without an offset: [1, 1, kh * kw, 2, h2, w2], y and x."""
    g = node.g
    kernel_h, kernel_w = geometry["kernel_shape"]
    sides = []
    for axis, size in enumerate(target):
        steps = counted(node, size).cast(dtype)
        sides.append(steps * geometry["strides"][axis] - geometry["pads"][axis])
    y, x = np.divmod(np.arange(kernel_h * kernel_w), kernel_w)
    rows = sides[0].unsqueeze(0, 2) + g.const((y * geometry["dilations"][0])[:, None, None], dtype)
    columns = sides[1].unsqueeze(0, 1) + g.const((x * geometry["dilations"][1])[:, None, None], dtype)
    whole = g.sizes((kernel_h * kernel_w, *target))
    both = [g.emit("Expand", each, whole).unsqueeze(1) for each in (rows, columns)]
    return g.emit("Concat", *both, axis=1).unsqueeze(0, 1)


@mxnet_op("_contrib_ModulatedDeformableConvolution")
def modulated_deformable_convolution(
    node: OpNode, data: Value, offset: Value, mask: Value, weight: Value, bias: Value | None = None
) -> Value:
    """As above with mask[n, d * kh * kw, h2, w2], a factor for each point. Pixels outside count as 0, as in ONNX."""
    return node.g.emit("DeformConv", data, weight, offset, bias, mask, **_geometry(node))
