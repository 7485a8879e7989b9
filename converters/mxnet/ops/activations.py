"""Activations: `Activation`, `LeakyReLU` and those that are operators of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from converters.mxnet.ops.kernels import single
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

Function = Callable[[Value], Value]


def relu(data: Value) -> Value:
    """max(x, 0), of any dtype."""
    return data.g.emit("Relu" if data.is_float else "Max", data, *([] if data.is_float else [data.g.scalar(0, data)]))


def log_sigmoid(data: Value) -> Value:
    """log(1 / (1 + exp(-x))), without overflow for large numbers."""
    return -single("Softplus", -data)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "relu": relu,
    "sigmoid": lambda data: data.g.emit("Sigmoid", data),
    "tanh": lambda data: data.g.emit("Tanh", data),
    "softrelu": lambda data: single("Softplus", data),
    "softsign": lambda data: data / (data.g.emit("Abs", data) + 1),
    "log_sigmoid": log_sigmoid,
    "mish": lambda data: single("Mish", data),
}
"""`act_type` -> what it does; the last two came with 2.0."""


@mxnet_op("Activation")
def activation(node: OpNode, data: Value) -> Value:
    """`act_type` (required) of each element."""
    kind = node.attrs.text("act_type")
    if kind not in FUNCTIONS:
        raise node.refuse(f"attribute 'act_type': expected one of {', '.join(FUNCTIONS)}, got {kind!r}")
    return FUNCTIONS[kind](data)


@mxnet_op("relu", "_npx_relu")
def plain_relu(node: OpNode, data: Value) -> Value:
    """max(x, 0), of integers too."""
    return relu(data)


def _register(names: tuple[str, ...], function: Function) -> None:
    @mxnet_op(*names)
    def translation(node: OpNode, data: Value) -> Value:
        """The function of each element; of integers it is computed in double precision and cut towards zero."""
        return function(data if data.is_float else data.cast(np.float64)).cast(data.dtype)


_register(("sigmoid", "_npx_sigmoid"), FUNCTIONS["sigmoid"])
_register(("softsign",), FUNCTIONS["softsign"])
_register(("log_sigmoid",), FUNCTIONS["log_sigmoid"])
_register(("mish",), FUNCTIONS["mish"])


@mxnet_op("hard_sigmoid")
def hard_sigmoid(node: OpNode, data: Value) -> Value:
    """`alpha * x + beta` within 0 and 1; alpha 0.2, beta 0.5."""
    return single("HardSigmoid", data, alpha=node.attrs.number("alpha", 0.2), beta=node.attrs.number("beta", 0.5))


@mxnet_op("LeakyReLU")
def leaky_relu(node: OpNode, data: Value, gamma: Value | None = None) -> Value:
    """What `act_type` (default leaky) makes of negative numbers; slope is 0.25 by default.

    leaky: slope * x. elu: slope * (exp(x) - 1). selu, gelu (with erf; 2.x calls it gelu_erf, and has gelu_tanh):
    without attributes. prelu: gamma * x, gamma having one element, or one for each channel of axis 1. rrelu: the mean
    of lower_bound (0.125) and upper_bound (0.334) as the slope, which MXNet draws at random in training alone; its
    second output has no meaning.
    """
    attrs = node.attrs
    kind = attrs.text("act_type", "leaky")
    if kind == "prelu":
        return _prelu(node, data, gamma)
    slope = attrs.number("slope", 0.25)
    mean = (attrs.number("lower_bound", 0.125) + attrs.number("upper_bound", 0.334)) / 2
    kinds: dict[str, Function] = {
        "leaky": lambda x: single("LeakyRelu", x, alpha=slope),
        "elu": lambda x: single("Elu", x, alpha=slope),
        "selu": lambda x: single("Selu", x),
        "gelu": lambda x: single("Gelu", x),
        "gelu_erf": lambda x: single("Gelu", x),
        "gelu_tanh": lambda x: single("Gelu", x, approximate="tanh"),
        "rrelu": lambda x: single("LeakyRelu", x, alpha=mean),
    }
    if kind not in kinds:
        raise node.refuse(f"attribute 'act_type': expected one of {', '.join([*kinds, 'prelu'])}, got {kind!r}")
    return kinds[kind](data)


def _prelu(node: OpNode, data: Value, gamma: Value | None) -> Value:
    if gamma is None:
        raise node.refuse("act_type prelu needs the input 'gamma'")
    g = node.g
    slopes = g.reshape(gamma, (g.product(gamma.shape),))
    channels = data.shape[min(1, data.rank - 1)]
    if slopes.shape != (1,) and isinstance(channels, int) and slopes.shape != (channels,):
        raise node.refuse(f"input 'gamma': expected 1 slope or {channels}, got {gamma}")
    # A single slope meets every axis by itself; one per channel needs the axes behind the channels.
    behind = range(1, data.rank - 1) if slopes.shape != (1,) else ()
    return single("PRelu", data, slopes.unsqueeze(*behind))


@mxnet_op("smooth_l1")
def smooth_l1(node: OpNode, data: Value) -> Value:
    """`0.5 * (s * x)^2` where |x| < 1 / s^2, else `|x| - 0.5 / s^2`; s is `scalar` (1).

    s is cast to the dtype first, as every scalar operand; of integers the rest is computed in floats and cut.
    """
    g = node.g
    s = node.attrs.number("scalar", 1.0)
    x = data if data.is_float else data.cast(np.float32)
    s = s if data.is_float else float(int(s))
    if s == 0:
        return (x * 0.0).cast(data.dtype)
    size = g.emit("Abs", x)
    near = g.emit("Less", size, g.scalar(1 / s**2, x))
    return g.emit("Where", near, x * x * (0.5 * s * s), size - 0.5 / s**2).cast(data.dtype)
