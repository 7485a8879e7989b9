"""Operators of Keras's graphs that tf2onnx 1.17 does not convert, added through its own registry.

They stand beside those of `converters.tensorflow.operators`, and are met in graphs of Keras alone.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np

from converters.keras.recurrent import MARK

OPERATORS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
SIGN_BIT = -(2**31)


@cache
def register() -> None:
    """Adds the handlers to tf2onnx's registry, once."""
    from tf2onnx.handler import tf_op

    tf_op("PyFunc")(RecurrentLayer)
    tf_op("Erfc")(Erfc)
    tf_op("Expm1")(Expm1)
    tf_op("Bitcast")(SignBit)
    tf_op(["DenseBincount"])(DenseBincount)


class RecurrentLayer:
    """The operator that `recurrent.py` leaves for a layer: X, W, R, B, h0, [c0], [lengths] -> Y, Y_h, [Y_c].

    X float[T, B, I], states float[B, H], lengths int32[B], Y float[T, B, H]; weights as ONNX has them. See
    https://onnx.ai/onnx/operators/onnx__LSTM.html.
    """

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `LSTM`, `GRU` or `RNN`; raises `ValueError` for a call of Python that is none of these."""
        token = node.get_attr_value("token")
        token = token.decode() if isinstance(token, bytes) else str(token)
        if not token.startswith(MARK):
            raise ValueError("ONNX can't call Python (PyFunc)")
        layer = json.loads(token.removeprefix(MARK))
        inputs, outputs, name = list(node.input), list(node.output), node.name
        lengths = inputs.pop() if layer["lengths"] else ""
        sequence, weights, recurrent, bias, *states = inputs
        dtype = ctx.get_dtype(outputs[0])
        ctx.remove_node(name)
        axis_0 = ctx.make_const(_name(name), np.array([0], np.int64)).output[0]
        axis_1 = ctx.make_const(_name(name), np.array([1], np.int64)).output[0]
        states = [ctx.make_node("Unsqueeze", [state, axis_0]).output[0] for state in states]
        made = ctx.make_node(
            OPERATORS[layer["kind"]],
            [sequence, weights, recurrent, bias, lengths, *states],
            attr=_attributes(layer),
            output_count=len(outputs),
            name=_name(name),
            dtypes=[dtype] * len(outputs),
        )
        for index, (inner, outer) in enumerate(zip(made.output, outputs, strict=True)):
            ctx.make_node(
                "Squeeze",
                [inner, axis_0 if index else axis_1],
                outputs=[outer],
                name=_name(name),
                dtypes=[dtype],
                shapes=[[-1, layer["units"]] if index else [-1, -1, layer["units"]]],
            )


def _attributes(layer: dict[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "hidden_size": layer["units"],
        "activations": [name for name, _, _ in layer["activations"]],
    }
    # Each list holds the values of those activations alone that have one.
    for key, values in (
        ("activation_alpha", [alpha for _, alpha, _ in layer["activations"] if alpha is not None]),
        ("activation_beta", [beta for _, _, beta in layer["activations"] if beta is not None]),
    ):
        if values:
            attributes[key] = values
    if layer["kind"] == "GRU":
        attributes["linear_before_reset"] = layer["linear_before_reset"]
    return attributes


class Erfc:
    """`1 - erf(x)`; Keras's exact `gelu` is made of it. Far out it loses what float32 could still tell from 0."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `1 - Erf(x)`."""
        _combine_with_one(ctx, node, "Erf", one_first=True)


class Expm1:
    """`exp(x) - 1`, as Keras's `celu` has it. Of an `x` next to 0 it keeps fewer digits."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `Exp(x) - 1`."""
        _combine_with_one(ctx, node, "Exp", one_first=False)


