"""Normalisations at inference. Population variances throughout; each operator has its own default of eps."""

from __future__ import annotations

import numpy as np

from converters.mxnet.ops.axes import axis_of, expect_shape, known_size
from converters.mxnet.ops.kernels import single
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

BATCH_NORM_STATES = ("moving_mean", "moving_var")
MOST_CHANNELS = 1 << 20
"""For which constants are written."""


@mxnet_op("BatchNorm", auxiliary=BATCH_NORM_STATES)
def batch_norm(
    node: OpNode, data: Value, gamma: Value, beta: Value, moving_mean: Value, moving_var: Value
) -> list[Value]:
    """`(data - moving_mean) / sqrt(moving_var + eps) * gamma + beta`, one of each per channel of `axis` (1).

    `fix_gamma` is True by default: gamma counts as 1 then, whatever the file holds. eps is 1e-3 by default. The
    running statistics count whether `use_global_stats` says so or not: there is no training here. Data of any rank.
    Further outputs are moving_mean and 1 / sqrt(moving_var + eps). float16 data comes with float32 parameters.
    """
    return _batch_normalised(node, data, gamma, beta, moving_mean, moving_var)


@mxnet_op("_contrib_BatchNormWithReLU", auxiliary=BATCH_NORM_STATES)
def batch_norm_with_relu(
    node: OpNode, data: Value, gamma: Value, beta: Value, moving_mean: Value, moving_var: Value
) -> list[Value]:
    """BatchNorm whose first output is cut at 0."""
    normalised, *statistics = _batch_normalised(node, data, gamma, beta, moving_mean, moving_var)
    return [node.g.emit("Relu", normalised), *statistics]


def _batch_normalised(
    node: OpNode, data: Value, gamma: Value, beta: Value, moving_mean: Value, moving_var: Value
) -> list[Value]:
    axis = axis_of(node, node.attrs.integer("axis", 1), data.rank)
    eps = node.attrs.number("eps", 1e-3)
    if node.attrs.boolean("fix_gamma", True):
        gamma = _constant(node, 1, known_size(node, gamma, 0), gamma)
    for name, value in {"gamma": gamma, "beta": beta, "moving_mean": moving_mean, "moving_var": moving_var}.items():
        expect_shape(node, name, value, data.shape[axis : axis + 1])
    wide = data.cast(gamma.dtype)
    made = [_normalised(wide, axis, gamma, beta, moving_mean, moving_var, eps).cast(data.dtype)]
    return made if node.outputs_used <= {0} else [*made, moving_mean, 1 / _deviation(moving_var, eps)]


def _normalised(data: Value, axis: int, gamma: Value, beta: Value, mean: Value, variance: Value, eps: float) -> Value:
    if axis == 1:
        return data.g.emit("BatchNormalization", data, gamma, beta, mean, variance, epsilon=eps)
    scale, shift, centre = (
        value.unsqueeze(*range(1, data.rank - axis)) for value in (gamma / _deviation(variance, eps), beta, mean)
    )
    return (data - centre) * scale + shift


def _constant(node: OpNode, number: int, channels: int, like: Value) -> Value:
    if channels > MOST_CHANNELS:
        raise node.refuse(f"expected at most {MOST_CHANNELS} channels, got {channels}")
    return node.g.const(np.full(channels, number, like.dtype))


def _deviation(variance: Value, eps: float) -> Value:
    return variance.g.emit("Sqrt", variance + eps)


def _moments(data: Value, *axes: int) -> tuple[Value, Value]:
    """Mean and variance over `axes`, which keep a size of 1."""
    mean = data.reduce("ReduceMean", *axes, keepdims=True)
    return mean, ((data - mean) * (data - mean)).reduce("ReduceMean", *axes, keepdims=True)


@mxnet_op("LayerNorm")
def layer_norm(node: OpNode, data: Value, gamma: Value, beta: Value) -> list[Value]:
    """Normalises over one `axis` (-1), whose length gamma and beta have; eps 1e-5.

    Further outputs: mean and sqrt(variance + eps), with a size of 1 along the axis.
    """
    axis = axis_of(node, node.attrs.integer("axis", -1), data.rank)
    eps = node.attrs.number("eps", 1e-5)
    for name, value in {"gamma": gamma, "beta": beta}.items():
        expect_shape(node, name, value, data.shape[axis : axis + 1])
    if axis == data.rank - 1 and node.outputs_used <= {0}:
        return [node.g.emit("LayerNormalization", data, gamma, beta, axis=-1, epsilon=eps)]
    mean, variance = _moments(data, axis)
    deviation = _deviation(variance, eps)
    scale, shift = (value.unsqueeze(*range(1, data.rank - axis)) for value in (gamma, beta))
    return [(data - mean) / deviation * scale + shift, mean, deviation]


