"""Special functions that ONNX lacks: gamma, its logarithm, and the inverse of the error function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from converters.mxnet.values import Value

_LANCZOS_G = 7.0
_LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
    -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip
"""Lanczos' approximation for g = 7 and n = 9 (Godfrey's coefficients): 15 digits for x >= 0.5."""
_CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip
"""M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011): single precision, w < 5 and w >= 5."""


def _log_gamma_right(x: Value) -> Value:
    """log(gamma(x)) for float64 x >= 0.5."""
    z = x - 1
    series = z * 0 + _LANCZOS[0]
    for place, coefficient in enumerate(_LANCZOS[1:], 1):
        series = series + coefficient / (z + place)
    t = z + (_LANCZOS_G + 0.5)
    g = x.g
    return (z + 0.5) * g.emit("Log", t) - t + g.emit("Log", series) + 0.5 * math.log(2 * math.pi)


class _Reflected:
    """gamma(x) gamma(1 - x) = pi / sin(pi x), which gives the half below 0.5 from that above. All in float64."""

    def __init__(self, x: Value) -> None:
        g = x.g
        self.x = x.cast(np.float64)
        self.left = g.emit("Less", self.x, g.scalar(0.5, self.x))
        self.sine = g.emit("Sin", (self.x - g.emit("Floor", self.x)) * math.pi)  # |sin(pi x)|, exactly 0 at the poles
        self.log_right = _log_gamma_right(g.emit("Where", self.left, 1 - self.x, self.x))


def gamma(x: Value) -> Value:
    """The gamma function; infinite at 0, NaN at negative integers."""
    g, parts = x.g, _Reflected(x)
    odd = g.emit("Mod", g.emit("Floor", parts.x), g.scalar(2, parts.x), fmod=1)  # sin(pi x) < 0
    sine = parts.sine * (1 - 2 * g.emit("Abs", odd))
    right = g.emit("Exp", parts.log_right)
    value = g.emit("Where", parts.left, math.pi / (sine * right), right)
    zero = g.scalar(0, parts.x)
    pole = g.emit("And", g.emit("Less", parts.x, zero), g.emit("Equal", parts.sine, zero))
    value = g.emit("Where", pole, g.scalar(math.nan, value), value)
    value = g.emit("Where", g.emit("Greater", parts.x, g.scalar(172, value)), g.scalar(math.inf, value), value)
    return g.emit("Where", g.emit("Equal", parts.x, zero), 1 / parts.x, value).cast(x.dtype)


def log_gamma(x: Value) -> Value:
    """log |gamma(x)|; infinite at 0, the negative integers and both infinities, and exactly 0 at 1 and 2."""
    g, parts = x.g, _Reflected(x)
    left = math.log(math.pi) - g.emit("Log", parts.sine) - parts.log_right
    value = g.emit("Where", parts.left, left, parts.log_right)
    root = g.emit("Equal", (parts.x - 1) * (parts.x - 2), g.scalar(0, parts.x))
    value = g.emit("Where", root, g.scalar(0, value), value)
    return g.emit("Where", g.emit("IsInf", parts.x), g.emit("Abs", parts.x), value).cast(x.dtype)


def _polynomial(w: Value, coefficients: Sequence[float]) -> Value:
    value = w * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * w + coefficient
    return value


def inverse_error_function(x: Value) -> Value:
    """erf^-1(x) to single precision; infinite at -1 and 1, NaN beyond."""
    g, wide = x.g, x.cast(np.float64)
    w = -g.emit("Log", (1 - wide) * (1 + wide))
    central = _polynomial(w - 2.5, _CENTRAL)
    tail = _polynomial(g.emit("Sqrt", w) - 3, _TAIL)
    value = g.emit("Where", g.emit("Less", w, g.scalar(5, w)), central, tail) * wide
    one = g.emit("Equal", g.emit("Abs", wide), g.scalar(1, wide))
    return g.emit("Where", one, wide * math.inf, value).cast(x.dtype)


SPECIAL: Final[Mapping[str, Callable[[Value], Value]]] = {
    "gamma": gamma,
    "gammaln": log_gamma,
    "erfinv": inverse_error_function,
}
