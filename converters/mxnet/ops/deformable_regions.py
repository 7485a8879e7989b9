"""Regions of interest whose cells are moved by learnt offsets: `_contrib_DeformablePSROIPooling`.

A sample of a cell is one point of ONNX's GridSample. Every region reads one image, so the regions are the steps of a
Scan: without it each would need a copy of its map. Source followed: MXNet 1.9.1,
src/operator/contrib/deformable_psroi_pooling.cc, and its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.mxnet.ops.axes import known_size
from converters.mxnet.ops.regions import MAX_CELLS, rounded
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_SAMPLES = 32
"""Along a side of a cell: published nets have 4."""


@dataclass(frozen=True)
class _Pooling:
    """The numbers of one node."""

    size: int
    """Cells along a side of a region."""
    group: int
    part: int
    samples: int
    dim: int
    classes: int
    """How many sets of offsets a region has; each is for dim / classes channels."""

    @property
    def apart(self) -> int:
        """How many cells read channels of their own: all, or all read the same."""
        return 1 if self.group == 1 else self.size * self.size

    def of_cell(self, parts: int) -> np.ndarray:
        """For each cell along a side, which of `parts` it lies in."""
        return np.arange(self.size) * parts // self.size


def _pooling(node: OpNode, trans: Value | None) -> _Pooling:
    attrs = node.attrs
    size, dim = attrs.integer("pooled_size"), attrs.integer("output_dim")
    part = attrs.integer("part_size", 0) or size
    classes = 1 if trans is None else known_size(node, trans, 1) // 2
    found = _Pooling(size, attrs.integer("group_size"), part, attrs.integer("sample_per_part", 1), dim, classes)
    sides = (found.size, found.group, found.part)
    if not (all(0 < side <= MAX_CELLS for side in sides) and 0 < found.samples <= MAX_SAMPLES):
        raise node.refuse(f"can't pool with {sides} cells, groups and parts a side and {found.samples} samples")
    if not 0 < dim <= 1 << 16 or classes < 1 or dim % classes:
        raise node.refuse(f"expected output_dim to be a multiple of {classes} sets of offsets, got {dim}")
    return found


@mxnet_op("_contrib_DeformablePSROIPooling")
def deformable_psroi_pooling(node: OpNode, data: Value, rois: Value, trans: Value | None = None) -> Value:
    """Means of samples: data[n, d * g * g, h, w], rois[r, 5], trans[r, 2 * classes, part, part] to [r, d, p, p].

    d is `output_dim`, g `group_size`, p `pooled_size`, part `part_size` (p if 0). A cell has `sample_per_part` points a
    side and moves by trans (x, then y) times `trans_std` of the region's size; with `no_trans` nothing moves. Points
    more than half a pixel outside of the map don't count, and a cell without any is 0.
    """
    g = node.g
    pooling = _pooling(node, None if node.attrs.boolean("no_trans", False) else trans)
    moves = None if node.attrs.boolean("no_trans", False) or trans is None else _moves(node, pooling, trans)
    x, inside_x = _places(node, pooling, rois, moves, 1, data)
    y, inside_y = _places(node, pooling, rois, moves, 2, data)
    inside = g.emit("And", inside_x, inside_y).cast(data.dtype)
    counts = inside.reduce("ReduceSum", 4, 5, keepdims=True)
    weights = inside / g.emit("Max", counts, g.scalar(1, counts))
    whole = g.sizes((rois.shape[0], pooling.classes, *(pooling.size,) * 2, *(pooling.samples,) * 2))
    x, y = (g.emit("Expand", places, whole).unsqueeze(6) for places in (x, y))
    rows, columns = pooling.classes * pooling.apart, pooling.size**2 // pooling.apart
    shape = (rois.shape[0], rows, columns, pooling.samples**2)
    grid = g.reshape(g.emit("Concat", x, y, axis=6), (*shape, 2))
    images = rois.slice(1, 0, 1).squeeze(1).cast(np.int64)
    return _sampled(pooling, _maps(pooling, data), images, grid, g.reshape(weights, shape))


def _moves(node: OpNode, pooling: _Pooling, trans: Value) -> Value:
    """How far each cell moves, in parts of the region: [r, classes, 2, p, p]."""
    g = node.g
    part = g.const(pooling.of_cell(pooling.part))
    split = g.reshape(trans, (trans.shape[0], pooling.classes, 2, pooling.part, pooling.part))
    cells = g.emit("Gather", g.emit("Gather", split, part, axis=3), part, axis=4)
    std: float = node.attrs.number("trans_std", 0.0)
    return cells * std


def _places(
    node: OpNode, pooling: _Pooling, rois: Value, moves: Value | None, place: int, data: Value
) -> tuple[Value, Value]:
    """Samples along one axis (`place` 1: x, 2: y), as GridSample counts, and which lie on the map:
    [r, classes, p, p, s, s], with 1 for sizes along which nothing differs."""
    g = node.g
    scale = node.attrs.number("spatial_scale")
    start = rounded(rois.slice(1, place, place + 1)) * scale - 0.5
    end = (rounded(rois.slice(1, place + 2, place + 3)) + 1) * scale - 0.5
    span = g.emit("Max", end - start, g.scalar(0.1, start)).unsqueeze(2, 3, 4, 5)
    steps = np.arange(pooling.size)[:, None] + np.arange(pooling.samples) / pooling.samples
    shape = (1, 1, 1, pooling.size, 1, pooling.samples) if place == 1 else (1, 1, pooling.size, 1, pooling.samples, 1)
    at = span * g.const(steps.reshape(shape) / pooling.size, rois.dtype) + start.unsqueeze(2, 3, 4, 5)
    if moves is not None:
        at = at + span * moves.slice(2, place - 1, place).squeeze(2).unsqueeze(4, 5)
    size = g.size(data.shape[4 - place]).cast(data.dtype)
    beyond = g.emit("Or", g.emit("Less", at, g.scalar(-0.5, at)), g.emit("Greater", at, size - 0.5))
    at = g.emit("Max", g.emit("Min", at, size - 1), g.scalar(0, at))
    return (at * 2 + 1) / size - 1, g.emit("Not", beyond)


def _maps(pooling: _Pooling, data: Value) -> Value:
    """The maps that each set of offsets and each cell reads: [n, classes * apart, d / classes, h, w]."""
    g = data.g
    batch, _, height, width = data.shape
    channels = pooling.dim // pooling.classes
    split = g.reshape(data, (batch, pooling.classes, channels, pooling.group**2, height, width))
    if pooling.apart > 1:
        of_cell = pooling.of_cell(pooling.group)
        split = g.emit("Gather", split, g.const((of_cell[:, None] * pooling.group + of_cell).ravel()), axis=3)
    maps = split.transpose(0, 1, 3, 2, 4, 5)
    return g.reshape(maps, (batch, pooling.classes * pooling.apart, channels, height, width))


def _sampled(pooling: _Pooling, maps: Value, images: Value, grid: Value, weights: Value) -> Value:
    """Region by region: [r, d, p, p]."""
    g = maps.g
    inner = g.subgraph()
    image, places, counts = (inner.argument(value.dtype, value.shape[1:]) for value in (images, grid, weights))
    own = inner.emit("Gather", inner.seen(maps), image, axis=0)
    points = inner.emit("GridSample", own, places, mode="linear", padding_mode="zeros", align_corners=0)
    cells = (points * counts.unsqueeze(1)).reduce("ReduceSum", 3)
    regions, channels = images.shape[0], pooling.dim // pooling.classes
    _, rows, columns, _ = weights.shape
    kind = Value(g, maps.name, maps.dtype, (regions, rows, channels, columns))
    body = inner.body([image, places, counts], [cells])
    (made,) = g.emit_many("Scan", images, grid, weights, outputs=1, types=[kind], body=body, num_scan_inputs=3)
    made = g.reshape(made, (regions, pooling.classes, pooling.apart, channels, columns))
    return g.reshape(made.transpose(0, 1, 3, 2, 4), (regions, pooling.dim, pooling.size, pooling.size))
