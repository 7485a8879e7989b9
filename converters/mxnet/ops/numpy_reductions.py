"""Reductions of the numpy front end: scalars exist, `axis=()` reduces nothing, and dtypes change.

Sums of bools are int64, means of integers float32; an attribute `dtype` has the say where it is given. Release 2 calls
`_npi_sum` what was `_np_sum`, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.arithmetic import divide
from converters.mxnet.ops.axes import axes_of
from converters.mxnet.ops.reductions import (
    Reduction,
    count,
    in_floats,
    largest,
    mean,
    product,
    smallest,
    total,
    variance,
)
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


def reduced_axes(node: OpNode, data: Value) -> tuple[int, ...]:
    """The axes of attribute `axis`; None, the default, means all and `()` none."""
    axes = node.attrs.optional_integers("axis", None)
    return tuple(range(data.rank)) if axes is None else axes_of(node, axes, data.rank)


def _reduced(node: OpNode, reduction: Reduction, x: Value) -> Value:
    if "initial" in node.attrs:
        raise node.refuse("attribute 'initial': expected none, got one")
    axes = reduced_axes(node, x)
    return reduction(x, axes, node.attrs.boolean("keepdims", False)) if axes else x


def _register_sum(word: str, reduction: Reduction) -> None:
    @mxnet_op(f"_np_{word}", f"_npi_{word}")
    def summed(node: OpNode, a: Value) -> Value:
        usual = np.int64 if a.dtype.kind == "b" else a.dtype
        return _reduced(node, reduction, a.cast(node.attrs.dtype("dtype", usual)))


def _register_extreme(word: str, reduction: Reduction) -> None:
    @mxnet_op(f"_np_{word}", f"_npi_{word}")
    def extreme(node: OpNode, a: Value) -> Value:
        if a.dtype.kind != "b":
            return _reduced(node, reduction, a)
        return _reduced(node, reduction, a.cast(np.int32)).cast(np.bool_)


def _register_test(word: str, reduction: Reduction) -> None:
    @mxnet_op(f"_np_{word}", f"_npi_{word}")
    def test(node: OpNode, data: Value) -> Value:
        return _reduced(node, reduction, data.cast(np.bool_).cast(np.int32)).cast(np.bool_)


_register_sum("sum", total)
_register_sum("prod", product)
_register_extreme("max", largest)
_register_extreme("min", smallest)
_register_test("any", largest)
_register_test("all", smallest)


@mxnet_op("_npi_mean")
def numpy_mean(node: OpNode, a: Value) -> Value:
    """The mean, float32 for integers and bools unless `dtype` says otherwise."""
    dtype = node.attrs.dtype("dtype", a.dtype if a.is_float else np.dtype(np.float32))
    wide = a if dtype.kind != "f" or a.dtype == dtype else a.cast(dtype)
    return _reduced(node, mean, wide).cast(dtype)


def _spread(node: OpNode, a: Value) -> tuple[Value, np.dtype]:
    """The variance, and the dtype that the result shall have. Of integers it is one too, as in `moments`."""
    dtype = node.attrs.dtype("dtype", a.dtype)
    x = a.cast(dtype) if dtype.kind == "f" else a
    axes, keepdims = reduced_axes(node, a), node.attrs.boolean("keepdims", False)
    return (variance(x, axes, keepdims, node.attrs.integer("ddof", 0)) if axes else x - x), dtype


@mxnet_op("_npi_var")
def numpy_variance(node: OpNode, a: Value) -> Value:
    """The variance; `ddof` (default 0) is taken off the count. The input's dtype, of integers too."""
    value, dtype = _spread(node, a)
    return value.cast(dtype)


@mxnet_op("_npi_std")
def standard_deviation(node: OpNode, a: Value) -> Value:
    """The root of the variance."""
    value, dtype = _spread(node, a)
    return node.g.emit("Sqrt", value if value.is_float else value.cast(np.float64)).cast(dtype)


@mxnet_op("_npi_average")
def average(node: OpNode, a: Value, weights: Value | None = None) -> Sequence[Value]:
    """The mean weighted by `weights` (the shape of `a`, or one for each place along `axis`), and the weights' sum."""
    axes = reduced_axes(node, a)
    if weights is None:
        return mean(a, axes, False), count(a, axes)
    if weights.rank == a.rank:
        whole = total(weights, axes, False)
    else:
        (axis,) = axes
        whole = total(weights, [0], False)
        weights = weights.unsqueeze(*(place for place in range(a.rank) if place != axis))
    return divide(total(a * weights, axes, False), whole), whole


@mxnet_op("_npi_norm")
def numpy_norm(node: OpNode, data: Value) -> Value:
    """Norms of vectors of any order, and Frobenius': `flag` tells which (-2 of all elements, -1 `ord`, 1 Frobenius).

    Norms by singular values (0, 2) have no ONNX operator. Infinite orders don't get here: the front end writes maxima.
    """
    flag, order = node.attrs.integer("flag", -1), node.attrs.number("ord", 2.0)
    axes = tuple(range(data.rank)) if flag == -2 else reduced_axes(node, data)
    keepdims = node.attrs.boolean("keepdims", False)
    if not data.is_float and (flag, order) != (-1, 1):
        raise node.refuse(f"expected floats, got {data}: MXNet rounds the squares of integers on the way")
    if flag in (-2, 1) or (flag == -1 and order in (1, 2)):
        return in_floats("ReduceL1" if flag == -1 and order == 1 else "ReduceL2")(data, axes, keepdims)
    if flag != -1 or not 0 < order < 1000:
        raise node.refuse(f"expected a vector norm of positive order or 'fro', got flag {flag} and ord {order}")
    g = node.g
    powers = g.emit("Pow", g.emit("Abs", data), g.scalar(order, data)).reduce("ReduceSum", *axes, keepdims=keepdims)
    return g.emit("Pow", powers, g.scalar(1 / order, powers))
