"""Real Fourier transforms for tf2onnx 1.17, which converts them in few shapes and through a large constant matrix.

A complex tensor is a real one with a last axis of two, the real part first, as ONNX's `DFT` has it; only operators
that make it real again may take it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.tensorflow.operators.nodes import constant

MAKES_REAL = frozenset({"ComplexAbs", "Real", "Imag"})


class RealFourier:
    """`RFFT(input, fft_length)`: the last axis is cut or padded with zeros to `fft_length[0]`, a constant."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To `DFT` of the last axis, one-sided."""
        from tf2onnx import utils

        consumers = {consumer.type for consumer in ctx.find_output_consumers(node.output[0])}
        left = ", ".join(sorted(consumers - MAKES_REAL))
        utils.make_sure(not left and node.output[0] not in ctx.outputs, "ONNX has no complex tensors for %s", left)
        signal, length, output, name = node.input[0], node.inputs[1], node.output[0], node.name
        utils.make_sure(length.is_const(), "the length of %s is not a constant", name)
        shape, kind = ctx.get_shape(signal), ctx.get_dtype(signal)
        utils.make_sure(shape is not None, "the rank of the input of %s is unknown", name)
        size = int(np.ravel(length.get_tensor_value(as_list=False))[0])
        ctx.remove_node(name)
        fitted = _fit(ctx, signal, len(shape), shape[-1], size)
        last = constant(ctx, name, [-1], np.int64)
        column = ctx.make_node("Unsqueeze", [fitted, last]).output[0]
        ctx.make_node(
            "DFT", [column], attr={"axis": len(shape) - 1, "onesided": 1}, name=name, outputs=[output],
            shapes=[[*shape[:-1], size // 2 + 1, 2]], dtypes=[kind],
        )  # fmt: skip


def _fit(ctx: Any, signal: str, rank: int, known: int, size: int) -> str:
    """The signal with exactly `size` values on its last axis."""
    from tf2onnx import utils

    if known == size:
        return signal
    utils.make_sure(known >= 0, "the last axis of %s has no fixed size", signal)
    if known > size:
        bounds = [constant(ctx, signal, [value], np.int64) for value in (0, size, -1)]
        return str(ctx.make_node("Slice", [signal, *bounds]).output[0])
    pads = constant(ctx, signal, [0] * (2 * rank - 1) + [size - known], np.int64)
    return str(ctx.make_node("Pad", [signal, pads]).output[0])


class ComplexAbs:
    """The magnitude of a complex tensor."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the Euclidean norm of the last axis."""
        _reduce(ctx, node, "ReduceL2", [constant(ctx, node.name, [-1], np.int64)], {"keepdims": 0})


class Real:
    """The real part of a complex tensor."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the first of the last axis."""
        _reduce(ctx, node, "Gather", [constant(ctx, node.name, 0, np.int64)], {"axis": -1})


class Imag:
    """The imaginary part of a complex tensor."""

    @classmethod
    def version_18(cls, ctx: Any, node: Any, **_: Any) -> None:
        """To the second of the last axis."""
        _reduce(ctx, node, "Gather", [constant(ctx, node.name, 1, np.int64)], {"axis": -1})


def _reduce(ctx: Any, node: Any, operator: str, parameters: list[str], attributes: dict[str, int]) -> None:
    from tf2onnx import utils

    utils.make_sure(node.inputs[0].type == "DFT", "%s of a complex tensor that is no Fourier transform", node.type)
    value, output, name = node.input[0], node.output[0], node.name
    shape, kind = ctx.get_shape(output), ctx.get_dtype(value)
    ctx.remove_node(name)
    ctx.make_node(
        operator, [value, *parameters], attr=attributes, name=name, outputs=[output], shapes=[shape], dtypes=[kind]
    )
