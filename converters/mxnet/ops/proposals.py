"""Region proposals of Faster R-CNN: `_contrib_Proposal` and `_contrib_MultiProposal`.

Boxes are in pixels of the image, both corners included (a width is x2 - x1 + 1). Source followed: MXNet 1.9.1,
src/operator/contrib/proposal.cc and multi_proposal.cc, and their outputs.
"""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.ops.axes import counted
from converters.mxnet.ops.boxes import coordinates, joined
from converters.mxnet.ops.suppression import fewer, packed, survivors, taken
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_SHAPES = 1024
"""Anchors for each cell: published nets have at most 15."""
MAX_ROWS = 1 << 16
"""Boxes an image: published nets have at most 2,000."""


def base_anchors(stride: int, scales: tuple[float, ...], ratios: tuple[float, ...]) -> np.ndarray:
    """Anchors float32[len(ratios) * len(scales), 4] around a cell of `stride` pixels, ratios slow.

    Sides are rounded (halves up) for each ratio before they are scaled, as the original region proposal code does.
    """
    centre = 0.5 * (stride - 1)
    anchors = []
    for ratio in ratios:
        width = math.floor(math.sqrt(math.floor(stride * stride / ratio)) + 0.5)
        height = math.floor(width * ratio + 0.5)
        for scale in scales:
            half_width, half_height = 0.5 * (width * scale - 1), 0.5 * (height * scale - 1)
            anchors.append((centre - half_width, centre - half_height, centre + half_width, centre + half_height))
    with np.errstate(over="ignore"):
        return np.array(anchors, dtype=np.float32)


@mxnet_op("_contrib_Proposal", "_contrib_MultiProposal")
def proposal(node: OpNode, cls_prob: Value, bbox_pred: Value, im_info: Value) -> Value | tuple[Value, Value]:
    """The best `rpn_post_nms_top_n` boxes of each image: float32[n * that, 5], rows of image, x1, y1, x2, y2.

    cls_prob[n, 2 * a, h, w] has the scores of objects in its second half, bbox_pred[n, 4 * a, h, w] offsets from the
    anchors at `feature_stride` pixels a cell, im_info[n, 3] height, width and scale of the image. Boxes smaller than
    `rpn_min_size * scale` come last; of the best `rpn_pre_nms_top_n` those go that a better one overlaps by more than
    `threshold`, and what remains is repeated up to the number of rows. With `output_score` also the scores [rows, 1].
    Proposal (not MultiProposal) takes one image, whose number is 0.
    """
    g = node.g
    if node.node.op == "_contrib_Proposal" and cls_prob.shape[0] not in (1,) and isinstance(cls_prob.shape[0], int):
        raise node.refuse(f"takes one image at a time, got cls_prob {cls_prob}")
    batch, _, height, width = cls_prob.shape
    anchors, count = _anchors(node, height, width)
    scores = _per_anchor(cls_prob.slice(1, count), (batch, count, height, width), 1)
    offsets = _per_anchor(bbox_pred, (batch, count, 4, height, width), 4)
    boxes = _moved(node, anchors, offsets, im_info)
    boxes, scores = _filtered(node, boxes, scores, im_info, _inside(node, im_info, height, width, count))
    return _selected(node, g.emit("Concat", boxes, scores, axis=2))


def _anchors(node: OpNode, height: Size, width: Size) -> tuple[Value, int]:
    """Anchors float32[h * w * a, 4], cell by cell, and how many a cell has."""
    g, attrs = node.g, node.attrs
    scales, ratios = attrs.numbers("scales", (4.0, 8.0, 16.0, 32.0)), attrs.numbers("ratios", (0.5, 1.0, 2.0))
    if not 0 < len(scales) * len(ratios) <= MAX_SHAPES or min(ratios) <= 0:
        raise node.refuse(f"expected positive ratios and 1 to {MAX_SHAPES} anchors a cell, got {scales} and {ratios}")
    stride = attrs.integer("feature_stride", 16)
    if not 0 < stride <= MAX_ROWS:
        raise node.refuse(f"attribute 'feature_stride': expected 1 to {MAX_ROWS} pixels, got {stride}")
    base = base_anchors(stride, scales, ratios)
    y, x = (counted(node, size).cast(np.float32) * stride for size in (height, width))
    x, y = x.unsqueeze(0, 2), y.unsqueeze(1, 2)
    corners = [shift + g.const(base[:, place]) for place, shift in enumerate((x, y, x, y))]
    whole = g.sizes((height, width, len(base)))
    anchors = joined(*(g.emit("Expand", corner, whole).unsqueeze(3) for corner in corners))
    return g.reshape(anchors, (g.product((height, width, len(base))), 4)), len(base)


def _per_anchor(value: Value, shape: tuple[Size, ...], numbers: int) -> Value:
    """[n, a * numbers, h, w] as rows [n, h * w * a, numbers]."""
    g = value.g
    batch, count, height, width = shape[0], shape[1], shape[-2], shape[-1]
    split = g.reshape(value, (batch, count, numbers, height, width)).transpose(0, 3, 4, 1, 2)
    return g.reshape(split, (batch, g.product((height, width, count)), numbers))


