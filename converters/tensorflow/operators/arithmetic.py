"""Arithmetic for tf2onnx 1.17: what it lacks, and integer division, which it gets wrong below zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.tensorflow.operators.nodes import constant, constant_like, is_float, taken_over


class Bucketize:
    """int32 number of `boundaries` that the value is not below; that counts all for NaN."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To a comparison with every boundary, added up."""
        from onnx import TensorProto

        boundaries = np.asarray(node.get_attr_value("boundaries"), np.float32)
        value, output, name, shape = node.input[0], node.output[0], node.name, ctx.get_shape(node.output[0])
        kind = ctx.get_dtype(value)
        ctx.remove_node(name)
        if kind != TensorProto.DOUBLE:
            # Boundaries are float32; TensorFlow compares integers with them as C++ does, in float32.
            value = ctx.make_node("Cast", [value], attr={"to": TensorProto.FLOAT}).output[0]
        bounds = boundaries.astype(np.float64) if kind == TensorProto.DOUBLE else boundaries
        axis = constant(ctx, name, [-1], np.int64)
        column = ctx.make_node("Unsqueeze", [value, axis]).output[0]
        below = ctx.make_node("Less", [column, constant(ctx, name, bounds, bounds.dtype)]).output[0]
        reached = ctx.make_node("Not", [below]).output[0]
        numbers = ctx.make_node("Cast", [reached], attr={"to": TensorProto.INT32}).output[0]
        ctx.make_node(
            "ReduceSum", [numbers, axis], attr={"keepdims": 0}, name=name, outputs=[output], shapes=[shape],
            dtypes=[TensorProto.INT32],
        )  # fmt: skip


