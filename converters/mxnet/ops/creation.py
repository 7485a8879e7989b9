"""Tensors made from attributes, or after the shape of another: zeros, ones, full, ranges, shapes and positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.axes import MAX_STORED, axis_of, bounded, counted
from converters.mxnet.ops.expanding import expanded
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

_FILLS = {"_zeros": 0, "_zeros_without_dtype": 0, "_ones": 1}
_NUMPY_FILLS = {"_npi_zeros": 0, "_npi_ones": 1}


def filled(node: OpNode, shape: Sequence[Size], number: float, dtype: np.dtype) -> Value:
    """One number everywhere, cut as C does where `dtype` is an integer."""
    with np.errstate(invalid="ignore"):
        scalar = np.array(number, np.float64).astype(dtype)
    return expanded(node, node.g.const(scalar), shape)


@mxnet_op("_zeros", "_ones", "_zeros_without_dtype")
def constants(node: OpNode) -> Value:
    """`shape` full of one number. Unless the net has numpy's shapes, a size of 0 is one that MXNet infers from whoever
    reads it, as the batch of a begin state (0, H) or (L, 0, H): 1, which broadcasts."""
    dtype = node.attrs.text("dtype", "float32")
    kind = np.dtype(np.float32) if dtype == "-1" else node.attrs.dtype("dtype", np.dtype(np.float32))
    return filled(node, _shape(node), _FILLS[node.node.op], kind)


@mxnet_op("_full")
def full(node: OpNode) -> Value:
    """`shape` full of `value`; a shape of `()` is a scalar, which only numpy's full makes."""
    dtype = node.attrs.dtype("dtype", np.dtype(np.float32))
    return filled(node, node.attrs.integers("shape"), node.attrs.number("value"), dtype)


@mxnet_op(*_NUMPY_FILLS)
def numpy_constants(node: OpNode) -> Value:
    """`shape` full of one number; sizes may be 0."""
    dtype = node.attrs.dtype("dtype", np.dtype(np.float32))
    return filled(node, node.attrs.integers("shape", ()), _NUMPY_FILLS[node.node.op], dtype)


def _shape(node: OpNode) -> tuple[int, ...]:
    shape: tuple[int, ...] = node.attrs.integers("shape")
    if node.origin.numpy_shapes:
        return shape
    if shape.count(0) > 1 or shape == (0,):
        raise node.refuse(f"attribute 'shape': expected known sizes, except for the batch, got {shape}")
    return tuple(size or 1 for size in shape)


@mxnet_op("zeros_like", "ones_like")
def constants_like(node: OpNode, data: Value) -> Value:
    """0 or 1 in the shape and dtype of `data`."""
    return filled(node, data.shape, int(node.node.op == "ones_like"), data.dtype)


@mxnet_op("_npi_full_like")
def full_like(node: OpNode, a: Value) -> Value:
    """`fill_value` in the shape of `a`, and in its dtype by default."""
    return filled(node, a.shape, node.attrs.number("fill_value"), node.attrs.dtype("dtype", a.dtype))


