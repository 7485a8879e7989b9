"""Quantised tensors: to integers and back, and the operators that only move integers.

A quantised tensor of MXNet is three: integers, and two numbers (1,) between which the real ones lie. It counts from
zero in steps of `max(|low|, |high|) / levels`; a range is symmetric, and zero is zero. How many levels a range has
differs between the engines that MXNet 1.9.1 calls, and it is kept as it was measured: see each operator.

What is computed between integers is written with QuantizeLinear and DequantizeLinear around the plain operator, which
ONNX Runtime fuses to its integer kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
LEVELS: Final[Mapping[np.dtype[Any], float]] = {INT8: 127.0, UINT8: 255.0}
"""Of MXNet's own code."""
MIDDLED: Final[Mapping[np.dtype[Any], float]] = {INT8: 127.5, UINT8: 255.5}
"""Of its calls of oneDNN: the range ends in the middle of the last step."""
INT32_LEVELS = float(2**31)


@mxnet_op("_contrib_quantize")
def quantize(node: OpNode, data: Value, min_range: Value, max_range: Value) -> list[Value]:
    """Floats to `out_type` (uint8 by default), for a range that two tensors (1,) give: 127 or 255 levels."""
    dtype = node.attrs.dtype("out_type", UINT8)
    step = step_of(magnitude(min_range, max_range), LEVELS[dtype])
    return [to_integers(data, step, dtype), *_reported(dtype, min_range, max_range)]


@mxnet_op("_contrib_quantize_v2")
def quantize_v2(node: OpNode, data: Value) -> list[Value]:
    """Floats to `out_type` (int8 by default): 127.5 or 255.5 levels.

    The range is `min_calib_range` and `max_calib_range`, or that of the data. `auto` is uint8 if the calibrated range
    has no negatives. Integers stay as they are.
    """
    dtype, (low, high) = _out_type(node), calibrated(node) or _range_of(data)
    if data.dtype in LEVELS:
        return [data, low, high]
    step = step_of(magnitude(low, high), MIDDLED[dtype])
    return [to_integers(data, step, dtype), *_reported(dtype, low, high)]


@mxnet_op("_contrib_dequantize")
def dequantize(node: OpNode, data: Value, min_range: Value, max_range: Value) -> Value:
    """Integers to float32: 127.5 or 255.5 levels.

    Written as a product: ONNX Runtime moves a DequantizeLinear of int8 behind a Transpose or Reshape that may follow,
    and then can't load what it made.
    """
    _refuse_others(node, data, LEVELS)
    return data.cast(np.float32) * step_of(magnitude(min_range, max_range), MIDDLED[data.dtype])


@mxnet_op("_contrib_requantize")
def requantize(node: OpNode, data: Value, min_range: Value, max_range: Value) -> list[Value]:
    """int32 to `out_type` (int8 by default), 127 or 255 levels of the calibrated range, or of that of the data."""
    _refuse_others(node, data, (np.dtype(np.int32),))
    dtype, real = _out_type(node), reals_of(data, step_of(magnitude(min_range, max_range), INT32_LEVELS))
    limit = magnitude(*(calibrated(node) or _range_of(real)))
    low = -limit if dtype == INT8 else limit * 0.0
    return [to_integers(real, step_of(limit, LEVELS[dtype]), dtype), low, limit]


@mxnet_op("_contrib_quantized_flatten")
def quantized_flatten(node: OpNode, data: Value, min_data: Value, max_data: Value) -> list[Value]:
    """`[N, rest]` of the integers."""
    shape = (data.shape[0], node.g.product(data.shape[1:]))
    return [node.g.reshape(data, shape), min_data, max_data]


@mxnet_op("_contrib_quantized_act")
def quantized_act(node: OpNode, data: Value, min_data: Value, max_data: Value) -> list[Value]:
    """`relu` of int8; nothing else exists. The range stays as it is."""
    if (kind := node.attrs.text("act_type")) != "relu":
        raise node.refuse(f"attribute 'act_type': expected relu, got {kind!r}")
    if data.dtype != INT8:
        raise node.refuse(f"input 'data': expected int8, as which MXNet 1.9.1 reads whatever comes, got {data}")
    one = node.g.const(1.0, np.float32)
    return [to_integers(node.g.emit("Relu", to_reals(data, one)), one, INT8), min_data, max_data]


