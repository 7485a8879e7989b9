"""numpy: elements looked up, chosen and replaced, as `ops/gathering.py` and `ops/indexing.py`."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def _in_range(node: Context, indices: np.ndarray, size: int) -> np.ndarray:
    whole = _whole(indices)
    return np.mod(whole, size) if node.attrs.text("mode", "clip") == "wrap" else whole.clip(0, size - 1)


def _whole(indices: np.ndarray) -> np.ndarray:
    return indices if indices.dtype.kind in "iu" else np.trunc(indices).astype(np.int64)


@numpy_op("take")
def take(node: Context, a: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Slices by number."""
    axis = node.attrs.integer("axis", 0)
    if node.attrs.text("mode", "clip") == "raise":
        return np.take(a, indices.astype(np.int64), axis)
    return np.take(a, _in_range(node, indices, a.shape[axis]), axis)


@numpy_op("Embedding")
def embedding(node: Context, data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Rows by number."""
    rows: np.ndarray = weight[_whole(data).clip(0, len(weight) - 1)]
    return rows


@numpy_op("pick")
def pick(node: Context, data: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One element along an axis."""
    axis, kept = node.attrs.integer("axis", -1), node.attrs.boolean("keepdims", False)
    last = np.moveaxis(data, axis, -1)
    places = _in_range(node, index, data.shape[axis]).reshape(-1)
    picked = last.reshape(-1, data.shape[axis])[np.arange(len(places)), places].reshape(last.shape[:-1])
    return np.expand_dims(picked, axis) if kept or data.ndim == 1 else picked


@numpy_op("batch_take")
def batch_take(node: Context, a: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """One element of each row."""
    picked: np.ndarray = a[np.arange(len(a)), _whole(indices).reshape(-1).clip(0, a.shape[1] - 1)]
    return picked.reshape(indices.shape)


@numpy_op("one_hot")
def one_hot(node: Context, indices: np.ndarray) -> np.ndarray:
    """Rows of an identity matrix, and one row of zeros for what is out of range."""
    attrs, depth = node.attrs, node.attrs.integer("depth")
    whole = _whole(indices)
    hot = np.eye(depth + 1, depth)[np.where((whole >= 0) & (whole < depth), whole, depth)]
    on, off = attrs.number("on_value", 1.0), attrs.number("off_value", 0.0)
    made: np.ndarray = np.where(hot > 0, on, off)
    return made.astype(attrs.dtype("dtype", np.dtype(np.float32)))


def _coordinates(indices: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(_whole(indices))


@numpy_op("gather_nd")
def gather_nd(node: Context, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """numpy's own indexing."""
    parts: np.ndarray = data[_coordinates(indices)]
    return parts


@numpy_op("scatter_nd")
def scatter_nd(node: Context, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Put into zeros."""
    made = np.zeros(node.attrs.integers("shape"), data.dtype)
    made[_coordinates(indices)] = data
    return made


@numpy_op("_scatter_set_nd")
def scatter_set_nd(node: Context, lhs: np.ndarray, rhs: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Put into another tensor."""
    made = lhs.copy()
    made[_coordinates(indices)] = rhs
    return made


@numpy_op("_contrib_index_copy")
def index_copy(node: Context, old_tensor: np.ndarray, index_vector: np.ndarray, new_tensor: np.ndarray) -> np.ndarray:
    """Rows replaced."""
    made = old_tensor.copy()
    made[index_vector.astype(np.int64)] = new_tensor
    return made


@numpy_op("_contrib_boolean_mask")
def boolean_mask(node: Context, data: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows kept."""
    return np.compress(index != 0, data, node.attrs.integer("axis", 0))


@numpy_op("_npx_nonzero")
def nonzero(node: Context, x: np.ndarray) -> np.ndarray:
    """The coordinates of what is not zero."""
    return np.argwhere(x)


@numpy_op("where", "_npi_where")
def where(node: Context, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One or the other; the older operator's condition may lack the last axes."""
    lacking = x.ndim - condition.ndim if node.node.op == "where" else 0
    return np.where(condition.reshape(condition.shape + (1,) * lacking) != 0, x, y)


@numpy_op("_npi_where_rscalar", "_npi_where_lscalar")
def where_scalar(node: Context, condition: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A tensor or a number, in either order."""
    scalar = np.array(node.attrs.number("scalar", 0.0)).astype(other.dtype)
    return np.where((condition != 0) == (node.node.op == "_npi_where_rscalar"), other, scalar)


@numpy_op("_ravel_multi_index")
def ravel_multi_index(node: Context, data: np.ndarray) -> np.ndarray:
    """Coordinates to numbers, the last axis fastest."""
    numbers = np.zeros(data.shape[1:], np.int64)
    for size, along in zip(node.attrs.integers("shape"), data.astype(np.int64), strict=True):
        numbers = numbers * size + along
    return numbers.astype(data.dtype)


@numpy_op("_unravel_index")
def unravel_index(node: Context, data: np.ndarray) -> np.ndarray:
    """Numbers to coordinates, the last axis first."""
    rest, along = data.astype(np.int64), []
    for size in node.attrs.integers("shape")[:0:-1]:
        rest, place = np.divmod(rest, size)
        along.append(place)
    return np.stack([rest, *along[::-1]]).astype(data.dtype)
