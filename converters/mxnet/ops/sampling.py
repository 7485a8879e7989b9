"""Sampling at computed places: grids, bilinear samplers and spatial transformers.

A grid [n, 2, h, w] holds x, then y of the place in the source for each output pixel, from -1 (first) to 1 (last pixel).
Sources followed: MXNet 1.9.1, src/operator/grid_generator-inl.h, bilinear_sampler.cc, spatial_transformer.cc.
"""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.axes import counted, sides
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_SIDE = 8192
"""Of a grid that an attribute gives."""


def _affine(node: OpNode, theta: Value) -> Value:
    """Six numbers an image, [n, 6], times (x, y, 1) of each output pixel: the grid [n, 2, h, w]."""
    g = node.g
    height, width = sides(node, "target_shape", MAX_SIDE)
    x, y = g.const(_spread(width), theta.dtype), g.const(_spread(height)[:, None], theta.dtype)
    matrices = g.reshape(theta, (theta.shape[0], 2, 3)).unsqueeze(2)
    across, down, shift = g.emit_many("Split", matrices, outputs=3, axis=3, num_outputs=3)
    return across * x + down * y + shift


def _spread(count: int) -> np.ndarray:
    """From -1 to 1 inclusive; MXNet computes one pixel as -1 + 0 * (2 / 0), which is NaN."""
    if count == 1:
        return np.full(1, np.nan)
    return -1 + np.arange(count) * (2 / (count - 1))


def _warped(node: OpNode, flow: Value) -> Value:
    """Pixels' places plus their flow [n, 2, h, w], as a grid."""
    g = node.g
    _, _, height, width = flow.shape
    x, y = counted(node, width).unsqueeze(0), counted(node, height).unsqueeze(1)
    whole = g.sizes((1, height, width))
    places = g.emit("Concat", g.emit("Expand", x, whole), g.emit("Expand", y, whole), axis=0).cast(flow.dtype)
    spans = [((g.size(size).cast(flow.dtype) - 1) / 2) for size in (width, height)]
    return (flow + places) / g.emit("Concat", *spans, axis=0).unsqueeze(1, 2) - 1


_KINDS = {"affine": _affine, "warp": _warped}


@mxnet_op("GridGenerator")
def grid_generator(node: OpNode, data: Value) -> Value:
    """A grid: affine from data[n, 6] to [n, 2, *target_shape], or warp from a flow [n, 2, h, w] in pixels."""
    kind = node.attrs.text("transform_type")
    if kind not in _KINDS:
        raise node.refuse(f"attribute 'transform_type': expected affine or warp, got {kind!r}")
    return _KINDS[kind](node, data)


def _sampled(data: Value, grid: Value) -> Value:
    return data.g.emit(
        "GridSample", data, grid.transpose(0, 2, 3, 1), mode="linear", padding_mode="zeros", align_corners=1
    )


@mxnet_op("BilinearSampler")
def bilinear_sampler(node: OpNode, data: Value, grid: Value) -> Value:
    """data[n, c, h, w] at grid[n, 2, h2, w2]: [n, c, h2, w2]; pixels outside count as 0. ONNX's GridSample."""
    return _sampled(data, grid)


@mxnet_op("SpatialTransformer")
def spatial_transformer(node: OpNode, data: Value, loc: Value) -> Value:
    """data[n, c, h, w] at the grid that loc[n, 6] makes: [n, c, *target_shape]."""
    for name, kind in (("transform_type", "affine"), ("sampler_type", "bilinear")):
        if node.attrs.text(name) != kind:
            raise node.refuse(f"attribute {name!r}: expected {kind}, got {node.attrs.text(name)!r}")
    return _sampled(data, _affine(node, loc))
