"""Attention on interleaved projections, as GluonNLP's encoders use it, and the scale of dot products.

Queries, keys and values lie beside each other for each head. Results of `_qk` are `[B*heads, T, S]`, the batch slow and
the head fast.
"""

from __future__ import annotations

import math

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value


@mxnet_op("_contrib_interleaved_matmul_selfatt_qk")
def self_attention_scores(node: OpNode, queries_keys_values: Value) -> Value:
    """`[T, B, heads*D*3]` to `(q / sqrt(D)) k^T`."""
    queries, keys, _ = _apart(node, queries_keys_values, 3)
    return _scores(queries, keys)


@mxnet_op("_contrib_interleaved_matmul_selfatt_valatt")
def self_attention_values(node: OpNode, queries_keys_values: Value, attention: Value) -> Value:
    """`[T, B, heads*D*3]` and weights `[B*heads, T, T]` to `[T, B, heads*D]`."""
    *_, values = _apart(node, queries_keys_values, 3)
    return _weighted(node, values, attention, queries_keys_values.shape[1])


@mxnet_op("_contrib_interleaved_matmul_encdec_qk")
def encoder_decoder_scores(node: OpNode, queries: Value, keys_values: Value) -> Value:
    """Queries `[T, B, heads*D]` and `[S, B, heads*D*2]` to `(q / sqrt(D)) k^T`."""
    keys, _ = _apart(node, keys_values, 2)
    return _scores(_apart(node, queries, 1)[0], keys)


@mxnet_op("_contrib_interleaved_matmul_encdec_valatt")
def encoder_decoder_values(node: OpNode, keys_values: Value, attention: Value) -> Value:
    """`[S, B, heads*D*2]` and weights `[B*heads, T, S]` to `[T, B, heads*D]`."""
    _, values = _apart(node, keys_values, 2)
    return _weighted(node, values, attention, keys_values.shape[1])


@mxnet_op("_contrib_div_sqrt_dim")
def div_sqrt_dim(node: OpNode, data: Value) -> Value:
    """`data / sqrt(size of the last axis)`."""
    size = data.shape[-1]
    if isinstance(size, int):
        return data / math.sqrt(size)
    return node.g.emit("Div", data, node.g.emit("Sqrt", node.g.size(size).cast(data.dtype)))


def _apart(node: OpNode, value: Value, parts: int) -> list[Value]:
    """`[T, B, heads*parts*D]` as `parts` tensors `[B*heads, T, D]`."""
    steps, batch, width = value.shape
    heads = node.attrs.integer("heads")
    if not isinstance(width, int) or heads < 1 or width % (heads * parts):
        raise node.refuse(f"attribute 'heads': {heads} heads of {parts} parts can't share the last axis of {value}")
    size = width // (heads * parts)
    split = node.g.reshape(value, (steps, batch, heads, parts, size)).transpose(3, 1, 2, 0, 4)
    return [
        node.g.reshape(split.slice(0, part, part + 1), (node.g.product((batch, heads)), steps, size))
        for part in range(parts)
    ]


def _scores(queries: Value, keys: Value) -> Value:
    size = keys.shape[2]
    assert isinstance(size, int)
    return queries.g.emit("MatMul", queries / math.sqrt(size), keys.transpose(0, 2, 1))


def _weighted(node: OpNode, values: Value, attention: Value, batch: Size) -> Value:
    heads, size = node.attrs.integer("heads"), values.shape[2]
    mixed = node.g.emit("MatMul", attention, values)
    steps = attention.shape[1]
    together = node.g.reshape(mixed, (batch, heads, steps, size)).transpose(2, 0, 1, 3)
    return node.g.reshape(together, (steps, batch, node.g.product((heads, size))))