@mxnet_op("_contrib_quantized_embedding")
def quantized_embedding(node: OpNode, data: Value, weight: Value, min_weight: Value, max_weight: Value) -> list[Value]:
    """Rows of int8; indices beyond the ends take the first or the last."""
    g = node.g
    last = g.const(node.attrs.integer("input_dim") - 1, np.int64)
    rows = g.emit("Clip", data.cast(np.int64), g.const(0, np.int64), last)
    return [g.emit("Gather", weight, rows, axis=0), min_weight, max_weight]


# -- between integers and real numbers --------------------------------------------------------------------------------


def magnitude(low: Value, high: Value) -> Value:
    """`max(|low|, |high|)`, (1,): a range is symmetric."""
    g = low.g
    return g.folded(g.emit("Max", g.emit("Abs", low), g.emit("Abs", high)))


def step_of(limit: Value, levels: float) -> Value:
    """The real number that one step stands for, a scalar."""
    return limit.g.folded(limit.g.reshape(limit / levels, ()))


def to_integers(real: Value, step: Value, dtype: np.dtype[Any]) -> Value:
    """Rounded to the nearest step, halves to even, and limited to what `dtype` holds."""
    return real.g.emit("QuantizeLinear", real.cast(np.float32), step, real.g.const(0, dtype))


def to_reals(integers: Value, step: Value) -> Value:
    """float32."""
    return integers.g.emit("DequantizeLinear", integers, step, integers.g.const(0, integers.dtype))


def to_int32(real: Value, step: Value) -> Value:
    """Real numbers in steps of a range of int32; `reals_of` finds them again."""
    g = real.g
    limits = (g.scalar(-INT32_LEVELS, real), g.scalar(float(np.nextafter(np.float32(INT32_LEVELS), 0)), real))
    return g.emit("Clip", g.emit("Round", real / step), *limits).cast(np.int32)


def reals_of(integers: Value, step: Value) -> Value:
    """The real numbers behind int32: those that `to_int32` was given, or steps."""
    value = integers
    for op in ("Cast", "Clip", "Round", "Div"):
        made, inputs = value.g.made_by(value)
        if made != op or inputs[0] is None:
            return integers.cast(np.float32) * step
        value = inputs[0]
    return value


def calibrated(node: OpNode) -> tuple[Value, Value] | None:
    """The range that calibration left in the attributes."""
    low, high = (node.attrs.number(name, None) for name in ("min_calib_range", "max_calib_range"))
    if low is None or high is None:
        return None
    return node.g.const([low], np.float32), node.g.const([high], np.float32)


def _range_of(data: Value) -> tuple[Value, Value]:
    wide = data.cast(np.float32)
    low, high = (wide.reduce(op, *range(data.rank)) for op in ("ReduceMin", "ReduceMax"))
    return low.unsqueeze(0), high.unsqueeze(0)


def _reported(dtype: np.dtype[Any], low: Value, high: Value) -> tuple[Value, Value]:
    """The range that goes with the integers: int8 has a symmetric one."""
    if dtype == UINT8:
        return low, high
    limit = magnitude(low, high)
    return -limit, limit


def _out_type(node: OpNode) -> np.dtype[Any]:
    name = node.attrs.text("out_type", "int8")
    if name == "auto":
        low = node.attrs.number("min_calib_range", None)
        return INT8 if low is None or low < 0 else UINT8
    dtype: np.dtype[Any] = node.attrs.dtype("out_type", INT8)
    if dtype not in LEVELS:
        raise node.refuse(f"attribute 'out_type': expected int8, uint8 or auto, got {name!r}")
    return dtype


def _refuse_others(node: OpNode, data: Value, dtypes: Any) -> None:
    if data.dtype not in dtypes:
        names = " or ".join(map(str, dtypes))
        raise node.refuse(f"input 'data': expected {names}, got {data}")
