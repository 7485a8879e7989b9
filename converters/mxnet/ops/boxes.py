"""Arithmetic on boxes: overlap, and offsets from anchors to boxes and back.

A box is four numbers on the last axis: `corner` x1, y1, x2, y2, or `center` cx, cy, width, height. The functions
without `@mxnet_op` serve the other detection operators. Source followed: MXNet 1.9.1,
src/operator/contrib/bounding_box-inl.h, and its outputs.
"""

from __future__ import annotations

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

ENCODINGS = ("corner", "center")


def encoding(node: OpNode, name: str, default: str) -> str:
    """The attribute that says how boxes are written; refused where it is neither of the two ways."""
    found = node.attrs.text(name, default)
    if found not in ENCODINGS:
        raise node.refuse(f"attribute {name!r}: expected corner or center, got {found!r}")
    return found


def coordinates(boxes: Value) -> tuple[Value, ...]:
    """The four numbers of each box (..., 4), apart: (..., 1) each."""
    return boxes.g.emit_many("Split", boxes, outputs=4, axis=-1, num_outputs=4)


def joined(*parts: Value) -> Value:
    """The opposite of `coordinates`: parts side by side on the last axis."""
    return parts[0].g.emit("Concat", *parts, axis=-1)


def corners(boxes: Value) -> Value:
    """Boxes (..., 4) written as centres, as corners."""
    x, y, width, height = coordinates(boxes)
    half_width, half_height = width / 2, height / 2
    return joined(x - half_width, y - half_height, x + half_width, y + half_height)


def centres(boxes: Value) -> Value:
    """Boxes (..., 4) written as corners, as centres."""
    left, top, right, bottom = coordinates(boxes)
    return joined((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def shifted(anchors: Value, offsets: Value, scales: tuple[float, float, float, float], limit: float = 0) -> Value:
    """Corners of `anchors` (written as centres, (..., 4)) moved and stretched by `offsets` times `scales`.

    Offsets are in units of the anchor's size for the centre, and logarithms for the size, which are at most `limit`
    where that is positive.
    """
    x, y, width, height = coordinates(anchors)
    dx, dy, dw, dh = (offset * scale for offset, scale in zip(coordinates(offsets), scales, strict=True))
    if limit > 0:
        most = offsets.g.scalar(limit, offsets)
        dw, dh = offsets.g.emit("Min", dw, most), offsets.g.emit("Min", dh, most)
    half_width = offsets.g.emit("Exp", dw) * width / 2
    half_height = offsets.g.emit("Exp", dh) * height / 2
    x, y = dx * width + x, dy * height + y
    return joined(x - half_width, y - half_height, x + half_width, y + half_height)


def _positive(value: Value) -> Value:
    return value.g.emit("Max", value, value.g.scalar(0, value))


@mxnet_op("_contrib_box_iou")
def box_iou(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """Overlap of all pairs: lhs (..., 4) and rhs (..., 4) give lhs' leading axes, then rhs' leading axes.

    Intersection over union, 0 for boxes without an area (also those whose corners are the wrong way round).
    `format` is corner by default.
    """
    g = node.g
    if encoding(node, "format", "corner") == "center":
        lhs, rhs = corners(lhs), corners(rhs)
    lhs = lhs.unsqueeze(*range(lhs.rank - 1, lhs.rank + rhs.rank - 2))
    (left, top, right, bottom), (left2, top2, right2, bottom2) = coordinates(lhs), coordinates(rhs)
    width = _positive(g.emit("Min", right, right2) - g.emit("Max", left, left2))
    height = _positive(g.emit("Min", bottom, bottom2) - g.emit("Max", top, top2))
    shared = width * height
    first = _positive(right - left) * _positive(bottom - top)
    second = _positive(right2 - left2) * _positive(bottom2 - top2)
    union = first + second - shared
    zero = g.scalar(0, union)
    overlap = g.emit("Where", g.emit("Greater", union, zero), shared / union, zero)
    return overlap.squeeze(-1)


@mxnet_op("_contrib_box_decode")
def box_decode(node: OpNode, data: Value, anchors: Value) -> Value:
    """Offsets data[n, a, 4] and anchors[1, a, 4] to corners [n, a, 4].

    The centre moves by `data * std0|1` of the anchor's size, the size is multiplied by `exp(data * std2|3)`, whose
    argument is at most `clip` where that is positive. `format` tells how the anchors are written: center (default!).
    """
    attrs = node.attrs
    if encoding(node, "format", "center") == "corner":
        anchors = centres(anchors)
    first, second, third, fourth = (attrs.number(f"std{place}", 1.0) for place in range(4))
    return shifted(anchors, data, (first, second, third, fourth), attrs.number("clip", -1.0))


@mxnet_op("_contrib_box_encode")
def box_encode(
    node: OpNode, samples: Value, matches: Value, anchors: Value, refs: Value, means: Value, stds: Value
) -> tuple[Value, Value]:
    """Offsets that would bring each anchor to its box, and a mask of those that count.

    samples[b, n] (1 counts, 0 and -1 don't), matches[b, n] (row of refs), anchors[b, n, 4] and refs[b, m, 4] as
    corners, means[4], stds[4] give two float[b, n, 4]; offsets that don't count are 0.
    """
    g = node.g
    found = g.emit("GatherND", refs, matches.cast("int64").unsqueeze(2), batch_dims=1)
    x, y, width, height = coordinates(centres(anchors))
    x2, y2, width2, height2 = coordinates(centres(found))
    wide, high = g.emit("Log", width2 / width), g.emit("Log", height2 / height)
    offsets = (joined((x2 - x) / width, (y2 - y) / height, wide, high) - means) / stds
    counts = g.emit("Greater", samples, g.scalar(0.5, samples)).unsqueeze(2)
    zero = g.scalar(0, offsets)
    mask = g.emit("Where", counts, g.scalar(1, offsets), zero)
    ones = g.emit("Expand", mask, g.sizes(offsets.shape), shape=offsets.shape)
    return g.emit("Where", counts, offsets, zero), ones
