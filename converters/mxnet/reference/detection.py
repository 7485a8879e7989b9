"""SSD's anchors and detections, and region proposals, in numpy: image by image."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.boxes import centres, corners, survivors
from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


@numpy_op("_contrib_MultiBoxPrior")
def multi_box_prior(node: Context, data: np.ndarray) -> np.ndarray:
    """Anchors, box by box of a cell."""
    attrs = node.attrs
    height, width = data.shape[2:]
    sizes, ratios = attrs.numbers("sizes", (1.0,)), attrs.numbers("ratios", (1.0,))
    steps, offsets = attrs.numbers("steps", (-1.0, -1.0)), attrs.numbers("offsets", (0.5, 0.5))
    step_y, step_x = (step if step > 0 else 1 / size for step, size in zip(steps, (height, width), strict=True))
    y, x = np.mgrid[:height, :width]
    y, x = (y + offsets[0]) * step_y, (x + offsets[1]) * step_x
    anchors = []
    for size, ratio in [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]:
        half_x, half_y = size * height / width * np.sqrt(ratio) / 2, size / np.sqrt(ratio) / 2
        anchors.append(np.stack([x - half_x, y - half_y, x + half_x, y + half_y], -1))
    found = np.stack(anchors, 2).reshape(1, -1, 4).astype(np.float32)
    return found.clip(0, 1) if attrs.boolean("clip", False) else found


@numpy_op("_contrib_MultiBoxDetection")
def multi_box_detection(node: Context, cls_prob: np.ndarray, loc_pred: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Detections of each image."""
    images = zip(cls_prob, loc_pred, strict=True)
    return np.stack([_detected(node, probabilities, offsets, anchor[0]) for probabilities, offsets in images])


def _detected(node: Context, probabilities: np.ndarray, offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Rows of one image."""
    attrs = node.attrs
    label, score = probabilities[1:].argmax(0), probabilities[1:].max(0)
    shift = offsets.reshape(-1, 4) * np.array(attrs.numbers("variances", (0.1, 0.1, 0.2, 0.2)), np.float32)
    around = centres(anchors)
    centre = around[:, :2] + shift[:, :2] * around[:, 2:]
    boxes = corners(np.concatenate([centre, np.exp(shift[:, 2:]) * around[:, 2:]], 1))
    if attrs.boolean("clip", True):
        boxes = boxes.clip(0, 1)
    valid = (score >= np.float32(attrs.number("threshold", 0.01))) & (score > -1)
    rows = np.concatenate([label[:, None], score[:, None], boxes], 1)[valid].astype(np.float32)
    out = np.full((len(anchors), 6), -1, np.float32)
    out[: len(rows)] = rows
    threshold, topk = attrs.number("nms_threshold", 0.5), attrs.integer("nms_topk", -1)
    if not 0 < threshold <= 1:
        return out
    best = rows[np.argsort(-rows[:, 1], kind="stable")][: topk if topk > 0 else None]
    labels = None if attrs.boolean("force_suppress", False) else best[:, 0]
    kept = survivors(best[:, 2:], labels, threshold, inclusive=True)
    out[:, 0] = -1
    out[: len(best)] = best
    out[: len(best)][~kept, 0] = -1
    return out


@numpy_op("_contrib_Proposal", "_contrib_MultiProposal")
def proposal(
    node: Context, cls_prob: np.ndarray, bbox_pred: np.ndarray, im_info: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Proposals of each image, and their scores."""
    anchors = _base_anchors(node)
    scores = cls_prob[:, len(anchors) :]
    found = [
        _proposed(node, anchors, *each) for each in zip(scores, bbox_pred, im_info.astype(np.float32), strict=True)
    ]
    rows = np.stack(found)
    numbers = np.repeat(np.arange(len(rows), dtype=np.float32), rows.shape[1])[:, None]
    return np.concatenate([numbers, rows[..., :4].reshape(-1, 4)], 1), rows[..., 4].reshape(-1, 1)


def _base_anchors(node: Context) -> np.ndarray:
    """Centre and size of a cell's anchors, (a, 4): ratios slow."""
    attrs = node.attrs
    stride = attrs.integer("feature_stride", 16)
    found = []
    for ratio in attrs.numbers("ratios", (0.5, 1.0, 2.0)):
        width = np.floor(np.sqrt(np.floor(stride * stride / ratio)) + 0.5)
        height = np.floor(width * ratio + 0.5)
        for scale in attrs.numbers("scales", (4.0, 8.0, 16.0, 32.0)):
            found.append(((stride - 1) / 2, (stride - 1) / 2, width * scale, height * scale))
    return np.array(found, np.float32)


def _proposed(
    node: Context, base: np.ndarray, scores: np.ndarray, offsets: np.ndarray, im_info: np.ndarray
) -> np.ndarray:
    """Rows of box and score of one image."""
    attrs = node.attrs
    stride = attrs.integer("feature_stride", 16)
    _, rows, columns = scores.shape
    y, x = np.mgrid[:rows, :columns]
    shifts = np.stack([x, y], -1).astype(np.float32) * stride
    centre = (shifts[:, :, None] + base[:, :2]).reshape(-1, 2)
    size = np.tile(base[:, 2:], (rows * columns, 1))
    moves = offsets.reshape(len(base), 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
    if attrs.boolean("iou_loss", False):
        half = (size - 1) / 2
        boxes = np.concatenate([centre - half, centre + half], 1) + moves
    else:
        centre, half = centre + moves[:, :2] * size, (np.exp(moves[:, 2:]) * size - 1) / 2
        boxes = np.concatenate([centre - half, centre + half], 1)
    boxes = np.maximum(np.minimum(boxes, np.tile(im_info[1::-1] - 1, 2)), 0)
    least = attrs.integer("rpn_min_size", 16) * im_info[2]
    small = (boxes[:, 2:] - boxes[:, :2] + 1 < least).any(1)
    boxes[small] += np.array([-1, -1, 1, 1], np.float32) * least / 2
    outside = (y >= im_info[0] // stride) | (x >= im_info[1] // stride)
    flat = scores.transpose(1, 2, 0).reshape(-1)
    flat = np.where(small | np.repeat(outside, len(base)), np.float32(-1), flat)
    return _best(node, boxes, flat)


def _best(node: Context, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The survivors, repeated up to the number that is asked for."""
    before, after = node.attrs.integer("rpn_pre_nms_top_n", 6000), node.attrs.integer("rpn_post_nms_top_n", 300)
    order = np.argsort(-scores, kind="stable")[: before if before > 0 else None]
    measured = boxes[order] + np.array([0, 0, 1, 1], np.float32)
    kept = order[survivors(measured, None, node.attrs.number("threshold", 0.7), most=after)]
    chosen = kept[np.arange(after) % len(kept)]
    return np.concatenate([boxes[chosen], scores[chosen, None]], 1)
