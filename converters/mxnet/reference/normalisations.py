"""Normalisations in numpy, in double precision inside: they divide by small differences."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def _along(vector: np.ndarray, axis: int, rank: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return vector.astype(np.float64).reshape(shape)


@numpy_op("BatchNorm")
def batch_norm(
    node: Context,
    data: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    moving_mean: np.ndarray,
    moving_var: np.ndarray,
) -> list[np.ndarray]:
    """One linear function for each channel: its slope and its value at the mean."""
    axis = node.attrs.integer("axis", 1)
    inverse = (moving_var.astype(np.float64) + node.attrs.number("eps", 1e-3)) ** -0.5
    slope = inverse if node.attrs.boolean("fix_gamma", True) else inverse * gamma
    offset = beta - moving_mean * slope
    made = data * _along(slope, axis, data.ndim) + _along(offset, axis, data.ndim)
    return [made.astype(data.dtype), moving_mean, inverse.astype(moving_var.dtype)]


@numpy_op("_contrib_BatchNormWithReLU")
def batch_norm_with_relu(node: Context, *inputs: np.ndarray) -> list[np.ndarray]:
    """`batch_norm`, and nothing below 0."""
    made, *statistics = batch_norm(node, *inputs)
    return [made.clip(min=0), *statistics]


@numpy_op("LayerNorm")
def layer_norm(node: Context, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> list[np.ndarray]:
    """Scale and shift lie along the axis that is normalised."""
    axis = node.attrs.integer("axis", -1)
    made, mean, deviation = _standardised(data, axis, node.attrs.number("eps", 1e-5))
    scaled = made * _along(gamma, axis, data.ndim) + _along(beta, axis, data.ndim)
    return [array.astype(data.dtype) for array in (scaled, mean, deviation)]


@numpy_op("InstanceNorm")
def instance_norm(node: Context, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Each channel of each sample by itself."""
    made, _, _ = _standardised(data, tuple(range(2, data.ndim)), node.attrs.number("eps", 1e-3))
    return np.asarray(made * _along(gamma, 1, data.ndim) + _along(beta, 1, data.ndim), data.dtype)


@numpy_op("GroupNorm")
def group_norm(node: Context, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> list[np.ndarray]:
    """Groups of neighbouring channels; a scale for each group is one for each of its channels."""
    groups, channels = node.attrs.integer("num_groups", 1), data.shape[1]
    grouped = data.reshape(len(data), groups, -1)
    made, mean, deviation = _standardised(grouped, 2, node.attrs.number("eps", 1e-5))
    scale, shift = (np.repeat(each, channels // len(each)) for each in (gamma, beta))
    scaled = made.reshape(data.shape) * _along(scale, 1, data.ndim) + _along(shift, 1, data.ndim)
    return [array.astype(data.dtype) for array in (scaled, mean[..., 0], deviation[..., 0])]


def _standardised(
    data: np.ndarray, axes: int | tuple[int, ...], eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wide = data.astype(np.float64)
    mean = wide.mean(axes, keepdims=True)
    deviation = np.sqrt(wide.var(axes, keepdims=True) + eps)
    return (wide - mean) / deviation, mean, deviation


@numpy_op("L2Normalization")
def l2_normalization(node: Context, data: np.ndarray) -> np.ndarray:
    """The square of eps' root is one more element under the norm."""
    flat = {
        "instance": lambda: data.reshape(len(data), 1, -1),
        "channel": lambda: data.reshape(len(data), data.shape[1], -1).swapaxes(1, 2),
        "spatial": lambda: data.reshape(len(data), data.shape[1], -1),
    }
    mode = node.attrs.text("mode", "instance")
    rows = flat[mode]().astype(np.float64)
    norms = np.hypot(np.linalg.norm(rows, axis=-1, keepdims=True), node.attrs.number("eps", 1e-10) ** 0.5)
    made = rows / norms
    return np.asarray(made.swapaxes(1, 2) if mode == "channel" else made, data.dtype).reshape(data.shape)


@numpy_op("LRN")
def local_response_norm(node: Context, data: np.ndarray) -> np.ndarray:
    """Sums of squares as differences of running sums over the channels."""
    attrs, size = node.attrs, node.attrs.integer("nsize")
    running = np.pad((data.astype(np.float64) ** 2).cumsum(1), [(0, 0), (1, 0), (0, 0), (0, 0)])
    channels = np.arange(data.shape[1])
    first, last = (channels - size // 2).clip(min=0), (channels + size // 2 + 1).clip(max=len(channels))
    sums = running[:, last] - running[:, first]
    base = attrs.number("knorm", 2.0) + attrs.number("alpha", 1e-4) / size * sums
    return np.asarray(data / base ** attrs.number("beta", 0.75), data.dtype)