class FloorMod:
    """`x - floor(x / y) * y`: the rest has the divisor's sign. tf2onnx 1.17 cuts integers towards zero instead."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Mod` for integers, and for floats to the formula."""
        output, name, shape, kind = taken_over(ctx, node)
        (x, y) = node.input
        ctx.remove_node(name)
        if not is_float(kind):
            ctx.make_node("Mod", [x, y], name=name, outputs=[output], shapes=[shape], dtypes=[kind])
            return
        floor = ctx.make_node("Floor", ctx.make_node("Div", [x, y]).output)
        product = ctx.make_node("Mul", [floor.output[0], y]).output[0]
        ctx.make_node("Sub", [x, product], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class FloorDiv:
    """`floor(x / y)`. tf2onnx 1.17 cuts integers towards zero instead."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """For integers to `(x - x mod y) / y`, which leaves no rest."""
        output, name, shape, kind = taken_over(ctx, node)
        (x, y) = node.input
        ctx.remove_node(name)
        if is_float(kind):
            quotient = ctx.make_node("Div", [x, y]).output[0]
            ctx.make_node("Floor", [quotient], name=name, outputs=[output], shapes=[shape], dtypes=[kind])
            return
        whole = ctx.make_node("Sub", [x, ctx.make_node("Mod", [x, y]).output[0]]).output[0]
        ctx.make_node("Div", [whole, y], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class TruncateMod:
    """The rest of a division that is cut towards zero: it has the dividend's sign."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Mod` as C has it."""
        output, name, shape, kind = taken_over(ctx, node)
        inputs = list(node.input)
        ctx.remove_node(name)
        ctx.make_node("Mod", inputs, attr={"fmod": 1}, name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class TruncateDiv:
    """`x / y`, cut towards zero. tf2onnx 1.17 leaves floats whole."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Div`, which cuts integers so, and for floats to the quotient without its rest to one."""
        output, name, shape, kind = taken_over(ctx, node)
        inputs = list(node.input)
        ctx.remove_node(name)
        if not is_float(kind):
            ctx.make_node("Div", inputs, name=name, outputs=[output], shapes=[shape], dtypes=[kind])
            return
        quotient = ctx.make_node("Div", inputs).output[0]
        rest = ctx.make_node("Mod", [quotient, constant_like(ctx, name, 1, kind)], attr={"fmod": 1}).output[0]
        ctx.make_node("Sub", [quotient, rest], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class Log1p:
    """`log(1 + x)`, exact for small x."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the formula in double precision."""
        _in_double(ctx, node, lambda x, one: ctx.make_node("Log", ctx.make_node("Add", [x, one]).output))


class Expm1:
    """`exp(x) - 1`, exact for small x."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the formula in double precision."""
        _in_double(ctx, node, lambda x, one: ctx.make_node("Sub", [ctx.make_node("Exp", [x]).output[0], one]))


def _in_double(ctx: Any, node: Any, formula: Callable[[str, str], Any]) -> None:
    from onnx import TensorProto

    output, name, shape, kind = taken_over(ctx, node)
    value = node.input[0]
    ctx.remove_node(name)
    wide = ctx.make_node("Cast", [value], attr={"to": TensorProto.DOUBLE}).output[0]
    exact = formula(wide, constant(ctx, name, 1, np.float64)).output
    ctx.make_node("Cast", exact, attr={"to": kind}, name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class Erfc:
    """`1 - erf(x)`."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the formula."""
        output, name, shape, kind = taken_over(ctx, node)
        value = node.input[0]
        ctx.remove_node(name)
        one = constant_like(ctx, name, 1, kind)
        error = ctx.make_node("Erf", [value]).output[0]
        ctx.make_node("Sub", [one, error], name=name, outputs=[output], shapes=[shape], dtypes=[kind])


class Gelu:
    """TFLite's GELU: `x / 2 * (1 + erf(x / sqrt 2))`, or with `tanh(sqrt(2 / pi) * (x + 0.044715 x^3))` for the error
    function where `approximate` is set."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the formula."""
        output, name, shape, kind = taken_over(ctx, node)
        value, approximate = node.input[0], bool(node.get_attr_value("approximate", 0))
        ctx.remove_node(name)

        def number(amount: float) -> str:
            return constant(ctx, name, amount, np.float32)

        def make(operator: str, *inputs: str) -> str:
            return str(ctx.make_node(operator, list(inputs)).output[0])

        if approximate:
            cube = make("Mul", make("Mul", value, value), value)
            inner = make("Add", value, make("Mul", cube, number(0.044715)))
            curve = make("Tanh", make("Mul", inner, number(math.sqrt(2 / math.pi))))
        else:
            curve = make("Erf", make("Mul", value, number(math.sqrt(0.5))))
        half = make("Mul", value, number(0.5))
        ctx.make_node(
            "Mul",
            [half, make("Add", curve, number(1.0))],
            name=name,
            outputs=[output],
            shapes=[shape],
            dtypes=[kind],
        )


class MulNoNan:
    """`x * y`, and 0 where y is 0 even if x is NaN or infinite."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Where(y == 0, 0, x * y)`."""
        _unless_zero(ctx, node, node.input[1], ctx.make_node("Mul", list(node.input)).output[0])


class Xlogy:
    """`x * log(y)`, and 0 where x is 0."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Where(x == 0, 0, x * log(y))`."""
        logarithm = ctx.make_node("Log", [node.input[1]]).output[0]
        _unless_zero(ctx, node, node.input[0], ctx.make_node("Mul", [node.input[0], logarithm]).output[0])


class L2Loss:
    """`sum(t ** 2) / 2` over all elements."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `ReduceSumSquare` and a half."""
        output, name, kind = node.output[0], node.name, ctx.get_dtype(node.output[0])
        squares = ctx.make_node("ReduceSumSquare", [node.input[0]], attr={"keepdims": 0}).output[0]
        half = constant_like(ctx, name, 0.5, kind)
        ctx.remove_node(name)
        ctx.make_node("Mul", [squares, half], name=name, outputs=[output], shapes=[[]], dtypes=[kind])


def _unless_zero(ctx: Any, node: Any, decisive: str, value: str) -> None:
    output, name, shape, kind = taken_over(ctx, node)
    zero = constant_like(ctx, name, 0, kind)
    is_zero = ctx.make_node("Equal", [decisive, zero]).output[0]
    ctx.remove_node(name)
    ctx.make_node("Where", [is_zero, zero, value], name=name, outputs=[output], shapes=[shape], dtypes=[kind])