class SignBit:
    """The bits of a float32 as int32, where only the sign's is asked for: Keras's `argmax` tells -0 from 0 so."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the smallest int32 for negative numbers and -0, and 0 for others; raises `ValueError` where more is
        asked."""
        from onnx import TensorProto

        value, output, name, shape = node.input[0], node.output[0], node.name, ctx.get_shape(node.output[0])
        consumers = ctx.find_output_consumers(output)
        if ctx.get_dtype(value) != TensorProto.FLOAT or not all(_takes_sign(each, output) for each in consumers):
            raise ValueError("ONNX has no Bitcast")
        ctx.remove_node(name)
        zero = ctx.make_const(_name(name), np.array(0, np.float32)).output[0]
        # 1/x of -0 is minus infinity.
        inverse = ctx.make_node("Less", [ctx.make_node("Reciprocal", [value]).output[0], zero]).output[0]
        negative = ctx.make_node("Or", [ctx.make_node("Less", [value, zero]).output[0], inverse]).output[0]
        numbers = [ctx.make_const(_name(name), np.array(number, np.int32)).output[0] for number in (SIGN_BIT, 0)]
        ctx.make_node(
            "Where", [negative, *numbers], name=name, outputs=[output], shapes=[shape], dtypes=[TensorProto.INT32]
        )


def _takes_sign(consumer: Any, value: str) -> bool:
    if consumer.type not in ("BitwiseAnd", "Less"):
        return False
    wanted = SIGN_BIT if consumer.type == "BitwiseAnd" else 0
    others = [node for name, node in zip(consumer.input, consumer.inputs, strict=True) if name != value]
    return all(node.is_const() and np.all(node.get_tensor_value(as_list=False) == wanted) for node in others)


class DenseBincount:
    """How often each number from 0 to `size - 1` occurs in the last axis of `input`, or whether it does.

    input int[N] or int[B, N], size scalar, weights of the same shape as `input` or empty. tf2onnx takes an `input` of
    unknown rank for int[N].
    """

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To zeros into which ones, or the weights, are added."""
        from onnx import TensorProto

        numbers, size, weights = node.input
        binary, output, name = bool(node.get_attr_value("binary_output", 0)), node.output[0], node.name
        dtype, shape = ctx.get_dtype(output), ctx.get_shape(output)
        weighted = 0 not in (ctx.get_shape(weights) or [1])
        ctx.remove_node(name)

        def constant(value: Any, kind: Any = np.int64) -> str:
            return str(ctx.make_const(_name(name), np.array(value, kind)).output[0])

        def made(operator: str, inputs: list[str], **attributes: Any) -> str:
            return str(ctx.make_node(operator, inputs, attr=attributes).output[0])

        index, limit = (made("Cast", [value], to=TensorProto.INT64) for value in (numbers, size))
        inside = made("And", [made("Less", [index, limit]), made("GreaterOrEqual", [index, constant(0)])])
        updates = made("Cast", [inside], to=dtype)
        if weighted and not binary:
            updates = made("Mul", [updates, weights])
        rows = made("Slice", [made("Shape", [index]), constant([0]), constant([-1])])
        wanted = made("Concat", [rows, made("Reshape", [limit, constant([1])])], axis=0)
        zeros = made("Cast", [made("ConstantOfShape", [wanted])], to=dtype)
        # What lies outside is added as nothing to the first.
        place = made("Where", [inside, index, constant(0)])
        ctx.make_node(
            "ScatterElements", [zeros, place, updates], attr={"axis": -1, "reduction": "max" if binary else "add"},
            name=name, outputs=[output], shapes=[shape], dtypes=[dtype],
        )  # fmt: skip


def _combine_with_one(ctx: Any, node: Any, operator: str, *, one_first: bool) -> None:
    """`1 - operator(x)`, or the other way round."""
    from tf2onnx import utils

    value, output, name, dtype = node.input[0], node.output[0], node.name, ctx.get_dtype(node.output[0])
    shape = ctx.get_shape(output)
    ctx.remove_node(name)
    one = ctx.make_const(_name(name), np.array(1, utils.map_onnx_to_numpy_type(dtype))).output[0]
    other = ctx.make_node(operator, [value]).output[0]
    terms = [one, other] if one_first else [other, one]
    ctx.make_node("Sub", terms, name=name, outputs=[output], shapes=[shape], dtypes=[dtype])


def _name(base: str) -> str:
    from tf2onnx import utils

    return str(utils.make_name(base))
