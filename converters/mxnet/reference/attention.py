"""Attention on interleaved projections, by einsum."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def _apart(node: Context, value: np.ndarray, parts: int) -> np.ndarray:
    steps, batch, width = value.shape
    heads = node.attrs.integer("heads")
    return value.reshape(steps, batch, heads, parts, width // (heads * parts))


def _scores(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    found = np.einsum("tbhd,sbhd->bhts", queries / np.sqrt(queries.shape[-1]).astype(queries.dtype), keys)
    return np.asarray(found.reshape(-1, *found.shape[2:]))


def _weighted(values: np.ndarray, attention: np.ndarray) -> np.ndarray:
    steps, batch, heads, size = values.shape
    found = np.einsum("bhts,sbhd->tbhd", attention.reshape(batch, heads, -1, steps), values)
    return np.asarray(found.reshape(len(found), batch, heads * size))


@numpy_op("_contrib_interleaved_matmul_selfatt_qk")
def self_attention_scores(node: Context, queries_keys_values: np.ndarray) -> np.ndarray:
    """Scaled products of queries and keys."""
    apart = _apart(node, queries_keys_values, 3)
    return _scores(apart[..., 0, :], apart[..., 1, :])


@numpy_op("_contrib_interleaved_matmul_selfatt_valatt")
def self_attention_values(node: Context, queries_keys_values: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Values, weighted."""
    return _weighted(_apart(node, queries_keys_values, 3)[..., 2, :], attention)


@numpy_op("_contrib_interleaved_matmul_encdec_qk")
def encoder_decoder_scores(node: Context, queries: np.ndarray, keys_values: np.ndarray) -> np.ndarray:
    """Scaled products of queries and another sequence's keys."""
    return _scores(_apart(node, queries, 1)[..., 0, :], _apart(node, keys_values, 2)[..., 0, :])


@numpy_op("_contrib_interleaved_matmul_encdec_valatt")
def encoder_decoder_values(node: Context, keys_values: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Another sequence's values, weighted."""
    return _weighted(_apart(node, keys_values, 2)[..., 1, :], attention)


@numpy_op("_contrib_div_sqrt_dim")
def div_sqrt_dim(node: Context, data: np.ndarray) -> np.ndarray:
    """Over the root of the last size."""
    return np.asarray(data / np.sqrt(data.shape[-1]).astype(data.dtype))
