"""The detection operators of SSD: anchors for a feature map, and detections from class probabilities and offsets.

Source followed: MXNet 1.9.1, src/operator/contrib/multibox_prior.cc and multibox_detection.cc, and their outputs.
"""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.ops.axes import counted
from converters.mxnet.ops.boxes import centres, joined, shifted
from converters.mxnet.ops.suppression import fewer, packed, ranked, survivors, taken
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

MAX_SHAPES = 1024
"""Boxes for each cell: published nets have at most 10."""


@mxnet_op("_contrib_MultiBoxPrior")
def multi_box_prior(node: OpNode, data: Value) -> Value:
    """Anchors of a map data[n, c, h, w]: float32[1, h * w * b, 4], corners in parts of the image.

    A cell's b = len(sizes) + len(ratios) - 1 boxes are all `sizes` with the first ratio, then the
    first size with each further ratio. A size is a part of the height; the width is corrected for maps
    that are not square. `steps` (-1: one cell) and `offsets` (0.5) have y first.
    """
    g, attrs = node.g, node.attrs
    _, _, height, width = data.shape
    shapes = _shapes(node)
    step_y, step_x = attrs.numbers("steps", (-1.0, -1.0))
    offset_y, offset_x = attrs.numbers("offsets", (0.5, 0.5))
    rows, columns = _float(node, height), _float(node, width)
    y = (counted(node, height).cast(np.float32) + offset_y) * (step_y if step_y > 0 else 1 / rows)
    x = (counted(node, width).cast(np.float32) + offset_x) * (step_x if step_x > 0 else 1 / columns)
    size, root = g.const(shapes[:, 0]), g.const(shapes[:, 1])
    half_width, half_height = size * rows / columns * root / 2, size / root / 2
    x, y = x.unsqueeze(0, 2), y.unsqueeze(1, 2)
    sides = [g.emit("Sub", x, half_width), g.emit("Sub", y, half_height), x + half_width, y + half_height]
    target = g.sizes((height, width, len(shapes)))
    anchors = joined(*(g.emit("Expand", side, target).unsqueeze(3) for side in sides))
    anchors = g.reshape(anchors, (1, g.product((height, width, len(shapes))), 4))
    if attrs.boolean("clip", False):
        anchors = g.emit("Clip", anchors, g.scalar(0, anchors), g.scalar(1, anchors))
    return anchors


def _shapes(node: OpNode) -> np.ndarray:
    """Size and root of the ratio of a cell's boxes: float32[b, 2]."""
    sizes, ratios = node.attrs.numbers("sizes", (1.0,)), node.attrs.numbers("ratios", (1.0,))
    if not 0 < len(sizes) + len(ratios) - 1 <= MAX_SHAPES or not sizes:
        raise node.refuse(f"expected 1 to {MAX_SHAPES} boxes a cell, got {len(sizes)} sizes and {len(ratios)} ratios")
    if not ratios or min(ratios) <= 0:
        raise node.refuse(f"attribute 'ratios': expected positive numbers, got {ratios}")
    pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    with np.errstate(over="ignore"):
        return np.array([(size, math.sqrt(ratio)) for size, ratio in pairs], dtype=np.float32)


def _float(node: OpNode, size: Size) -> Value:
    return node.g.size(size).cast(np.float32)


@mxnet_op("_contrib_MultiBoxDetection")
def multi_box_detection(node: OpNode, cls_prob: Value, loc_pred: Value, anchor: Value) -> Value:
    """Detections of SSD: float32[n, a, 6], rows of label, score, x1, y1, x2, y2.

    cls_prob[n, 1 + c, a] has the background first (`background_id` is never read), loc_pred[n, 4 * a] the offsets,
    anchor[1, a, 4] corners. An anchor's label is its best class, the first on ties, if that reaches `threshold`. They
    are sorted by score, and of the best `nms_topk` (all if not positive) those that a better one of the same label
    (any with `force_suppress`) overlaps by `nms_threshold` **or more** stay in their row with label -1. With more
    candidates than nms_topk, the rows after those hold what the same row has in the order of anchors, with label -1.
    An `nms_threshold` that is not in (0, 1] leaves all in the order of anchors. Further rows are -1.
    """
    g, attrs = node.g, node.attrs
    scores, labels = _classified(node, cls_prob)
    usual = (0.1, 0.1, 0.2, 0.2)
    offsets = g.reshape(loc_pred, (loc_pred.shape[0], anchor.shape[1], 4))
    boxes = shifted(centres(anchor), offsets, attrs.numbers("variances", usual))
    if attrs.boolean("clip", True):
        boxes = g.emit("Clip", boxes, g.scalar(0, boxes), g.scalar(1, boxes))
    reach = g.emit("GreaterOrEqual", scores, g.scalar(attrs.number("threshold", 0.01), scores))
    valid = g.emit("And", reach, g.emit("Greater", scores, g.scalar(-1, scores)))
    rows = joined(labels.unsqueeze(2), scores.unsqueeze(2), boxes)
    if not 0 < attrs.number("nms_threshold", 0.5) <= 1:
        flags, order = packed(valid)
        return _blanked(taken(rows, order), flags, flags)
    return _suppressed(node, rows, scores, valid, cls_prob.shape[1])


def _classified(node: OpNode, cls_prob: Value) -> tuple[Value, Value]:
    """Best score and label of each anchor, [n, a] each."""
    foreground = cls_prob.slice(1, 1)
    if foreground.shape[1] == 0:
        raise node.refuse(f"expected the background and at least one class, got cls_prob {cls_prob}")
    labels = node.g.emit("ArgMax", foreground, axis=1, keepdims=0)
    return foreground.reduce("ReduceMax", 1), labels.cast(np.float32)


def _suppressed(node: OpNode, rows: Value, scores: Value, valid: Value, classes: Size) -> Value:
    g, attrs = node.g, node.attrs
    count = rows.shape[1]
    best, order = ranked(scores, valid, fewer(node, count, attrs.integer("nms_topk", -1)))
    top = taken(rows, order)
    labels, _, boxes = g.emit_many("Split", top, g.ints(1, 1, 4), outputs=3, axis=2)
    every = None
    if not attrs.boolean("force_suppress", False):
        every = (labels.squeeze(2), counted(node, classes).cast(np.float32))
    # An overlap of the threshold suppresses here; NonMaxSuppression wants more than its threshold.
    below = float(np.nextafter(np.float32(attrs.number("nms_threshold", 0.5)), np.float32(0)))
    kept = survivors(boxes, best, below, every)
    found = _blanked(top, g.emit("Greater", best, g.scalar(-np.inf, best)), kept)
    if attrs.integer("nms_topk", -1) <= 0 or found.shape[1] == count:
        return found
    flags, order = packed(valid)
    start, end = g.size(found.shape[1]), g.size(count)
    unsorted = g.emit("Slice", _blanked(taken(rows, order), flags, None), start, end, g.ints(1))
    return g.emit("Concat", found, unsorted, axis=1, shape=rows.shape)


def _blanked(rows: Value, valid: Value, kept: Value | None) -> Value:
    """Rows[b, k, 6]: -1 is the label where not kept[b, k] (None: nowhere), and all of the row where not valid[b, k]."""
    g = rows.g
    minus = g.scalar(-1, rows)
    labels, others = g.emit_many("Split", rows, g.ints(1, 5), outputs=2, axis=2)
    labels = labels * 0 - 1 if kept is None else g.emit("Where", kept.unsqueeze(2), labels, minus)
    return g.emit("Where", valid.unsqueeze(2), joined(labels, others), minus)
