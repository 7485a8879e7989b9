"""numpy: tensors made from attributes, or after the shape of another, as `ops/creation.py`."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

FLOAT = np.dtype(np.float32)
_FILLS = {"_zeros": 0, "_zeros_without_dtype": 0, "_ones": 1, "_npi_zeros": 0, "_npi_ones": 1}


@numpy_op("_full", *_FILLS)
def full(node: Context) -> np.ndarray:
    """One number in the shape that the attribute gives; 1 stands for a size that MXNet infers."""
    attrs, op = node.attrs, node.node.op
    inferred = not node.origin.numpy_shapes and not op.startswith("_npi_")
    shape = [1 if inferred and size == 0 else size for size in attrs.integers("shape", ())]
    untold = attrs.text("dtype", "float32") == "-1"
    number = _FILLS[op] if op in _FILLS else attrs.number("value")
    return np.full(shape, number).astype(FLOAT if untold else attrs.dtype("dtype", FLOAT))


@numpy_op("zeros_like", "ones_like", "_npi_full_like")
def full_like(node: Context, data: np.ndarray) -> np.ndarray:
    """One number in the shape of `data`."""
    value = {"zeros_like": 0.0, "ones_like": 1.0}.get(node.node.op)
    number = node.attrs.number("fill_value") if value is None else value
    return np.full(data.shape, number).astype(node.attrs.dtype("dtype", data.dtype))


@numpy_op("_arange", "_npi_arange")
def arange(node: Context) -> np.ndarray:
    """Counted up one by one, in double precision; in whole numbers for integers."""
    attrs, dtype = node.attrs, node.attrs.dtype("dtype", FLOAT)
    first, last, step = attrs.number("start"), attrs.number("stop", None), attrs.number("step", 1.0)
    start, stop = (0.0, first) if last is None else (first, last)
    count = len(np.arange(start, stop, step))
    if dtype != np.float32 and dtype != np.float64:
        start, step = np.trunc(start), np.trunc(step)
    return np.array([start + i * step for i in range(count) for _ in range(attrs.integer("repeat", 1))]).astype(dtype)


@numpy_op("_linspace")
def linspace(node: Context) -> np.ndarray:
    """Evenly from `start` to `stop`."""
    attrs = node.attrs
    start, stop, count = attrs.number("start"), attrs.number("stop"), attrs.integer("num")
    steps = max(count - attrs.boolean("endpoint", True), 1)
    numbers: np.ndarray = start + np.arange(count) * ((stop - start) / steps)
    return numbers.astype(attrs.dtype("dtype", FLOAT))


@numpy_op("_eye", "_npi_eye")
def eye(node: Context) -> np.ndarray:
    """Ones on a diagonal; the older operator's M of 0 stands for N."""
    attrs = node.attrs
    columns = attrs.integer("M", None)
    square = node.node.op == "_eye" and columns == 0
    return np.eye(attrs.integer("N"), None if square else columns, attrs.integer("k", 0), attrs.dtype("dtype", FLOAT))


@numpy_op("_contrib_arange_like")
def arange_like(node: Context, data: np.ndarray) -> np.ndarray:
    """Counted in the shape of `data`, or along one of its axes."""
    attrs = node.attrs
    axis = attrs.integer("axis", None)
    shape = data.shape if axis is None else (data.shape[axis],)
    steps = np.arange(int(np.prod(shape))) // attrs.integer("repeat", 1)
    numbers: np.ndarray = attrs.number("start", 0.0) + steps * attrs.number("step", 1.0)
    return numbers.astype(data.dtype).reshape(shape)


@numpy_op("shape_array")
def shape_array(node: Context, data: np.ndarray) -> np.ndarray:
    """The sizes."""
    return np.array(data.shape, np.int64)


@numpy_op("size_array")
def size_array(node: Context, data: np.ndarray) -> np.ndarray:
    """The number of elements."""
    return np.array([data.size], np.int64)


@numpy_op("_contrib_index_array")
def index_array(node: Context, data: np.ndarray) -> np.ndarray:
    """The position of each element, the coordinates last."""
    grid = np.moveaxis(np.indices(data.shape, np.int64), 0, -1)
    return grid[..., list(node.attrs.integers("axes", range(data.ndim)))]


@numpy_op("_npi_indices")
def indices(node: Context) -> np.ndarray:
    """The positions along each axis of a grid."""
    return np.indices(node.attrs.integers("dimensions"), node.attrs.dtype("dtype", np.dtype(np.int32)))
