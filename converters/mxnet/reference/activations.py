"""Activations in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

Function = Callable[[np.ndarray], np.ndarray]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_erf: Final = np.vectorize(math.erf, otypes=[np.float64])


def _wide(function: Function) -> Function:
    """The function computed in double precision; integers are cut, as every C++ kernel does that computes floats."""
    return lambda x: function(x.astype(np.float64)).astype(x.dtype)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "relu": lambda x: x.clip(min=0),
    "sigmoid": _wide(lambda x: 1 / (1 + np.exp(-x))),
    "tanh": _wide(np.tanh),
    "softrelu": _wide(lambda x: np.logaddexp(x, 0)),
    "softsign": _wide(lambda x: x / (1 + abs(x))),
    "log_sigmoid": _wide(lambda x: -np.logaddexp(-x, 0)),
    "mish": _wide(lambda x: x * np.tanh(np.logaddexp(x, 0))),
}


@numpy_op("Activation")
def activation(node: Context, data: np.ndarray) -> np.ndarray:
    """By `act_type`."""
    return FUNCTIONS[node.attrs.text("act_type")](data)


def _register(name: str, *others: str) -> None:
    @numpy_op(name, *others)
    def function(node: Context, data: np.ndarray) -> np.ndarray:
        return FUNCTIONS[name](data)


_register("relu", "_npx_relu")
_register("sigmoid", "_npx_sigmoid")
_register("softsign")
_register("log_sigmoid")
_register("mish")


@numpy_op("hard_sigmoid")
def hard_sigmoid(node: Context, data: np.ndarray) -> np.ndarray:
    """A line between 0 and 1."""
    line = node.attrs.number("alpha", 0.2) * data.astype(np.float64) + node.attrs.number("beta", 0.5)
    return np.asarray(line.clip(0, 1), data.dtype)


@numpy_op("LeakyReLU")
def leaky_relu(node: Context, data: np.ndarray, gamma: np.ndarray | None = None) -> np.ndarray:
    """By `act_type`: what becomes of the negative numbers, and of the others where they change too."""
    attrs = node.attrs
    slope = attrs.number("slope", 0.25)
    mean = (attrs.number("lower_bound", 0.125) + attrs.number("upper_bound", 0.334)) / 2
    negative: dict[str, Function] = {
        "leaky": lambda x: slope * x,
        "elu": lambda x: slope * np.expm1(x),
        "selu": lambda x: SELU_SCALE * SELU_ALPHA * np.expm1(x),
        "gelu": _gelu,
        "gelu_erf": _gelu,
        "gelu_tanh": _gelu_tanh,
        "rrelu": lambda x: mean * x,
        "prelu": lambda x: _slopes(gamma, x.ndim) * x,
    }
    positive: dict[str, Function] = {
        "selu": lambda x: SELU_SCALE * x,
        "gelu": _gelu,
        "gelu_erf": _gelu,
        "gelu_tanh": _gelu_tanh,
    }
    kind = attrs.text("act_type", "leaky")
    wide = data.astype(np.float64)
    return np.where(wide > 0, positive.get(kind, np.positive)(wide), negative[kind](wide)).astype(data.dtype)


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / 2 * (1 + _erf(x / math.sqrt(2)))) if x.size else x


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _slopes(gamma: np.ndarray | None, rank: int) -> np.ndarray:
    slopes = np.asarray(gamma, np.float64).ravel()
    return slopes.reshape(-1, *(1,) * (rank - 2)) if len(slopes) > 1 else slopes


@numpy_op("smooth_l1")
def smooth_l1(node: Context, data: np.ndarray) -> np.ndarray:
    """A parabola around 0 that goes over into lines of slope 1."""
    s = data.dtype.type(node.attrs.number("scalar", 1.0)).astype(np.float64)
    if s == 0:
        return np.zeros_like(data)
    size = abs(data.astype(np.float64))
    return np.asarray(np.where(size < s**-2, (s * size) ** 2 / 2, size - s**-2 / 2), data.dtype)