@mxnet_op("InstanceNorm")
def instance_norm(node: OpNode, data: Value, gamma: Value, beta: Value) -> Value:
    """Normalises every sample's channel over its spatial axes, of which there is at least one; eps 1e-3."""
    _check_rank(node, data, 3)
    expect_shape(node, "gamma", gamma, data.shape[1:2])
    expect_shape(node, "beta", beta, data.shape[1:2])
    return single("InstanceNormalization", data, gamma, beta, epsilon=node.attrs.number("eps", 1e-3))


@mxnet_op("GroupNorm")
def group_norm(node: OpNode, data: Value, gamma: Value, beta: Value) -> list[Value]:
    """Normalises data (N, C, spatial..) over C / num_groups channels and all their spatial axes; eps 1e-5.

    In 1.x gamma and beta have one number for each group, in 2.x one for each channel: their length tells. Further
    outputs: mean and sqrt(variance + eps), (N, num_groups).
    """
    _check_rank(node, data, 3)
    g, groups = node.g, node.attrs.integer("num_groups", 1)
    eps = node.attrs.number("eps", 1e-5)
    channels = known_size(node, data, 1)
    if not 1 <= groups <= channels or channels % groups:
        raise node.refuse(f"attribute 'num_groups': expected a divisor of {channels} channels, got {groups}")
    grouped = g.reshape(data, (data.shape[0], groups, g.product((channels // groups, *data.shape[2:]))))
    if gamma.shape == beta.shape == (groups,):
        made = g.reshape(single("InstanceNormalization", grouped, gamma, beta, epsilon=eps), data.shape)
    elif gamma.shape == beta.shape == (channels,):
        ones, zeros = (_constant(node, number, groups, data) for number in (1, 0))
        normalised = g.reshape(single("InstanceNormalization", grouped, ones, zeros, epsilon=eps), data.shape)
        scale, shift = (value.unsqueeze(*range(1, data.rank - 1)) for value in (gamma, beta))
        made = normalised * scale + shift
    else:
        raise node.refuse(f"inputs 'gamma' and 'beta': expected {groups} or {channels} numbers, got {gamma} and {beta}")
    if node.outputs_used <= {0}:
        return [made]
    mean, variance = _moments(grouped, 2)
    return [made, mean.squeeze(2), _deviation(variance, eps).squeeze(2)]


@mxnet_op("L2Normalization")
def l2_normalization(node: OpNode, data: Value) -> Value:
    """`data / sqrt(sum(data^2) + eps)`, eps (1e-10) inside the root, unlike ONNX's LpNormalization.

    `mode` instance (default) sums over all axes but the first, channel over axis 1, spatial over all from axis 2.
    """
    modes = {"instance": range(1, data.rank), "channel": (1,), "spatial": range(2, data.rank)}
    mode = node.attrs.text("mode", "instance")
    if mode not in modes:
        raise node.refuse(f"attribute 'mode': expected one of {', '.join(modes)}, got {mode!r}")
    _check_rank(node, data, 2 if mode == "instance" else 3)
    total = data.reduce("ReduceSumSquare", *modes[mode], keepdims=True)
    return data / _deviation(total, node.attrs.number("eps", 1e-10))


@mxnet_op("LRN")
def local_response_norm(node: OpNode, data: Value) -> Value:
    """`data / (knorm + alpha / nsize * sum of squares)^beta` over `nsize` channels around, which must be odd.

    alpha 1e-4, beta 0.75, and knorm 2, which is 1 in ONNX. data (N, C, H, W). A window beyond all channels sums what
    one of 2 C - 1 does; ONNX Runtime would take memory for all of it.
    """
    if data.rank != 4:
        raise node.refuse(f"expected 4-D data, got {data}")
    attrs = node.attrs
    size = attrs.integer("nsize")
    if size < 1 or size % 2 == 0:
        raise node.refuse(f"attribute 'nsize': expected an odd number, got {size}")
    reach = min(size, 2 * known_size(node, data, 1) - 1)
    alpha, beta, bias = attrs.number("alpha", 1e-4), attrs.number("beta", 0.75), attrs.number("knorm", 2.0)
    if not (alpha > 0 and beta > 0):
        raise node.refuse(f"attributes 'alpha' and 'beta': expected positive numbers, got {alpha} and {beta}")
    return single("LRN", data, alpha=alpha * reach / size, beta=beta, bias=bias, size=reach)


def _check_rank(node: OpNode, data: Value, least: int) -> None:
    if data.rank < least:
        raise node.refuse(f"expected data of at least {least} axes, got {data}")
