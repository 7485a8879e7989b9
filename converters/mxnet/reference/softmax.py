"""Softmax in its forms, in numpy and in double precision inside."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def _softmax(data: np.ndarray, axis: int) -> np.ndarray:
    wide = np.exp(data.astype(np.float64) - data.max(axis, keepdims=True))
    return np.asarray(wide / wide.sum(axis, keepdims=True))


@numpy_op("softmax")
def softmax(node: Context, data: np.ndarray, length: np.ndarray | None = None) -> np.ndarray:
    """Row by row where `length` says how much of each counts."""
    scaled = data / node.attrs.number("temperature", 1.0)
    axis, dtype = node.attrs.integer("axis", -1), node.attrs.dtype("dtype", data.dtype)
    if length is None or not node.attrs.boolean("use_length", False):
        return _softmax(scaled, axis).astype(dtype)
    rows = np.moveaxis(scaled, axis, -1)
    made = np.zeros(rows.shape)
    for index, count in np.ndenumerate(length):
        if count > 0:
            made[index][:count] = _softmax(rows[index][:count], -1)
    return np.moveaxis(made, -1, axis).astype(dtype)


@numpy_op("masked_softmax", "_npx_masked_softmax")
def masked_softmax(node: Context, data: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Exponentials that the mask sets to 0 before they are added up."""
    axis, counts = node.attrs.integer("axis", -1), np.broadcast_to(mask, data.shape).astype(bool)
    scaled = data.astype(np.float64) / node.attrs.number("temperature", 1.0)
    powers = np.exp(scaled - scaled.max(axis, keepdims=True, where=counts, initial=-np.inf)) * counts
    total = powers.sum(axis, keepdims=True)
    return np.asarray(np.where(counts, powers, 0) / np.where(total > 0, total, 1), data.dtype)


@numpy_op("masked_log_softmax", "_npx_masked_log_softmax")
def masked_log_softmax(node: Context, data: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each number less the logarithm of the sum of those exponentials that count; -inf elsewhere."""
    axis, counts = node.attrs.integer("axis", -1), np.broadcast_to(mask, data.shape).astype(bool)
    wide = np.where(counts, data.astype(np.float64) / node.attrs.number("temperature", 1.0), -np.inf)
    total = np.logaddexp.reduce(wide, axis=axis, keepdims=True)
    return np.where(counts, wide - total, -np.inf).astype(data.dtype)


@numpy_op("log_softmax")
def log_softmax(node: Context, data: np.ndarray) -> np.ndarray:
    """Each number less the logarithm of the sum of all exponentials."""
    wide = data.astype(np.float64) / node.attrs.number("temperature", 1.0)
    made = wide - np.logaddexp.reduce(wide, axis=node.attrs.integer("axis", -1), keepdims=True)
    return np.asarray(made, node.attrs.dtype("dtype", data.dtype))


@numpy_op("softmin")
def softmin(node: Context, data: np.ndarray) -> np.ndarray:
    """softmax of the negative."""
    made = _softmax(-data / node.attrs.number("temperature", 1.0), node.attrs.integer("axis", -1))
    return made.astype(node.attrs.dtype("dtype", data.dtype))


@numpy_op("SoftmaxActivation")
def softmax_activation(node: Context, data: np.ndarray) -> np.ndarray:
    """Over the channels, or over the last axis."""
    return _softmax(data, 1 if node.attrs.text("mode", "instance") == "channel" else -1).astype(data.dtype)


@numpy_op("SoftmaxOutput")
def softmax_output(node: Context, data: np.ndarray) -> np.ndarray:
    """Over the channels, over the last axis, or over all that belongs to a sample."""
    if node.attrs.boolean("multi_output", False):
        return _softmax(data, 1).astype(data.dtype)
    flat = data if node.attrs.boolean("preserve_shape", False) else data.reshape(len(data), -1)
    return _softmax(flat, -1).reshape(data.shape).astype(data.dtype)


@numpy_op("softmax_cross_entropy")
def softmax_cross_entropy(node: Context, data: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities at the labels, which count from 1e-8 on."""
    chosen = _softmax(data, 1)[np.arange(len(data)), label.astype(np.int64)]
    return np.array([-np.log(chosen.clip(min=1e-8)).sum()], data.dtype)


@numpy_op("LogisticRegressionOutput")
def logistic_regression_output(node: Context, data: np.ndarray) -> np.ndarray:
    """The sigmoid, by way of the hyperbolic tangent."""
    return ((1 + np.tanh(data.astype(np.float64) / 2)) / 2).astype(data.dtype)
