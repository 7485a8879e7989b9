"""Quantised operators on the integers themselves, as MXNet 1.9.1 computes them; nothing is converted to real numbers.

A tensor comes with the ends of its range, (1,) each. A range has 127 or 255 levels in MXNet's own code, and half a
level more in its calls of oneDNN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.mxnet.reference.convolutions import convolution, fully_connected
from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.pooling import pooling
from converters.mxnet.reference.registry import numpy_op

Outputs = list[np.ndarray]
WHOLE = 2.0**31


def _limit(*ends: np.ndarray | float) -> float:
    return max(abs(float(np.float32(np.asarray(end).item()))) for end in ends)


def _levels(dtype: Any, half: float) -> float:
    return (255.0 if np.dtype(dtype) == np.uint8 else 127.0) + half


def _whole(real: np.ndarray, dtype: Any) -> np.ndarray:
    """The nearest integers, halves to even. NaN is 0 for uint8 and the highest number for int8."""
    limits = np.iinfo(dtype)
    nearest = np.nan_to_num(np.rint(real), nan=limits.max if limits.min else 0, posinf=np.inf, neginf=-np.inf)
    return np.asarray(np.clip(nearest, limits.min, limits.max).astype(dtype))


def _ends(*ends: np.ndarray | float) -> Outputs:
    return [np.asarray(end, np.float32).reshape(1) for end in ends]


def _symmetric(limit: float) -> Outputs:
    return _ends(-limit, limit)


def _calibrated(node: Context) -> tuple[float, float] | None:
    low, high = node.attrs.number("min_calib_range", None), node.attrs.number("max_calib_range", None)
    return None if low is None or high is None else (low, high)


def _out_type(node: Context, low: float | None) -> Any:
    name = node.attrs.text("out_type", "int8")
    return np.dtype(("uint8" if low is not None and low >= 0 else "int8") if name == "auto" else name)


def _ranged(dtype: Any, low: Any, high: Any) -> Outputs:
    return _ends(low, high) if dtype == np.uint8 else _symmetric(_limit(low, high))


@numpy_op("_contrib_quantize")
def quantize(node: Context, data: np.ndarray, min_range: np.ndarray, max_range: np.ndarray) -> Outputs:
    """127 or 255 levels of the range given."""
    dtype = np.dtype(node.attrs.text("out_type", "uint8"))
    ratio = np.float32(_levels(dtype, 0) / _limit(min_range, max_range))
    return [_whole(data * ratio, dtype), *_ranged(dtype, min_range, max_range)]


@numpy_op("_contrib_quantize_v2")
def quantize_v2(node: Context, data: np.ndarray) -> Outputs:
    """127.5 or 255.5 levels of the calibrated range, or of that of the data."""
    found = _calibrated(node)
    low, high = found or (data.min(), data.max())
    if data.dtype.kind in "iu":
        return [data, *_ends(low, high)]
    dtype = _out_type(node, found and found[0])
    return [_whole(data * np.float32(_levels(dtype, 0.5) / _limit(low, high)), dtype), *_ranged(dtype, low, high)]


@numpy_op("_contrib_dequantize")
def dequantize(node: Context, data: np.ndarray, min_range: np.ndarray, max_range: np.ndarray) -> np.ndarray:
    """Integers times one step."""
    step = np.float32(_limit(min_range, max_range) / _levels(data.dtype, 0.5))
    return np.asarray(data.astype(np.float32) * step)


@numpy_op("_contrib_requantize")
def requantize(node: Context, data: np.ndarray, min_range: np.ndarray, max_range: np.ndarray) -> Outputs:
    """int32 to 127 or 255 levels of a narrower range."""
    real = data * (_limit(min_range, max_range) / WHOLE)
    found = _calibrated(node)
    dtype = _out_type(node, found and found[0])
    limit = _limit(*found) if found else _limit(real.min(), real.max())
    low = 0.0 if dtype == np.uint8 else -limit
    return [_whole(real * (_levels(dtype, 0) / limit), dtype), *_ends(low, limit)]


@numpy_op("_contrib_quantized_act")
def quantized_act(node: Context, data: np.ndarray, min_data: np.ndarray, max_data: np.ndarray) -> Outputs:
    """Negatives become 0."""
    return [np.maximum(data, data.dtype.type(0)), min_data, max_data]


@numpy_op("_contrib_quantized_flatten")
def quantized_flatten(node: Context, data: np.ndarray, min_data: np.ndarray, max_data: np.ndarray) -> Outputs:
    """All but the first axis in one."""
    return [data.reshape(len(data), -1), min_data, max_data]


@numpy_op("_contrib_quantized_embedding")
def quantized_embedding(
    node: Context, data: np.ndarray, weight: np.ndarray, min_weight: np.ndarray, max_weight: np.ndarray
) -> Outputs:
    """Rows; indices are cut, and kept within the table."""
    rows = np.clip(data.astype(np.int64), 0, node.attrs.integer("input_dim") - 1)
    return [weight[rows], min_weight, max_weight]


@numpy_op("_contrib_quantized_conv")
def quantized_conv(node: Context, data: np.ndarray, weight: np.ndarray, *rest: np.ndarray) -> Outputs:
    """Whole numbers times whole numbers. What 1.9.1 does to uint8 data on CPUs is told in the translation."""
    total = convolution(node, data.astype(np.float64), weight.astype(np.float64))
    bias, limits = _biased(node, rest)
    step = limits[0] / 127 * limits[1] / 127
    if bias is not None:
        shift = bias if data.dtype == np.uint8 else np.trunc(bias * (limits[2] / 127 / step))
        total = total + shift.reshape(-1, *(1,) * (data.ndim - 2))
    return [total.astype(np.int32), *_symmetric(step * WHOLE)]


@numpy_op("_contrib_quantized_fully_connected")
def quantized_fully_connected(node: Context, data: np.ndarray, weight: np.ndarray, *rest: np.ndarray) -> Outputs:
    """The bias is brought to the steps of the product, and cut."""
    total = fully_connected(node, data.astype(np.float64), weight.astype(np.float64))
    bias, limits = _biased(node, rest)
    if bias is not None:
        fine = limits[0] / _levels(data.dtype, 0.5) * limits[1] / 127.5
        total = total + np.trunc(bias * (limits[2] / 127.5 / fine))
    step = limits[0] / _levels(data.dtype, 0) * limits[1] / 127
    return [total.astype(np.int32), *_symmetric(step * WHOLE)]


def _biased(node: Context, rest: Sequence[np.ndarray]) -> tuple[np.ndarray | None, list[float]]:
    bias, ends = (None, rest) if node.attrs.boolean("no_bias", False) else (rest[0].astype(np.float64), rest[1:])
    return bias, [_limit(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)]


@numpy_op("_contrib_quantized_pooling")
def quantized_pooling(node: Context, data: np.ndarray, min_data: np.ndarray, max_data: np.ndarray) -> Outputs:
    """Of whole numbers, rounded."""
    return [_whole(pooling(node, data.astype(np.float64)), data.dtype), min_data, max_data]


@numpy_op("_contrib_quantized_concat")
def quantized_concat(node: Context, *data: np.ndarray) -> Outputs:
    """Each tensor in the steps of the widest range."""
    count = len(data) // 3
    tensors, lows, highs = data[:count], data[count::2], data[count + 1 :: 2]
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    dtype = np.uint8 if all(each.dtype == np.uint8 for each in tensors) else np.int8
    levels = _levels(dtype, 0.5) / _limit(low, high)
    parts = [
        _whole(each * np.float32(_limit(*ends) / _levels(each.dtype, 0.5) * levels), dtype)
        for each, *ends in zip(tensors, lows, highs, strict=True)
    ]
    return [np.concatenate(parts, axis=node.attrs.integer("dim", 1)), *_ends(low, high)]


@numpy_op("_contrib_quantized_elemwise_add")
def quantized_elemwise_add(node: Context, lhs: np.ndarray, rhs: np.ndarray, *ends: np.ndarray) -> Outputs:
    """In steps of the calibrated range, or of the sum of both ranges."""
    limits = (_limit(*ends[:2]), _limit(*ends[2:]))
    if (found := _calibrated(node)) is not None:
        ratios = [np.float32(limit / _limit(*found)) for limit in limits]
        return [_whole(lhs * ratios[0] + rhs * ratios[1], lhs.dtype), *_ends(*found)]
    step = _levels(lhs.dtype, 0.5) * sum(limits) / WHOLE
    return [_whole((lhs * limits[0] + rhs * limits[1]) / step, np.int32), *_symmetric(sum(limits))]


@numpy_op("_contrib_quantized_elemwise_mul")
def quantized_elemwise_mul(node: Context, lhs: np.ndarray, rhs: np.ndarray, *ends: np.ndarray) -> Outputs | np.ndarray:
    """Products; cut and wrapped where the result is int8."""
    whole = lhs.astype(np.int32) * rhs.astype(np.int32)
    limits = _limit(*ends[:2]) * _limit(*ends[2:])
    if node.attrs.boolean("enable_float_output", False):
        return np.asarray(whole.astype(np.float32) * np.float32(limits / 127.5**2))
    if (found := _calibrated(node)) is None:
        return [whole, *_symmetric(limits / 127**2 * WHOLE)]
    cut = np.trunc(whole.astype(np.float32) * np.float32(limits / 127.5 / _limit(*found)))
    return [cut.astype(np.int32).astype(np.int8), *_ends(*found)]


@numpy_op("_contrib_quantized_batch_norm")
def quantized_batch_norm(
    node: Context,
    data: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    moving_mean: np.ndarray,
    moving_var: np.ndarray,
    min_data: np.ndarray,
    max_data: np.ndarray,
) -> Outputs:
    """One factor and one shift for each channel, on the integers."""
    found = _calibrated(node) or (-1.0, 1.0)
    levels = 127.5 / _limit(*found)
    scale = gamma.astype(np.float64) / np.sqrt(moving_var + node.attrs.number("eps", 1e-3))
    factor = scale * _limit(min_data, max_data) / 127.5 * levels
    shift = (beta - moving_mean * scale) * levels
    axis = node.attrs.integer("axis", 1)
    channels = [size if place == axis % data.ndim else 1 for place, size in enumerate(data.shape)]
    return [_whole(data * factor.reshape(channels) + shift.reshape(channels), np.int8), *_ends(*found)]
