"""Greedy suppression of overlapping boxes: `_contrib_box_nms`, and what other detection operators share with it.

Suppression is ONNX's NonMaxSuppression over candidates that are sorted already. A loop over candidates in the graph
costs a call of several nodes for each of them (24,528 for SSD-512), a matrix of all overlaps grows with their square;
NonMaxSuppression compares a candidate with the survivors of its class only, as MXNet does, takes any batch, and
computes the same float32 expression (intersection / (area + area - intersection) > threshold). It reads boxes once
for all classes, so a class is a row of its `scores` where the others' candidates have -inf, which never passes.

MXNet sorts stably; TopK's rule for ties (the lower index first) does too, and so does NonMaxSuppression.
"""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.axes import known_size
from converters.mxnet.ops.boxes import centres, corners, encoding
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

NEVER = float("-inf")
"""Score of what is no candidate."""


def ranked(scores: Value, valid: Value, most: Value) -> tuple[Value, Value]:
    """The best `most` (int64[1]) of scores[b, k], best first: their scores (-inf where not `valid`) and indices."""
    g = scores.g
    eligible = g.emit("Where", valid, scores, g.scalar(NEVER, scores))
    best, order = g.emit_many("TopK", eligible, most, outputs=2)
    return best, order


def taken(rows: Value, order: Value) -> Value:
    """Rows[b, k, m] in the order[b, n]: [b, n, m]."""
    return rows.g.emit("GatherND", rows, order.unsqueeze(2), batch_dims=1)


def packed(kept: Value) -> tuple[Value, Value]:
    """What is kept[b, k] (bool) first, both parts in their old order: the flags in that order, and the order."""
    g = kept.g
    flags, order = g.emit_many("TopK", kept.cast(np.int32), g.size(kept.shape[1]), outputs=2, axis=1)
    return flags.cast(np.bool_), order


def survivors(
    boxes: Value, scores: Value, threshold: float, labels: tuple[Value, Value] | None = None, most: int | None = None
) -> Value:
    """Which of boxes[b, k, 4] (corners, sorted by scores[b, k]) remain: bool[b, k].

    A box goes when a better one that remains overlaps it by more than `threshold` (0 to 1), among boxes of the same
    label where `labels` are given: those of the boxes [b, k], and all different ones [c]. At most `most` remain.
    """
    g = boxes.g
    scores = scores.cast(np.float32)
    apart = scores.unsqueeze(1)
    if labels is not None:
        own, every = labels
        same = g.emit("Equal", own.unsqueeze(1), every.unsqueeze(1))
        apart = g.emit("Where", same, apart, g.scalar(NEVER, scores))
    limit = g.size(scores.shape[1]) if most is None else g.ints(most)
    at, never = g.const([threshold], np.float32), g.const([NEVER], np.float32)
    chosen = g.emit("NonMaxSuppression", boxes.cast(np.float32), apart, limit, at, never)
    places = g.emit("Gather", chosen, g.ints(0, 2), axis=1)
    nothing = g.emit("Expand", g.const(False), g.sizes(scores.shape), shape=scores.shape)
    yes = g.emit("Expand", g.const(True), g.size(places.shape[0]))
    return g.emit("ScatterND", nothing, places, yes, shape=scores.shape)


def fewer(node: OpNode, count: Size, most: int) -> Value:
    """The smaller of both as int64[1]; all of `count` where `most` is not positive."""
    g = node.g
    if most <= 0:
        return g.size(count)
    return g.ints(min(count, most)) if isinstance(count, int) else g.emit("Min", g.size(count), g.ints(most))


def column(rows: Value, index: int) -> Value:
    """One number of each row: [b, k] of [b, k, m]."""
    return rows.slice(2, index, index + 1).squeeze(2)


