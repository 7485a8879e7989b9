"""Convolution, its transpose and the fully connected layer in numpy, as matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op
from converters.mxnet.reference.windows import channels_first, per_axis, shifted, trailing


@numpy_op("Convolution")
def convolution(node: Context, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """out[n, o, i] = sum over c and k of data[n, c, i * stride + k * dilate - pad] * weight[o, c, k], within groups."""
    dtype = data.dtype
    (data, moved), (weight, _) = channels_first(node, _wide(data)), channels_first(node, _wide(weight))
    axes, groups = weight.ndim - 2, node.attrs.integer("num_group", 1)
    padded = np.pad(data, [(0, 0), (0, 0), *((pad, pad) for pad in per_axis(node, "pad", axes, 0))])
    stride, dilate = per_axis(node, "stride", axes, 1), per_axis(node, "dilate", axes, 1)
    taps = weight.reshape(groups, len(weight) // groups, -1)
    # Sample by sample: all windows of one take as many times its memory as the kernel has elements.
    made = np.stack([_windows_times(taps, sample, weight.shape[2:], stride, dilate) for sample in padded])
    return _finished(made, bias, moved, dtype)


def _windows_times(
    taps: np.ndarray, sample: np.ndarray, kernel: Sequence[int], stride: Sequence[int], dilate: Sequence[int]
) -> np.ndarray:
    """taps (groups, out / groups, in / groups * kernel) times the windows of a sample (in, spatial..)."""
    axes = len(kernel)
    extents = [(size - 1) * step + 1 for size, step in zip(kernel, dilate, strict=True)]
    windows = sliding_window_view(sample, extents, axis=tuple(range(1, axes + 1)))
    windows = trailing(windows, *(slice(None, None, step) for step in (*stride, *dilate)))
    counts = windows.shape[1 : axes + 1]
    columns = windows.transpose(0, *range(axes + 1, 2 * axes + 1), *range(1, axes + 1))
    return np.asarray(taps @ columns.reshape(len(taps), taps.shape[2], -1)).reshape(-1, *counts)


@numpy_op("Deconvolution")
def deconvolution(node: Context, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Every element of data adds its multiple of the kernel to the result, `stride` apart; then the margin is cut."""
    dtype = data.dtype
    (data, moved), (weight, _) = channels_first(node, _wide(data)), channels_first(node, _wide(weight))
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
    return _finished(trailing(whole, *kept), bias, moved, dtype)


def _margins(node: Context, extents: Sequence[int]) -> tuple[list[int], list[int]]:
    """Where the result starts in the whole, and its size (deconvolution-inl.h, `InferPad`)."""
    axes = len(extents)
    target = per_axis(node, "target_shape", axes, 0)
    if any(target):
        total = [whole - wanted for whole, wanted in zip(extents, target, strict=True)]
        return [(surplus + 1) // 2 for surplus in total], list(target)
    pad, adj = per_axis(node, "pad", axes, 0), per_axis(node, "adj", axes, 0)
    return list(pad), [whole - 2 * p + extra for whole, p, extra in zip(extents, pad, adj, strict=True)]


def _wide(array: np.ndarray) -> np.ndarray:
    """float16 as float32: sums of products lose too much otherwise, and numpy takes forever."""
    return array.astype(np.promote_types(array.dtype, np.float32), copy=False)


def _finished(made: np.ndarray, bias: np.ndarray | None, moved: bool, dtype: np.dtype[Any]) -> np.ndarray:
    if bias is not None:
        made = made + bias.reshape(-1, *(1,) * (made.ndim - 2))
    return np.moveaxis(made, 1, -1).astype(dtype) if moved else made.astype(dtype, copy=False)


@numpy_op("FullyConnected")
def fully_connected(node: Context, data: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """The last axis of data, or all but the first with `flatten`, against the second of the weight."""
    if node.attrs.boolean("flatten", True):
        data = data.reshape(len(data), -1)
    made = np.tensordot(_wide(data), _wide(weight), axes=(-1, 1))
    return np.asarray(made if bias is None else made + bias, data.dtype)