@mxnet_op("_identity_with_attr_like_rhs")
def identity_like(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """`lhs`; `rhs` only tells MXNet its shape."""
    return node.g.emit("Reshape", lhs, node.g.sizes(rhs.shape), shape=rhs.shape)


@mxnet_op("_arange", "_npi_arange")
def arange(node: OpNode) -> Value:
    """`start` up to `stop` by `step`, each number `repeat` times; without `stop`, 0 up to `start`."""
    attrs = node.attrs
    start, stop, step = attrs.number("start"), attrs.number("stop", None), attrs.number("step", 1.0)
    if attrs.boolean("infer_range", False):
        raise node.refuse("attribute 'infer_range': a length that other operators tell is not supported")
    if stop is None:
        start, stop = 0.0, start
    count = max(math.ceil((stop - start) / step), 0)
    times = attrs.integer("repeat", 1)
    if times < 1:
        raise node.refuse(f"attribute 'repeat': expected 1 or more, got {times}")
    _check_count(node, count * times)
    dtype = attrs.dtype("dtype", np.dtype(np.float32))
    if dtype.kind in "iu" or dtype == np.float16:
        # MXNet counts in whole numbers then: a step of 0.5 is a step of 0.
        start, step = int(start), int(step)
    return _series(node, np.repeat(start + np.arange(count) * step, times))


@mxnet_op("_linspace")
def linspace(node: OpNode) -> Value:
    """`num` numbers from `start` to `stop`, which is the last of them unless `endpoint` is False."""
    attrs = node.attrs
    count = _check_count(node, attrs.integer("num"))
    return _series(
        node, np.linspace(attrs.number("start"), attrs.number("stop"), count, attrs.boolean("endpoint", True))
    )


@mxnet_op("_npi_logspace")
def logspace(node: OpNode) -> Value:
    """`num` powers of `base`, whose exponents go from `start` to `stop`."""
    attrs = node.attrs
    count = _check_count(node, attrs.integer("num"))
    start, stop, last = attrs.number("start"), attrs.number("stop"), attrs.boolean("endpoint", True)
    return _series(node, np.logspace(start, stop, count, last, base=attrs.number("base", 10.0)))


_WINDOWS = {"_npi_hanning": np.hanning, "_npi_hamming": np.hamming, "_npi_blackman": np.blackman}


@mxnet_op(*_WINDOWS)
def window(node: OpNode) -> Value:
    """The `M` weights of a window that fades a signal in and out."""
    return _series(node, _WINDOWS[node.node.op](_check_count(node, node.attrs.integer("M"))))


def _check_count(node: OpNode, count: int) -> int:
    if not 0 <= count <= MAX_STORED:
        raise node.refuse(f"expected 0 to {MAX_STORED} numbers, got {count}")
    return count


def _series(node: OpNode, numbers: np.ndarray) -> Value:
    return node.g.const(numbers.astype(node.attrs.dtype("dtype", np.dtype(np.float32))))


@mxnet_op("_contrib_arange_like")
def arange_like(node: OpNode, data: Value) -> Value:
    """`start` on by `step` in the shape of `data`, or as a vector as long as it is along `axis`; in its dtype.

    `repeat` gives each number several times, within the same length.
    """
    g, attrs = node.g, node.attrs
    axis, times = attrs.integer("axis", None), attrs.integer("repeat", 1)
    shape = data.shape if axis is None else (data.shape[axis_of(node, axis, data.rank)],)
    if times < 1:
        raise node.refuse(f"attribute 'repeat': expected 1 or more, got {times}")
    numbers = counted(node, g.product(shape))
    steps = g.emit("Div", numbers, g.ints(times)) if times > 1 else numbers
    made = steps.cast(np.float64) * attrs.number("step", 1.0) + attrs.number("start", 0.0)
    return g.reshape(made.cast(data.dtype), shape)


@mxnet_op("shape_array")
def shape_array(node: OpNode, data: Value) -> Value:
    """int64[rank]: the sizes."""
    return node.g.emit("Shape", data)


@mxnet_op("size_array")
def size_array(node: OpNode, data: Value) -> Value:
    """int64[1]: the number of elements."""
    return node.g.size(node.g.product(data.shape))


@mxnet_op("_contrib_index_array")
def index_array(node: OpNode, data: Value) -> Value:
    """int64[*data.shape, n]: the position of each element along all axes, or along `axes`."""
    axes = [axis_of(node, axis, data.rank, "axes") for axis in node.attrs.integers("axes", range(data.rank))]
    along = [_positions(node, data.shape, axis).unsqueeze(data.rank) for axis in axes]
    return along[0] if len(along) == 1 else node.g.emit("Concat", *along, axis=data.rank)


@mxnet_op("_npi_indices")
def indices(node: OpNode) -> Value:
    """`[n, *dimensions]`: the positions along each axis of a grid."""
    sizes = bounded(node, node.attrs.integers("dimensions"))
    grid = [_positions(node, sizes, axis).unsqueeze(0) for axis in range(len(sizes))]
    made = grid[0] if len(grid) == 1 else node.g.emit("Concat", *grid, axis=0)
    return made.cast(node.attrs.dtype("dtype", np.dtype(np.int32)))


def _positions(node: OpNode, sizes: Sequence[Size], axis: int) -> Value:
    """int64[*sizes]: how far along one axis each element is."""
    others = [place for place in range(len(sizes)) if place != axis]
    numbers = counted(node, sizes[axis])
    lifted = numbers.unsqueeze(*others)
    return expanded(node, lifted, sizes)
