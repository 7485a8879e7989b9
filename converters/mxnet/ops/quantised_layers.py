"""Layers on quantised tensors: the plain operator between DequantizeLinear and QuantizeLinear.

Products come as int32, and a range so wide that one step of it is the product of the steps of both factors. What MXNet
1.9.1 does on CPUs is followed where it differs from its own documentation; each operator says where.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.convolutions import convolution, fully_connected
from converters.mxnet.ops.normalisations import batch_norm
from converters.mxnet.ops.pooling import pooling
from converters.mxnet.ops.quantised import (
    INT8,
    INT32_LEVELS,
    LEVELS,
    MIDDLED,
    UINT8,
    calibrated,
    magnitude,
    step_of,
    to_int32,
    to_integers,
    to_reals,
)
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@mxnet_op("_contrib_quantized_conv")
def quantized_conv(node: OpNode, data: Value, weight: Value, *rest: Value) -> list[Value]:
    """Convolution of int8 or uint8 data with int8 weights and bias to int32.

    The data counts 127 levels even where it is uint8, and uint8 data's bias is added as it is, without its range: so
    does oneDNN in 1.9.1. (int8 data runs on GPUs only; its bias is converted to the steps of the result.)
    """
    bias, ranges = _bias(node, weight, rest)
    steps = [step_of(magnitude(*pair), LEVELS[INT8]) for pair in ranges]
    product = node.g.folded(steps[0] * steps[1])
    shift = None
    if bias is not None:
        whole = bias if data.dtype == UINT8 else _in_steps(bias, steps[2] / product)
        shift = to_reals(node.g.folded(whole.cast(np.int32)), product)
    real = convolution(node, to_reals(data, steps[0]), to_reals(weight, steps[1]), shift)
    return [to_int32(real, product), *_range(product)]


@mxnet_op("_contrib_quantized_fully_connected")
def quantized_fully_connected(node: OpNode, data: Value, weight: Value, *rest: Value) -> list[Value]:
    """The fully connected layer of int8 or uint8 data, with int8 weights and bias, to int32."""
    bias, ranges = _bias(node, weight, rest)
    if node.attrs.boolean("flatten", True):  # of integers: ONNX Runtime can't load DequantizeLinear before Reshape here
        data = node.g.reshape(data, (data.shape[0], node.g.product(data.shape[1:])))
    limits = [magnitude(*pair) for pair in ranges]
    steps = [step_of(limit, LEVELS[value.dtype]) for limit, value in zip(limits, (data, weight), strict=False)]
    product = node.g.folded(steps[0] * steps[1])
    shift = None
    if bias is not None:
        data_step, weight_step, bias_step = (
            step_of(limit, MIDDLED[value.dtype]) for limit, value in zip(limits, (data, weight, bias), strict=True)
        )
        shift = to_reals(node.g.folded(_in_steps(bias, bias_step / (data_step * weight_step))), product)
    real = fully_connected(node, to_reals(data, steps[0]), to_reals(weight, steps[1]), shift)
    return [to_int32(real, product), *_range(product)]


@mxnet_op("_contrib_quantized_pooling")
def quantized_pooling(node: OpNode, data: Value, min_data: Value, max_data: Value) -> list[Value]:
    """Pooling of integers; averages are rounded to the nearest, halves to even."""
    one = node.g.const(1.0, np.float32)
    return [to_integers(pooling(node, to_reals(data, one)), one, data.dtype), min_data, max_data]


@mxnet_op("_contrib_quantized_concat")
def quantized_concat(node: OpNode, *data: Value) -> list[Value]:
    """Joins tensors, which come first, then low and high of each; uint8 if all are, else int8.

    The result's range holds all of the others.
    """
    g, count = node.g, len(data) // 3
    tensors, lows, highs = data[:count], data[count::2], data[count + 1 :: 2]
    low, high = g.folded(g.emit("Min", *lows)), g.folded(g.emit("Max", *highs))
    dtype = UINT8 if all(each.dtype == UINT8 for each in tensors) else INT8
    reals = [
        to_reals(each, step_of(magnitude(*ends), MIDDLED[each.dtype]))
        for each, *ends in zip(tensors, lows, highs, strict=True)
    ]
    joined = g.emit("Concat", *reals, axis=node.attrs.integer("dim", 1))
    return [to_integers(joined, step_of(magnitude(low, high), MIDDLED[dtype]), dtype), low, high]


@mxnet_op("_contrib_quantized_elemwise_add")
def quantized_elemwise_add(
    node: OpNode, lhs: Value, rhs: Value, lhs_min: Value, lhs_max: Value, rhs_min: Value, rhs_max: Value
) -> list[Value]:
    """The sum: int32 in the sum of both ranges, or, with a calibrated range, of the operands' type.

    Operands of different types are refused: MXNet 1.9.1 loses the uint8 one.
    """
    if lhs.dtype != rhs.dtype or lhs.dtype not in LEVELS:
        raise node.refuse(f"expected two int8 or two uint8 operands, got {lhs} and {rhs}")
    limits = [magnitude(lhs_min, lhs_max), magnitude(rhs_min, rhs_max)]
    found = calibrated(node)
    levels = (LEVELS if found else MIDDLED)[lhs.dtype]
    parts = [to_reals(each, step_of(limit, levels)) for each, limit in zip((lhs, rhs), limits, strict=True)]
    real = parts[0] + parts[1]
    if found:
        return [to_integers(real, step_of(magnitude(*found), levels), lhs.dtype), *found]
    whole = node.g.folded(limits[0] + limits[1])
    return [to_int32(real, step_of(whole, INT32_LEVELS)), -whole, whole]


@mxnet_op("_contrib_quantized_elemwise_mul")
def quantized_elemwise_mul(
    node: OpNode, lhs: Value, rhs: Value, lhs_min: Value, lhs_max: Value, rhs_min: Value, rhs_max: Value
) -> list[Value] | Value:
    """The product of int8: int32, int8 of a calibrated range, or float32 with `enable_float_output`.

    Into a calibrated range products are cut towards zero, and wrap where they leave it: so does MXNet 1.9.1.
    """
    if (lhs.dtype, rhs.dtype) != (INT8, INT8):
        raise node.refuse(f"expected two int8 operands, got {lhs} and {rhs}")
    limits = [magnitude(lhs_min, lhs_max), magnitude(rhs_min, rhs_max)]
    whole = lhs.cast(np.int32) * rhs.cast(np.int32)
    fine, coarse = (node.g.folded(step_of(limits[0], levels) * step_of(limits[1], levels)) for levels in (127.5, 127.0))
    if node.attrs.boolean("enable_float_output", False):
        return whole.cast(np.float32) * fine
    if (found := calibrated(node)) is None:
        return [whole, *_range(coarse)]
    ratio = node.g.folded(fine / step_of(magnitude(*found), MIDDLED[INT8]))
    return [(whole.cast(np.float32) * ratio).cast(np.int32).cast(np.int8), *found]


@mxnet_op("_contrib_quantized_batch_norm", auxiliary=("moving_mean", "moving_var"))
def quantized_batch_norm(
    node: OpNode,
    data: Value,
    gamma: Value,
    beta: Value,
    moving_mean: Value,
    moving_var: Value,
    min_data: Value,
    max_data: Value,
) -> list[Value]:
    """BatchNorm of int8 to int8 of the calibrated range. gamma counts whatever `fix_gamma` says."""
    found = calibrated(node)
    if found is None or data.dtype != INT8:
        raise node.refuse(f"expected int8 data and a calibrated range of the result, got {data}")
    real = to_reals(data, step_of(magnitude(min_data, max_data), MIDDLED[INT8]))
    free = dataclasses.replace(node.node, texts={**node.node.texts, "fix_gamma": "False"})
    inner = dataclasses.replace(node, node=free, outputs_used=frozenset((0,)))
    normalised, *_ = batch_norm(inner, real, gamma, beta, moving_mean, moving_var)
    return [to_integers(normalised, step_of(magnitude(*found), MIDDLED[INT8]), INT8), *found]


def _bias(node: OpNode, weight: Value, rest: Sequence[Value]) -> tuple[Value | None, list[tuple[Value, Value]]]:
    """The bias, if there is one, and the ranges of data, weight and bias."""
    if weight.dtype != INT8:
        raise node.refuse(f"input 'weight': expected int8, got {weight}")
    bias = None if node.attrs.boolean("no_bias", False) else rest[0]
    ends = rest if bias is None else rest[1:]
    if len(ends) != (4 if bias is None else 6):
        raise node.refuse(f"expected low and high of each tensor, got {len(ends)} ends of ranges")
    return bias, list(zip(ends[::2], ends[1::2], strict=True))


def _in_steps(bias: Value, ratio: Value) -> Value:
    """The bias in other steps, cut towards zero."""
    return (bias.cast(np.float32) * ratio).cast(np.int32)


def _range(step: Value) -> tuple[Value, Value]:
    limit = step.g.folded(step.g.reshape(step * INT32_LEVELS, (1,)))
    return -limit, limit
