"""Reductions: `sum`, `mean`, `max`, `min`, `prod` and their like, norms, moments, sums and differences along an axis.

`axis` is a number or a tuple, absent or `()` for all axes; `exclude=True` means all *other* axes. There are no scalars
here: what would be one has shape (1,). Integers stay integers. For NaN MXNet's max and min give NaN; those of ONNX
Runtime leave it out. The functions `total`, `product`, .. take any dtype and axes counted from the front, and serve
`numpy_reductions.py` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from converters.mxnet.ops.arithmetic import divide
from converters.mxnet.ops.axes import axes_of, axis_of
from converters.mxnet.ops.kernels import NARROW
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

Reduction = Callable[[Value, Sequence[int], bool], Value]
"""Of a value over axes; whether these stay with size 1."""
MAX_DIFFERENCES = 64
"""Of neighbours, one after the other."""


def reduced_axes(node: OpNode, data: Value) -> tuple[int, ...]:
    """The axes that attributes `axis` and `exclude` mean."""
    axes = node.attrs.integers("axis", None)
    if axes is None:
        return tuple(range(data.rank))
    named, exclude = axes_of(node, axes, data.rank), node.attrs.boolean("exclude", False)
    return tuple(axis for axis in range(data.rank) if (axis in named) != exclude)


def unscalar(value: Value) -> Value:
    """A scalar as shape (1,)."""
    return value.unsqueeze(0) if value.rank == 0 else value


def _reduce(op: str) -> Reduction:
    """ONNX's operator, by way of int32 for narrow integers, whose sums and products wrap."""

    def reduction(x: Value, axes: Sequence[int], keepdims: bool) -> Value:
        wide = x.cast(np.int32) if x.dtype in NARROW else x
        return wide.reduce(op, *axes, keepdims=keepdims).cast(x.dtype)

    return reduction


total: Final = _reduce("ReduceSum")
product: Final = _reduce("ReduceProd")
largest: Final = _reduce("ReduceMax")
smallest: Final = _reduce("ReduceMin")


def count(x: Value, axes: Sequence[int], dtype: Any = None) -> Value:
    """How many elements there are along `axes`, as a scalar of `dtype` or that of `x`."""
    wanted = x.dtype if dtype is None else dtype
    return x.g.size(x.g.product(x.shape[axis] for axis in axes)).squeeze(0).cast(wanted)


def mean(x: Value, axes: Sequence[int], keepdims: bool) -> Value:
    """The mean; of integers the sum, which may wrap, divided and cut towards zero."""
    if x.is_float:
        return x.reduce("ReduceMean", *axes, keepdims=keepdims)
    wide = total(x, axes, keepdims).cast(np.int64)
    return divide(wide, count(x, axes, np.int64)).cast(x.dtype)


def variance(x: Value, axes: Sequence[int], keepdims: bool, ddof: int = 0) -> Value:
    """The mean squared distance from the mean; divided by the count less `ddof`. Of integers all is integers, cut."""
    distance = x - mean(x, axes, True)
    squared = distance * distance
    if ddof == 0:
        return mean(squared, axes, keepdims)
    wide = total(squared, axes, keepdims).cast(x.dtype if x.is_float else np.int64)
    return divide(wide, count(x, axes, wide.dtype) - ddof).cast(x.dtype)


def without_nan(reduction: Reduction, neutral: float) -> Reduction:
    """The reduction with NaN counting as `neutral`."""

    def of_numbers(x: Value, axes: Sequence[int], keepdims: bool) -> Value:
        g = x.g
        numbers = g.emit("Where", g.emit("IsNaN", x), g.scalar(neutral, x), x) if x.is_float else x
        return reduction(numbers, axes, keepdims)

    return of_numbers


def in_floats(op: str) -> Reduction:
    """ONNX's operator, of integers computed in float64 and cut."""

    def reduction(x: Value, axes: Sequence[int], keepdims: bool) -> Value:
        wide = x if x.is_float else x.cast(np.float64)
        return wide.reduce(op, *axes, keepdims=keepdims).cast(x.dtype)

    return reduction


REDUCTIONS: Final[Mapping[str, Reduction]] = {
    "sum": total,
    "mean": mean,
    "prod": product,
    "max": largest,
    "min": smallest,
    "nansum": without_nan(total, 0),
    "nanprod": without_nan(product, 1),
    "_square_sum": in_floats("ReduceSumSquare"),
}


def _register(name: str, reduction: Reduction) -> None:
    @mxnet_op(name)
    def reduce(node: OpNode, data: Value) -> Value:
        return unscalar(reduction(data, reduced_axes(node, data), node.attrs.boolean("keepdims", False)))


for _name, _reduction in REDUCTIONS.items():
    _register(_name, _reduction)


@mxnet_op("norm")
def norm(node: OpNode, data: Value) -> Value:
    """The sum of absolute values (`ord` 1) or the root of the sum of squares (`ord` 2, the default); `out_dtype`."""
    order = node.attrs.integer("ord", 2)
    if order not in (1, 2):
        raise node.refuse(f"attribute 'ord': expected 1 or 2, got {order}")
    if order == 2 and not data.is_float:
        raise node.refuse(f"expected floats, got {data}: MXNet rounds the squares of integers on the way")
    x = data.cast(node.attrs.dtype("out_dtype", data.dtype))
    axes = reduced_axes(node, x)
    return unscalar(in_floats(f"ReduceL{order}")(x, axes, node.attrs.boolean("keepdims", False)))


@mxnet_op("moments")
def moments(node: OpNode, data: Value) -> Sequence[Value]:
    """Mean and variance (of the population) over `axes`, which must be given."""
    axes = axes_of(node, node.attrs.integers("axes"), data.rank, "axes")
    keepdims = node.attrs.boolean("keepdims", False)
    return unscalar(mean(data, axes, keepdims)), unscalar(variance(data, axes, keepdims))


@mxnet_op("multi_sum_sq")
def multi_sum_sq(node: OpNode, *data: Value) -> Value:
    """The sum of squares of each of `num_arrays` tensors: float32[num_arrays]."""
    sums = [each.cast(np.float32).reduce("ReduceSumSquare", *range(each.rank)) for each in data]
    return node.g.emit("Concat", *[unscalar(each) for each in sums], axis=0)


@mxnet_op("_np_cumsum")
def cumsum(node: OpNode, a: Value) -> Value:
    """The running sum along `axis`, or of the flattened tensor without one; in `dtype` where that is given.

    Narrow integers wrap; bools give int64.
    """
    g = node.g
    dtype = node.attrs.dtype("dtype", np.dtype(np.int64) if a.dtype.kind == "b" else a.dtype)
    axis = node.attrs.integer("axis", None)
    flat = a if axis is not None else g.reshape(a, [g.product(a.shape)])
    place = 0 if axis is None else axis_of(node, axis, a.rank)
    x = flat.cast(dtype)
    wide = x.cast(np.int32) if dtype in NARROW else x
    return g.emit("CumSum", wide, g.const(place, np.int64)).cast(dtype)


@mxnet_op("_npi_diff")
def diff(node: OpNode, a: Value) -> Value:
    """The differences of neighbours along `axis` (default -1), taken `n` (default 1) times."""
    times = node.attrs.integer("n", 1)
    if not 0 <= times <= MAX_DIFFERENCES:
        raise node.refuse(f"attribute 'n': expected 0 to {MAX_DIFFERENCES}, got {times}")
    axis = axis_of(node, node.attrs.integer("axis", -1), a.rank)
    for _ in range(times):
        a = a.slice(axis, 1) - a.slice(axis, 0, -1)
    return a