def _image(im_info: Value, index: int) -> Value:
    """One number of each image, [n, 1, 1]."""
    return im_info.slice(1, index, index + 1).unsqueeze(2)


def _moved(node: OpNode, anchors: Value, offsets: Value, im_info: Value) -> Value:
    """Boxes [n, k, 4]: anchors with their offsets, inside the image."""
    g = node.g
    left, top, right, bottom = coordinates(anchors)
    dx, dy, dx2, dy2 = coordinates(offsets)
    if node.attrs.boolean("iou_loss", False):
        moved = [left + dx, top + dy, right + dx2, bottom + dy2]
    else:
        width, height = right - left + 1, bottom - top + 1
        x, y = left + (width - 1) * 0.5, top + (height - 1) * 0.5
        x, y = dx * width + x, dy * height + y
        half_width = (g.emit("Exp", dx2) * width - 1) * 0.5
        half_height = (g.emit("Exp", dy2) * height - 1) * 0.5
        moved = [x - half_width, y - half_height, x + half_width, y + half_height]
    limits = [_image(im_info, index) - 1 for index in (1, 0, 1, 0)]
    zero = g.scalar(0, offsets)
    return joined(*(g.emit("Max", g.emit("Min", side, limit), zero) for side, limit in zip(moved, limits, strict=True)))


def _inside(node: OpNode, im_info: Value, height: Size, width: Size, count: int) -> Value:
    """Which cells lie in the image, which may be padded: bool[n, h * w * a, 1]."""
    g = node.g
    stride = node.attrs.integer("feature_stride", 16)
    rows, columns = (counted(node, size).cast(np.float32) for size in (height, width))
    last_row, last_column = (g.emit("Floor", _image(im_info, index) / stride) for index in (0, 1))
    inside = g.emit("And", g.emit("Less", rows.unsqueeze(1), last_row), g.emit("Less", columns, last_column))
    whole = g.sizes((im_info.shape[0], height, width, count))
    inside = g.emit("Expand", inside.unsqueeze(3), whole)
    return g.reshape(inside, (im_info.shape[0], g.product((height, width, count)), 1))


def _filtered(node: OpNode, boxes: Value, scores: Value, im_info: Value, inside: Value) -> tuple[Value, Value]:
    """Boxes that are too small grow by the least size and score -1; those outside of the image score -1."""
    g = node.g
    least = _image(im_info, 2) * node.attrs.integer("rpn_min_size", 16)
    left, top, right, bottom = coordinates(boxes)
    narrow, flat = g.emit("Less", right - left + 1, least), g.emit("Less", bottom - top + 1, least)
    small = g.emit("Or", narrow, flat)
    grown = g.emit("Concat", *(side * half for side, half in _signed(least / 2)), axis=2)
    boxes = g.emit("Where", small, boxes + grown, boxes)
    eligible = g.emit("And", inside, g.emit("Not", small))
    return boxes, g.emit("Where", eligible, scores, g.scalar(-1, scores))


def _signed(half: Value) -> list[tuple[Value, float]]:
    return [(half, -1.0), (half, -1.0), (half, 1.0), (half, 1.0)]


def _selected(node: OpNode, rows: Value) -> Value | tuple[Value, Value]:
    """From rows [n, k, 5] of box and score, those that survive, repeated up to the number that is asked for."""
    g, attrs = node.g, node.attrs
    before = fewer(node, rows.shape[1], attrs.integer("rpn_pre_nms_top_n", 6000))
    scores = rows.slice(2, 4, 5).squeeze(2)
    best, order = g.emit_many("TopK", scores, before, outputs=2)
    rows = taken(rows, order)
    asked = attrs.integer("rpn_post_nms_top_n", 300)
    if not 0 < asked <= MAX_ROWS:
        raise node.refuse(f"attribute 'rpn_post_nms_top_n': expected 1 to {MAX_ROWS}, got {asked}")
    kept = survivors(_measured(rows.slice(2, 0, 4)), best, attrs.number("threshold", 0.7), most=asked)
    flags, order = packed(kept)
    found = flags.cast(np.int64).reduce("ReduceSum", 1, keepdims=True)
    places = g.emit("Mod", g.const(np.arange(asked)[None]), found)
    chosen = taken(rows, g.emit("GatherElements", order, places, axis=1))
    boxes, scores = g.emit_many("Split", chosen, g.ints(4, 1), outputs=2, axis=2)
    image = counted(node, rows.shape[0]).cast(np.float32).unsqueeze(1, 2)
    images = g.emit("Expand", image, g.sizes((rows.shape[0], asked, 1)))
    total = g.product((rows.shape[0], asked))
    boxes = g.reshape(joined(images, boxes), (total, 5))
    return (boxes, g.reshape(scores, (total, 1))) if attrs.boolean("output_score", False) else boxes


def _measured(boxes: Value) -> Value:
    """Boxes whose second corner lies outside, so that areas and overlaps are those of boxes with both inside."""
    return boxes + boxes.g.const([0, 0, 1, 1], boxes.dtype)
