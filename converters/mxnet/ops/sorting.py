"""topk, argsort and sort. Equal elements keep their order, and indices are float32 unless `dtype` says otherwise."""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.axes import axis_of
from converters.mxnet.ops.creation import filled
from converters.mxnet.ops.kernels import WIDER
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

SORTED = frozenset({"float32", "float64", "int32", "int64"})
"""Types that TopK has kernels for."""


def best(node: OpNode, data: Value, axis: int, count: Size, *, ascending: bool) -> tuple[Value, Value]:
    """The first `count` along an axis in order, and their indices (int64)."""
    g = node.g
    wide = data if data.dtype.name in SORTED else data.cast(WIDER.get(data.dtype.name, "int32"))
    values, indices = g.emit_many(
        "TopK", wide, g.size(count), outputs=2, axis=axis, largest=int(not ascending), sorted=1
    )
    return values.cast(data.dtype), indices


def _line(node: OpNode, data: Value) -> tuple[Value, int]:
    """The data and the axis to sort along: the last by default; `None` stands for the flattened tensor."""
    if node.node.texts.get("axis") == "None":
        return node.g.reshape(data, (node.g.product(data.shape),)), 0
    return data, axis_of(node, node.attrs.integer("axis", -1), data.rank)


@mxnet_op("topk")
def topk(node: OpNode, data: Value) -> Value | list[Value]:
    """The `k` largest along `axis` (with `is_ascend` the smallest); all of them for a k below 1.

    `ret_typ`: indices (default), value, both (values first), or mask: 1 at their places in the shape of the data.
    """
    attrs = node.attrs
    line, axis = _line(node, data)
    k, have = attrs.integer("k", 1), line.shape[axis]
    if isinstance(have, int) and k > have:
        raise node.refuse(f"attribute 'k': expected at most {have} for {line}, got {k}")
    values, indices = best(node, line, axis, k if k >= 1 else have, ascending=attrs.boolean("is_ascend", False))
    kind = attrs.text("ret_typ", "indices")
    if kind == "mask":
        return _mask(node, data, line, axis, indices)
    places = indices.cast(attrs.dtype("dtype", np.dtype(np.float32)))
    results: dict[str, Value | list[Value]] = {"indices": places, "value": values, "both": [values, places]}
    if kind not in results:
        raise node.refuse(f"attribute 'ret_typ': expected indices, value, mask or both, got {kind!r}")
    return results[kind]


def _mask(node: OpNode, data: Value, line: Value, axis: int, indices: Value) -> Value:
    ones = filled(node, indices.shape, 1, data.dtype)
    marked = node.g.emit("ScatterElements", filled(node, line.shape, 0, data.dtype), indices, ones, axis=axis)
    return node.g.reshape(marked, data.shape)


@mxnet_op("argsort")
def argsort(node: OpNode, data: Value) -> Value:
    """The indices that sort the data along `axis`, ascending by default."""
    return _sorted(node, data)[1].cast(node.attrs.dtype("dtype", np.dtype(np.float32)))


@mxnet_op("sort")
def sort(node: OpNode, data: Value) -> Value:
    """The data sorted along `axis`, ascending by default."""
    return _sorted(node, data)[0]


def _sorted(node: OpNode, data: Value) -> tuple[Value, Value]:
    line, axis = _line(node, data)
    return best(node, line, axis, line.shape[axis], ascending=node.attrs.boolean("is_ascend", True))