@mxnet_op("_contrib_box_nms")
def box_nms(node: OpNode, data: Value) -> Value:
    """Rows (..., k, m) of score, box and maybe label, without those that a better one overlaps: the same shape.

    Rows with a score above `valid_thresh` and a label other than `background_id` (-1: so label -1 is background)
    compete; the best `topk` of them are looked at (all when negative; 0 gives the input as it is). One goes when its
    overlap with a better one is above `overlap_thresh`, among rows of the same label (cut to a whole number) only if
    `id_index` is given and `force_suppress` is not. Survivors come first, best first; all other rows are -1.
    """
    g, attrs = node.g, node.attrs
    if attrs.integer("topk", -1) == 0:
        return data
    *leading, count, width = data.shape
    rows = g.reshape(data, (g.product(leading), count, width))
    wide = known_size(node, data, -1)
    scores = column(rows, _index(node, "score_index", 1, wide))
    label = _index(node, "id_index", -1, wide)
    valid = g.emit("Greater", scores, g.scalar(attrs.number("valid_thresh", 0.0), scores))
    if label >= 0:
        labels = column(rows, label)
        background = g.emit("Equal", labels, g.scalar(attrs.integer("background_id", -1), labels))
        valid = g.emit("And", valid, g.emit("Not", background))
    best, order = ranked(scores, valid, fewer(node, count, attrs.integer("topk", -1)))
    rows = taken(rows, order)
    kept = _kept(node, rows, best, label, wide)
    flags, order = packed(kept)
    found = _reformatted(node, taken(rows, order), wide)
    found = g.emit("Where", flags.unsqueeze(2), found, g.scalar(-1, found))
    return g.reshape(_padded(node, found, (rows.shape[0], count, width)), data.shape)


def _index(node: OpNode, name: str, default: int, width: int, length: int = 1) -> int:
    """The attribute that points into a row, refused where the row ends before."""
    index: int = node.attrs.integer(name, default)
    if index + length > width or (index < 0 and name != "id_index"):
        raise node.refuse(f"attribute {name!r}: expected {length} numbers from there in rows of {width}, got {index}")
    return index


def _boxes(node: OpNode, rows: Value, width: int) -> tuple[int, Value]:
    start = _index(node, "coord_start", 2, width, 4)
    return start, rows.slice(2, start, start + 4)


def _kept(node: OpNode, rows: Value, best: Value, label: int, width: int) -> Value:
    """Which rows[b, k, m], best first, survive."""
    g, attrs = node.g, node.attrs
    threshold = attrs.number("overlap_thresh", 0.5)
    if not threshold >= 0:
        raise node.refuse(f"attribute 'overlap_thresh': expected 0 to 1, got {threshold}")
    if threshold >= 1:
        return g.emit("Greater", best, g.scalar(NEVER, best))
    _, boxes = _boxes(node, rows, width)
    if encoding(node, "in_format", "corner") == "center":
        boxes = corners(boxes)
    if label < 0 or attrs.boolean("force_suppress", False):
        return survivors(upright(boxes), best, threshold)
    # Whole numbers, as MXNet compares them; NaN, of which no two are equal, becomes one of them too.
    labels = column(rows, label).cast(np.int64)
    every, *_ = g.emit_many("Unique", labels, outputs=4)
    return survivors(upright(boxes), best, threshold, (labels, every))


def upright(boxes: Value) -> Value:
    """Corners (..., 4) of which the second is not before the first: such boxes have no area and overlap nothing.

    NonMaxSuppression would swap the corners.
    """
    g = boxes.g
    first, second = g.emit_many("Split", boxes, outputs=2, axis=-1, num_outputs=2)
    return g.emit("Concat", first, g.emit("Max", first, second), axis=-1)


def _reformatted(node: OpNode, rows: Value, width: int) -> Value:
    """Rows whose boxes are written as `out_format` says."""
    before, after = encoding(node, "in_format", "corner"), encoding(node, "out_format", "corner")
    if before == after:
        return rows
    start, boxes = _boxes(node, rows, width)
    boxes = corners(boxes) if after == "corner" else centres(boxes)
    parts = (rows.slice(2, 0, start), boxes, rows.slice(2, start + 4, width))
    return node.g.emit("Concat", *parts, axis=2)


def _padded(node: OpNode, rows: Value, shape: tuple[Size, ...]) -> Value:
    """Rows[b, k, m] with rows of -1 after them, up to `shape`."""
    g = node.g
    if node.attrs.integer("topk", -1) <= 0 or rows.shape[1] == shape[1]:
        return rows
    missing = g.emit("Sub", g.size(shape[1]), g.size(rows.shape[1]))
    sizes = g.emit("Concat", g.size(shape[0]), missing, g.size(shape[2]), axis=0)
    blank = g.emit("Expand", g.scalar(-1, rows), sizes)
    return g.emit("Concat", rows, blank, axis=1, shape=shape)
