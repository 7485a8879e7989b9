"""Pooling in numpy: the elements of all windows, one place in the kernel after the other."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op
from converters.mxnet.reference.windows import channels_first, per_axis, shifted


@numpy_op("Pooling")
def pooling(node: Context, data: np.ndarray) -> np.ndarray:
    """See the reference: windows start at i * stride - pad and end where the padding does at the latest."""
    data, moved = channels_first(node, data)
    pooled = _everything(node, data) if node.attrs.boolean("global_pool", False) else _windows(node, data)
    return np.moveaxis(pooled, 1, -1) if moved else pooled


def _everything(node: Context, data: np.ndarray) -> np.ndarray:
    kind = node.attrs.text("pool_type", "max")
    power = node.attrs.integer("p_value") if kind == "lp" else 1
    flat = data.reshape(*data.shape[:2], -1, *(1,) * (data.ndim - 2)) ** power
    made = {"max": flat.max, "avg": flat.mean, "sum": flat.sum, "lp": flat.sum}[kind](axis=2)
    return _root(np.asarray(made, data.dtype), power)


def _windows(node: Context, data: np.ndarray) -> np.ndarray:
    kind, kernel = node.attrs.text("pool_type", "max"), node.attrs.integers("kernel")
    axes = len(kernel)
    stride, pad = per_axis(node, "stride", axes, 1), per_axis(node, "pad", axes, 0)
    rounded = math.ceil if node.attrs.text("pooling_convention", "valid") == "full" else math.floor
    sizes = list(zip(data.shape[2:], kernel, stride, pad, strict=True))
    counts = [rounded((size + 2 * p - k) / s) + 1 for size, k, s, p in sizes]
    ends = [max((n - 1) * s + k - size - p, p) for n, (size, k, s, p) in zip(counts, sizes, strict=True)]
    power = node.attrs.integer("p_value", 1) if kind == "lp" else 1
    filler = np.finfo(data.dtype).min if kind == "max" else 0
    padded = np.pad(data, [(0, 0), (0, 0), *zip(pad, ends, strict=True)], constant_values=filler)
    views = (view**power for _, view in shifted(padded, kernel, stride, (1,) * axes, counts))
    made = reduce(np.maximum if kind == "max" else np.add, views)
    if kind == "avg":
        include = node.attrs.boolean("count_include_pad", True)
        lengths = [_lengths(n, *each, include) for n, each in zip(counts, sizes, strict=True)]
        made = made / np.maximum(reduce(np.multiply.outer, lengths), 1).astype(data.dtype)
    return _root(made, power)


def _lengths(count: int, size: int, kernel: int, stride: int, pad: int, include: bool) -> np.ndarray:
    """How many positions of each window count along one axis."""
    starts = np.arange(count) * stride - pad
    ends = np.minimum(starts + kernel, size + pad)
    return ends - starts if include else np.minimum(ends, size) - np.maximum(starts, 0)


def _root(total: np.ndarray, power: int) -> np.ndarray:
    return np.asarray(({1: np.positive, 2: np.sqrt, 3: np.cbrt}[power])(total))
