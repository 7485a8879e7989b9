"""Regions of interest: a part of a feature map brought to a fixed size.

rois[r, 5] are rows of image, x1, y1, x2, y2 in pixels of the input; `spatial_scale` brings them to the map. Sources
followed: MXNet 1.9.1, src/operator/roi_pooling.cc, contrib/roi_align.cc, contrib/psroi_pooling.cc, and their outputs.
"""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.ops.axes import counted, known_size, sides
from converters.mxnet.ops.kernels import single
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_CELLS = 128
"""Cells along one side of a pooled region: published nets have 6 to 28."""


@mxnet_op("ROIPooling")
def roi_pooling(node: OpNode, data: Value, rois: Value) -> Value:
    """Maxima of cells: data[n, c, h, w], rois[r, 5] to [r, c, *pooled_size].

    Corners are rounded on the map (halves away from zero) and both included; an empty cell is 0. ONNX's MaxRoiPool.
    """
    scale = node.attrs.number("spatial_scale")
    return single(
        "MaxRoiPool", data, rois, pooled_shape=list(sides(node, "pooled_size", MAX_CELLS)), spatial_scale=scale
    )


@mxnet_op("_contrib_ROIAlign")
def roi_align(node: OpNode, data: Value, rois: Value) -> Value:
    """Means of interpolated points of cells: data[n, c, h, w], rois[r, 5] to [r, c, *pooled_size].

    A cell has `sample_ratio` points a side, or as many as it has pixels where that is not positive. With `aligned` the
    corners are moved by half a pixel. With `position_sensitive` each cell (i, j) of a map with c * ph * pw channels
    reads channel (c * ph + i) * pw + j. A region whose image is negative is 0. ONNX's RoiAlign.
    """
    g, attrs = node.g, node.attrs
    height, width = sides(node, "pooled_size", MAX_CELLS)
    images, boxes = g.emit_many("Split", rois, g.ints(1, 4), outputs=2, axis=1)
    aligned = g.emit(
        "RoiAlign",
        data,
        boxes,
        g.emit("Max", images, g.scalar(0, images)).cast(np.int64).squeeze(1),
        mode="avg",
        output_height=height,
        output_width=width,
        sampling_ratio=max(attrs.integer("sample_ratio", -1), 0),
        spatial_scale=attrs.number("spatial_scale"),
        coordinate_transformation_mode="half_pixel" if attrs.boolean("aligned", False) else "output_half_pixel",
    )
    missing = g.emit("Less", images, g.scalar(0, images)).unsqueeze(2, 3)
    aligned = g.emit("Where", missing, g.scalar(0, aligned), aligned)
    return _own_cells(node, aligned) if attrs.boolean("position_sensitive", False) else aligned


def _own_cells(node: OpNode, aligned: Value) -> Value:
    """Of [r, c * ph * pw, ph, pw] the cell that each channel is for: [r, c, ph, pw]."""
    g = node.g
    regions, _, height, width = aligned.shape
    cells = math.prod(sides(node, "pooled_size", MAX_CELLS))
    kept, left = divmod(known_size(node, aligned, 1), cells)
    if left or not kept:
        raise node.refuse(f"expected a multiple of {cells} channels, one for each cell, got {aligned}")
    flat = g.reshape(aligned, (regions, kept, cells * cells))
    own = g.emit("Gather", flat, g.const(np.arange(cells) * (cells + 1)), axis=2)
    return g.reshape(own, (regions, kept, height, width))


@mxnet_op("_contrib_PSROIPooling")
def psroi_pooling(node: OpNode, data: Value, rois: Value) -> Value:
    """Means of cells, each over channels of its own: data[n, d * g * g, h, w], rois[r, 5] to [r, d, p, p].

    d is `output_dim`, p `pooled_size`, g `group_size` (p if 0). Corners are rounded before they are scaled, the second
    one is included; cells end on whole pixels, and an empty one is 0.

    Sums come from a table of sums over all pixels above and left (in float64, so that differences of large sums stay
    exact to float32), read at the four corners of a cell.
    """
    g, attrs = node.g, node.attrs
    size, dim = attrs.integer("pooled_size"), attrs.integer("output_dim")
    group = attrs.integer("group_size", 0) or size
    if not (0 < size <= MAX_CELLS and 0 < group <= MAX_CELLS and 0 < dim <= 1 << 16):
        raise node.refuse(f"can't pool to {size} cells a side with {group} groups and {dim} channels")
    if isinstance(data.shape[1], int) and data.shape[1] != dim * group * group:
        raise node.refuse(f"expected {dim} * {group} * {group} channels, got {data}")
    top, bottom = _edges(node, rois, 2, data)
    left, right = _edges(node, rois, 1, data)
    table = _summed(data)
    channels, height, width = (g.size(size) for size in table.shape[1:])
    image = rois.slice(1, 0, 1).cast(np.int64).unsqueeze(2, 3)
    planes = (image * channels + _channels(node, size, group, dim)) * height
    flat = g.emit("Reshape", table, g.ints(-1))

    def at(row: Value, column: Value) -> Value:
        return g.emit("Gather", flat, (planes + row.unsqueeze(1, 3)) * width + column.unsqueeze(1, 2), axis=0)

    total = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)
    area = (bottom - top).unsqueeze(1, 3) * (right - left).unsqueeze(1, 2)
    full = g.emit("Greater", area, g.scalar(0, area))
    mean = total / g.emit("Max", area, g.scalar(1, area)).cast(np.float64)
    return g.emit("Where", full, mean, g.scalar(0, mean)).cast(data.dtype)


def _edges(node: OpNode, rois: Value, place: int, data: Value) -> tuple[Value, Value]:
    """First and last+1 pixel of the cells along one axis (`place` 1: x, 2: y): int64[r, p] each."""
    g, attrs = node.g, node.attrs
    size, scale = attrs.integer("pooled_size"), attrs.number("spatial_scale")
    first, last = rois.slice(1, place, place + 1), rois.slice(1, place + 2, place + 3)
    start, end = rounded(first) * scale, (rounded(last) + 1) * scale
    span = g.emit("Max", end - start, g.scalar(0.1, start)) / size
    cells = g.const(np.arange(size), rois.dtype)
    limit = g.size(data.shape[4 - place]).cast(rois.dtype)
    zero = g.scalar(0, start)

    def whole(op: str, edge: Value) -> Value:
        return g.emit("Max", g.emit("Min", g.emit(op, edge), limit), zero).cast(np.int64)

    return whole("Floor", span * cells + start), whole("Ceil", span * (cells + 1) + start)


def rounded(value: Value) -> Value:
    """Halves away from zero, as C rounds."""
    g = value.g
    return g.emit("Sign", value) * g.emit("Floor", g.emit("Abs", value) + 0.5)


def _summed(data: Value) -> Value:
    """Sums over all pixels above and left: float64[n, c, h + 1, w + 1]."""
    g = data.g
    sums = g.emit("CumSum", g.emit("CumSum", data.cast(np.float64), g.const(2, np.int64)), g.const(3, np.int64))
    return g.emit("Pad", sums, g.ints(0, 0, 1, 1, 0, 0, 0, 0))


def _channels(node: OpNode, size: int, group: int, dim: int) -> Value:
    """The channel that each cell reads: int64[1, d, p, p]."""
    of_cell = np.arange(size) * group // size
    within = of_cell[:, None] * group + of_cell
    return counted(node, dim).unsqueeze(0, 2, 3) * (group * group) + node.g.const(within)
