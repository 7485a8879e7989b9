"""numpy: sorting and sequences of different lengths, as `ops/sorting.py` and `ops/sequences.py`."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

FLOAT = np.dtype(np.float32)


def _order(node: Context, data: np.ndarray, ascending: bool) -> tuple[np.ndarray, np.ndarray]:
    """The data with the axis to sort along last, and the indices that sort it; equal elements keep their order."""
    flat = node.node.texts.get("axis") == "None"
    line = data.reshape(-1) if flat else np.moveaxis(data, node.attrs.integer("axis", -1), -1)
    # Ranks can be negated in every dtype, and keep ties.
    ranks = np.unique(line, return_inverse=True)[1].reshape(line.shape)
    return line, np.argsort(ranks if ascending else -ranks, axis=-1, kind="stable")


def _back(node: Context, line: np.ndarray) -> np.ndarray:
    flat = node.node.texts.get("axis") == "None"
    return line if flat else np.moveaxis(line, -1, node.attrs.integer("axis", -1))


@numpy_op("topk")
def topk(node: Context, data: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """The first `k` of the order."""
    attrs = node.attrs
    line, order = _order(node, data, attrs.boolean("is_ascend", False))
    k = attrs.integer("k", 1)
    first = order[..., : k if k > 0 else None]
    if attrs.text("ret_typ", "indices") == "mask":
        mask = np.zeros(line.shape, data.dtype)
        np.put_along_axis(mask, first, 1, axis=-1)
        return _back(node, mask).reshape(data.shape)
    values = _back(node, np.take_along_axis(line, first, axis=-1))
    indices = _back(node, first).astype(attrs.dtype("dtype", FLOAT))
    both: dict[str, np.ndarray | list[np.ndarray]] = {"indices": indices, "value": values, "both": [values, indices]}
    return both[attrs.text("ret_typ", "indices")]


@numpy_op("argsort")
def argsort(node: Context, data: np.ndarray) -> np.ndarray:
    """The order."""
    order = _order(node, data, node.attrs.boolean("is_ascend", True))[1]
    return _back(node, order).astype(node.attrs.dtype("dtype", FLOAT))


@numpy_op("sort")
def sort(node: Context, data: np.ndarray) -> np.ndarray:
    """The data in order."""
    line, order = _order(node, data, node.attrs.boolean("is_ascend", True))
    return _back(node, np.take_along_axis(line, order, axis=-1))


def _by_batch(node: Context, data: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The data as [batch, time, ...], and the length of each sequence."""
    batch = data if node.attrs.integer("axis", 0) == 1 else np.swapaxes(data, 0, 1)
    if lengths is None or not node.attrs.boolean("use_sequence_length", False):
        return batch, np.full(len(batch), batch.shape[1])
    return batch, lengths.astype(np.int64)


@numpy_op("SequenceMask")
def sequence_mask(node: Context, data: np.ndarray, sequence_length: np.ndarray | None = None) -> np.ndarray:
    """Each sequence overwritten from its length on."""
    batch, lengths = _by_batch(node, data, sequence_length)
    made = batch.copy()
    for sequence, length in zip(made, lengths, strict=True):
        sequence[length:] = np.array(node.attrs.number("value", 0.0)).astype(data.dtype)
    return made if node.attrs.integer("axis", 0) == 1 else np.swapaxes(made, 0, 1)


@numpy_op("SequenceLast")
def sequence_last(node: Context, data: np.ndarray, sequence_length: np.ndarray | None = None) -> np.ndarray:
    """The last step of each sequence."""
    batch, lengths = _by_batch(node, data, sequence_length)
    return np.stack([sequence[length - 1] for sequence, length in zip(batch, lengths, strict=True)])


@numpy_op("SequenceReverse")
def sequence_reverse(node: Context, data: np.ndarray, sequence_length: np.ndarray | None = None) -> np.ndarray:
    """Each sequence backwards, as far as it goes."""
    batch, lengths = _by_batch(node, data, sequence_length)
    made = [
        np.concatenate([sequence[:length][::-1], sequence[length:]])
        for sequence, length in zip(batch, lengths, strict=True)
    ]
    return np.stack(made, axis=1)
