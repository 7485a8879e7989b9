"""Boxes in numpy: overlap, offsets from anchors, and greedy suppression one survivor at a time."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def corners(boxes: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) written as centre and size, as corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], -1)


def centres(boxes: np.ndarray) -> np.ndarray:
    """The opposite of `corners`."""
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(first + second) / 2, second - first], -1)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box (4,) with others (n, 4): (n,), 0 where there is no area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    area = np.prod(np.maximum(box[2:] - box[:2], 0))
    union = area + np.prod(np.maximum(others[:, 2:] - others[:, :2], 0), axis=1) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def survivors(
    boxes: np.ndarray,
    labels: np.ndarray | None,
    threshold: float,
    *,
    inclusive: bool = False,
    most: int | None = None,
) -> np.ndarray:
    """Which of boxes (n, 4), best first, remain: bool (n,). At most `most`, and each label by itself."""
    kept = np.zeros(len(boxes), bool)
    labels = np.zeros(len(boxes)) if labels is None else labels
    limit = boxes.dtype.type(threshold)
    for label in np.unique(labels):
        rest = np.flatnonzero(labels == label)
        while len(rest) and (most is None or kept.sum() < most):
            best, rest = rest[0], rest[1:]
            kept[best] = True
            found = overlaps(boxes[best], boxes[rest])
            rest = rest[found < limit] if inclusive else rest[found <= limit]
    return kept


@numpy_op("_contrib_box_iou")
def box_iou(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """All pairs, one box of lhs at a time."""
    if node.attrs.text("format", "corner") == "center":
        lhs, rhs = corners(lhs), corners(rhs)
    others = rhs.reshape(-1, 4)
    rows = [overlaps(box, others) for box in lhs.reshape(-1, 4)]
    return np.array(rows, dtype=lhs.dtype).reshape(lhs.shape[:-1] + rhs.shape[:-1])


@numpy_op("_contrib_box_decode")
def box_decode(node: Context, data: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Corners from offsets."""
    attrs = node.attrs
    if attrs.text("format", "center") == "corner":
        anchors = centres(anchors)
    offsets = data * np.array([attrs.number(f"std{place}", 1.0) for place in range(4)], data.dtype)
    growth = offsets[..., 2:]
    if attrs.number("clip", -1.0) > 0:
        growth = np.minimum(growth, attrs.number("clip"))
    moved = anchors[..., :2] + offsets[..., :2] * anchors[..., 2:]
    return corners(np.concatenate([moved, np.exp(growth) * anchors[..., 2:]], -1)).astype(data.dtype)


@numpy_op("_contrib_box_nms")
def box_nms(node: Context, data: np.ndarray) -> np.ndarray:
    """Each group of rows by itself."""
    if node.attrs.integer("topk", -1) == 0:
        return data
    groups = data.reshape(-1, *data.shape[-2:])
    return np.array([_suppressed(node, rows) for rows in groups], dtype=data.dtype).reshape(data.shape)


def _suppressed(node: Context, rows: np.ndarray) -> np.ndarray:
    attrs = node.attrs
    score, label = attrs.integer("score_index", 1), attrs.integer("id_index", -1)
    valid = rows[:, score] > rows.dtype.type(attrs.number("valid_thresh", 0.0))
    if label >= 0:
        valid &= rows[:, label] != attrs.integer("background_id", -1)
    order = np.argsort(-rows[:, score], kind="stable")
    order = order[valid[order]]
    best = rows[order[: attrs.integer("topk")] if attrs.integer("topk", -1) > 0 else order]
    start = attrs.integer("coord_start", 2)
    boxes = best[:, start : start + 4]
    before, after = attrs.text("in_format", "corner"), attrs.text("out_format", "corner")
    apart = label >= 0 and not attrs.boolean("force_suppress", False)
    labels = best[:, label].astype(np.int64) if apart else None
    kept = survivors(corners(boxes) if before == "center" else boxes, labels, attrs.number("overlap_thresh", 0.5))
    out = np.full_like(rows, -1)
    out[: kept.sum()] = best[kept]
    if before != after:
        written = out[: kept.sum(), start : start + 4]
        out[: kept.sum(), start : start + 4] = corners(written) if after == "corner" else centres(written)
    return out
