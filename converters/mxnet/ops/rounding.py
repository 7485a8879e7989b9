"""Rounding, which differs from ONNX's Round (halves to the even number) wherever halves are concerned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_DECIMALS = 30
"""Of `around`: 10^30 and its reciprocal are within float32."""


def _floats_only(function: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """Integers are round already, and ONNX's operators don't take them."""
    return lambda x: function(x) if x.is_float else x


def half_away(x: Value) -> Value:
    """To the nearest integer, halves away from zero: -2.5 -> -3, 2.5 -> 3 (C's `round`)."""
    g = x.g
    whole = truncate(x)
    # Not floor(|x| + 0.5): the sum rounds up for 0.49999997.
    away = g.emit("GreaterOrEqual", g.emit("Abs", x - whole), g.scalar(0.5, x))
    return g.emit("Where", away, whole + g.emit("Sign", x), whole)


def half_down(x: Value) -> Value:
    """To the nearest integer, halves down: -2.5 -> -3, 0.5 -> 0, 2.5 -> 2 (mshadow's `rint`)."""
    g = x.g
    low, high = g.emit("Floor", x), g.emit("Ceil", x)
    return g.emit("Where", g.emit("LessOrEqual", x - low, high - x), low, high)


def truncate(x: Value) -> Value:
    """Towards zero."""
    g = x.g
    return g.emit("Where", g.emit("Less", x, g.scalar(0, x)), g.emit("Ceil", x), g.emit("Floor", x))


def half_to_even(x: Value) -> Value:
    """To the nearest integer, halves to the even one."""
    return x.g.emit("Round", x)


ROUNDINGS: Final[Mapping[str, Callable[[Value], Value]]] = {
    name: _floats_only(function)
    for name, function in {
        "round": half_away,
        "rint": half_down,
        "ceil": lambda x: x.g.emit("Ceil", x),
        "floor": lambda x: x.g.emit("Floor", x),
        "trunc": truncate,
        "fix": truncate,
    }.items()
}


@mxnet_op("_contrib_round_ste")
def round_ste(node: OpNode, data: Value) -> Value:
    """`round`; only its gradient is another."""
    return ROUNDINGS["round"](data)


@mxnet_op("_npi_around")
def around(node: OpNode, x: Value) -> Value:
    """To `decimals` (default 0; may be negative) digits after the point, halves to the even one; integers stay."""
    decimals = node.attrs.integer("decimals", 0)
    if abs(decimals) > MAX_DECIMALS or (decimals < 0 and not x.is_float):
        lowest = -MAX_DECIMALS if x.is_float else 0
        raise node.refuse(f"attribute 'decimals': expected {lowest} to {MAX_DECIMALS} for {x.dtype}, got {decimals}")
    if not x.is_float:
        return x
    scale = 10.0**decimals
    return half_to_even(x * scale) / scale if decimals else half_to_even(x)
