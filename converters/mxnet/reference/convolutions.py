"""Convolution, its transpose and the fully connected layer in numpy: a matrix product for each place in the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op
from converters.mxnet.reference.windows import channels_first, per_axis, shifted, trailing


@numpy_op("Convolution")
def convolution(node: Context, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """out[n, o, i] = sum over c and k of data[n, c, i * stride + k * dilate - pad] * weight[o, c, k], within groups."""
    (data, moved), (weight, _) = channels_first(node, data), channels_first(node, weight)
    kernel, groups = weight.shape[2:], node.attrs.integer("num_group", 1)
    axes = len(kernel)
    stride, dilate, pad = (
        per_axis(node, *each) for each in (("stride", axes, 1), ("dilate", axes, 1), ("pad", axes, 0))
    )
    padded = np.pad(data, [(0, 0), (0, 0), *((p, p) for p in pad)])
    counts = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(padded.shape[2:], kernel, dilate, stride, strict=True)
    ]
    made = np.zeros((len(data), groups, len(weight) // groups, int(np.prod(counts))), data.dtype)
    for position, view in shifted(padded, kernel, stride, dilate, counts):
        columns = view.reshape(len(data), groups, data.shape[1] // groups, -1)
        made += _grouped(trailing(weight, *position), groups) @ columns
    return _finished(made.reshape(len(data), -1, *counts), bias, moved)


@numpy_op("Deconvolution")
def deconvolution(node: Context, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Every element of data adds its multiple of the kernel to the result, `stride` apart; then the margin is cut."""
    (data, moved), (weight, _) = channels_first(node, data), channels_first(node, weight)
    kernel, groups = weight.shape[2:], node.attrs.integer("num_group", 1)
    axes, counts = len(kernel), data.shape[2:]
    stride, dilate = per_axis(node, "stride", axes, 1), per_axis(node, "dilate", axes, 1)
    extents = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(counts, stride, kernel, dilate, strict=True)]
    pad, sizes = _margins(node, extents)
    # `adj` may reach beyond what the kernel does.
    reach = [max(extent, start + size) for extent, start, size in zip(extents, pad, sizes, strict=True)]
    whole = np.zeros((len(data), weight.shape[1] * groups, *reach), data.dtype)
    columns = data.reshape(len(data), groups, data.shape[1] // groups, -1)
    for position, view in shifted(whole, kernel, stride, dilate, counts):
        taps = trailing(weight, *position).reshape(groups, -1, weight.shape[1]).swapaxes(1, 2)
        view += (taps @ columns).reshape(view.shape)
    kept = (slice(start, start + size) for start, size in zip(pad, sizes, strict=True))
    return _finished(trailing(whole, *kept), bias, moved)


def _grouped(taps: np.ndarray, groups: int) -> np.ndarray:
    return taps.reshape(groups, len(taps) // groups, -1)


def _margins(node: Context, extents: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where the result starts in the whole, and its size (deconvolution-inl.h, `InferPad`)."""
    axes = len(extents)
    target = per_axis(node, "target_shape", axes, 0)
    if any(target):
        total = [whole - wanted for whole, wanted in zip(extents, target, strict=True)]
        return [(surplus + 1) // 2 for surplus in total], list(target)
    pad, adj = per_axis(node, "pad", axes, 0), per_axis(node, "adj", axes, 0)
    return list(pad), [whole - 2 * p + extra for whole, p, extra in zip(extents, pad, adj, strict=True)]


def _finished(made: np.ndarray, bias: np.ndarray | None, moved: bool) -> np.ndarray:
    if bias is not None:
        made = made + bias.reshape(-1, *(1,) * (made.ndim - 2))
    return np.moveaxis(made, 1, -1) if moved else made


@numpy_op("FullyConnected")
def fully_connected(node: Context, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """The last axis of data, or all but the first with `flatten`, against the second of the weight."""
    if node.attrs.boolean("flatten", True):
        data = data.reshape(len(data), -1)
    made = np.tensordot(data, weight, axes=(-1, 1))
    return made if bias is None else made + bias
