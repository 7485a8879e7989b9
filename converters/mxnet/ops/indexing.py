"""Elements chosen or replaced by a condition or by coordinates: where, boolean_mask, scatter_nd, index_copy .."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.axes import axis_of, known_size
from converters.mxnet.ops.creation import filled
from converters.mxnet.ops.gathering import coordinates, whole
from converters.mxnet.ops.kernels import number, select, truth
from converters.mxnet.ops.reductions import total
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@mxnet_op("where")
def where(node: OpNode, condition: Value, x: Value, y: Value) -> Value:
    """`x` where the condition is not zero, else `y`; with fewer axes it covers the first: a vector chooses rows."""
    return select(truth(condition.unsqueeze(*range(condition.rank, x.rank))), x, y)


@mxnet_op("_npi_where")
def np_where(node: OpNode, condition: Value, x: Value, y: Value) -> Value:
    """`x` where the condition is not zero, else `y`, all broadcast as numpy does."""
    if x.dtype != y.dtype:
        raise node.refuse(f"expected inputs of one dtype, got {x} and {y}")
    return select(truth(condition), x, y)


@mxnet_op("_npi_where_rscalar")
def where_else_scalar(node: OpNode, condition: Value, x: Value) -> Value:
    """`x` where the condition is not zero, else the number `scalar`."""
    return select(truth(condition), x, number(node.attrs.number("scalar", 0.0), x))


@mxnet_op("_npi_where_lscalar")
def where_then_scalar(node: OpNode, condition: Value, y: Value) -> Value:
    """The number `scalar` where the condition is not zero, else `y`."""
    return select(truth(condition), number(node.attrs.number("scalar", 0.0), y), y)


@mxnet_op("_npi_where_scalar2")
def where_scalars(node: OpNode, condition: Value) -> Value:
    """float32: the number `x` where the condition is not zero, else `y`."""
    one, other = (node.g.const(node.attrs.number(name, 0.0), np.float32) for name in ("x", "y"))
    return select(truth(condition), one, other)


@mxnet_op("_contrib_boolean_mask")
def boolean_mask(node: OpNode, data: Value, index: Value) -> Value:
    """The slices of `data` along `axis` (default 0) whose entry of the vector `index` is not zero."""
    axis = axis_of(node, node.attrs.integer("axis", 0), data.rank)
    if index.rank != 1:
        raise node.refuse(f"expected a vector as index, got {index}")
    return node.g.emit("Compress", data, truth(index), axis=axis)


@mxnet_op("_npi_boolean_mask_assign_scalar")
def assign_where(node: OpNode, data: Value, mask: Value) -> Value:
    """`data` with the number `value` where the mask, which covers the axes from `start_axis` on, is not zero."""
    start = axis_of(node, node.attrs.integer("start_axis", 0), data.rank, "start_axis")
    cover = truth(mask).unsqueeze(*range(mask.rank, data.rank - start))
    return select(cover, number(node.attrs.number("value"), data), data)


@mxnet_op("_npx_nonzero")
def nonzero(node: OpNode, x: Value) -> Value:
    """int64[n, rank]: the coordinates of all elements that are not zero."""
    return node.g.emit("NonZero", truth(x)).transpose(1, 0)


@mxnet_op("scatter_nd")
def scatter_nd(node: OpNode, data: Value, indices: Value) -> Value:
    """Zeros of `shape` with the parts of `data` at `indices[m, ...]`, coordinates along the first m axes."""
    blank = filled(node, node.attrs.integers("shape"), 0, data.dtype)
    return node.g.emit("ScatterND", blank, coordinates(node, indices), data)


@mxnet_op("_scatter_set_nd")
def scatter_set_nd(node: OpNode, lhs: Value, rhs: Value, indices: Value) -> Value:
    """`lhs` with the parts of `rhs` at the coordinates `indices[m, ...]` along its first m axes."""
    return node.g.emit("ScatterND", lhs, coordinates(node, indices), rhs)


@mxnet_op("_contrib_index_copy")
def index_copy(node: OpNode, old_tensor: Value, index_vector: Value, new_tensor: Value) -> Value:
    """`old_tensor` with the rows of `new_tensor` at the numbers of `index_vector`."""
    return node.g.emit("ScatterND", old_tensor, whole(index_vector).unsqueeze(1), new_tensor)


@mxnet_op("_ravel_multi_index")
def ravel_multi_index(node: OpNode, data: Value) -> Value:
    """The numbers [n] of elements of a tensor of `shape` by their coordinates `data[m, n]`."""
    strides = _strides(node, node.attrs.integers("shape"))
    if data.rank != 2 or known_size(node, data, 0) != len(strides):
        raise node.refuse(f"expected coordinates [{len(strides)}, n], got {data}")
    weights = node.g.const(np.array(strides).reshape(-1, 1).astype(data.dtype))
    return total(data * weights, (0,), False)


@mxnet_op("_unravel_index")
def unravel_index(node: OpNode, data: Value) -> Value:
    """The coordinates [m, n] of the elements number `data[n]` of a tensor of `shape`; its first size may be -1."""
    shape = node.attrs.integers("shape")
    if data.rank != 1:
        raise node.refuse(f"expected a vector, got {data}")
    g, numbers = node.g, whole(data)
    along = [
        g.emit("Div", numbers, g.ints(stride))
        if axis == 0
        else g.emit("Mod", g.emit("Div", numbers, g.ints(stride)), g.ints(shape[axis]))
        for axis, stride in enumerate(_strides(node, shape))
    ]
    return g.emit("Concat", *(value.unsqueeze(0) for value in along), axis=0).cast(data.dtype)


def _strides(node: OpNode, shape: Sequence[int]) -> list[int]:
    """How many elements apart neighbours along each axis are."""
    if not shape or min(shape[1:], default=1) < 1:
        raise node.refuse(f"attribute 'shape': expected sizes above 0, got {tuple(shape)}")
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
