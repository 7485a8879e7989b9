"""Reductions, positions of extremes and running sums, in the older front end and numpy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

Reduction = Callable[..., Any]
"""Called as numpy's own: `(x, axis=, keepdims=)`."""


def _accumulated(function: Reduction) -> Reduction:
    """Floats are added up in doubles; integers in their own type, where they wrap."""

    def reduction(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
        wide = np.float64 if x.dtype.kind == "f" else x.dtype
        return np.asarray(function(x, axis=axis, keepdims=keepdims, dtype=wide)).astype(x.dtype)

    return reduction


_sum = _accumulated(np.sum)


def _mean(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.asarray(np.mean(x, axis=axis, keepdims=keepdims, dtype=np.float64)).astype(x.dtype)
    count = np.prod([x.shape[each] for each in axis], dtype=np.int64)
    return np.asarray(np.trunc(_sum(x, axis, keepdims) / count)).astype(x.dtype)


_LEGACY: Final[Mapping[str, Reduction]] = {
    "sum": _sum,
    "prod": _accumulated(np.prod),
    "nansum": _accumulated(np.nansum),
    "nanprod": _accumulated(np.nanprod),
    "mean": _mean,
    "max": np.max,
    "min": np.min,
    "_square_sum": lambda x, axis, keepdims: _sum(x * x, axis, keepdims),
}


def _variance(x: np.ndarray, axis: tuple[int, ...], keepdims: bool, ddof: int = 0) -> np.ndarray:
    if x.dtype.kind == "f":
        return np.asarray(np.var(x.astype(np.float64), axis=axis, ddof=ddof, keepdims=keepdims)).astype(x.dtype)
    squares = np.square(x - _mean(x, axis, True))
    count = np.prod([x.shape[each] for each in axis], dtype=np.int64) - ddof
    return np.asarray(np.trunc(_sum(squares, axis, keepdims) / count)).astype(x.dtype)


def _axes(node: Context, rank: int) -> tuple[int, ...]:
    named = node.attrs.integers("axis", None)
    if named is None:
        return tuple(range(rank))
    axes = {axis % rank for axis in named}
    return tuple(sorted(set(range(rank)) - axes if node.attrs.boolean("exclude", False) else axes))


def _legacy(name: str, function: Reduction) -> None:
    @numpy_op(name)
    def reduce(node: Context, data: np.ndarray) -> np.ndarray:
        keepdims = node.attrs.boolean("keepdims", False)
        return np.atleast_1d(function(data, axis=_axes(node, data.ndim), keepdims=keepdims))


for _name, _function in _LEGACY.items():
    _legacy(_name, _function)


@numpy_op("norm")
def norm(node: Context, data: np.ndarray) -> np.ndarray:
    """Of order 1 or 2, of floats."""
    x = np.abs(data.astype(np.float64))
    axes, keepdims = _axes(node, data.ndim), node.attrs.boolean("keepdims", False)
    order = node.attrs.integer("ord", 2)
    made = np.sum(x**order, axis=axes, keepdims=keepdims) ** (1 / order)
    return np.atleast_1d(made).astype(node.attrs.dtype("out_dtype", data.dtype))


@numpy_op("moments")
def moments(node: Context, data: np.ndarray) -> Sequence[np.ndarray]:
    """Mean and variance."""
    axes, keepdims = node.attrs.integers("axes"), node.attrs.boolean("keepdims", False)
    return np.atleast_1d(_mean(data, axes, keepdims)), np.atleast_1d(_variance(data, axes, keepdims))


def _position(node: Context, x: np.ndarray) -> np.ndarray:
    """numpy's too counts NaN as the extreme, and gives the first of equals."""
    axis = node.attrs.integer("axis", None)
    whole = axis is None or (axis == -1 and node.origin.version < 905)
    function = np.argmax if node.node.op.endswith("argmax") else np.argmin
    return np.asarray(function(x, axis=None if whole else axis, keepdims=node.attrs.boolean("keepdims", False)))


@numpy_op("argmax", "argmin")
def position(node: Context, data: np.ndarray) -> np.ndarray:
    """In the dtype of the data."""
    return np.atleast_1d(_position(node, data)).astype(data.dtype)


@numpy_op("_npi_argmax", "_npi_argmin")
def numpy_position(node: Context, data: np.ndarray) -> np.ndarray:
    """As int64."""
    return _position(node, data).astype(np.int64)


@numpy_op("argmax_channel")
def argmax_channel(node: Context, data: np.ndarray) -> np.ndarray:
    """Over axis 1."""
    return np.asarray(np.argmax(data, axis=1)).astype(data.dtype)


def _numpy_axes(node: Context) -> tuple[int, ...] | None:
    axes = node.attrs.optional_integers("axis", None)
    return None if axes is None else tuple(axes)


def _numpy(names: tuple[str, ...], function: Reduction, dtype_of: Callable[[np.dtype[Any]], Any]) -> None:
    """`dtype_of` gives the result's dtype where attribute `dtype` does not."""

    @numpy_op(*names)
    def reduce(node: Context, a: np.ndarray) -> np.ndarray:
        dtype = node.attrs.dtype("dtype", np.dtype(dtype_of(a.dtype)))
        made = function(a.astype(np.float64), axis=_numpy_axes(node), keepdims=node.attrs.boolean("keepdims", False))
        if dtype.kind in "iu":
            made = np.asarray(made).astype(np.int64)
        return np.asarray(made).astype(dtype)


def _same(dtype: np.dtype[Any]) -> Any:
    return dtype


def _summed(dtype: np.dtype[Any]) -> Any:
    return np.int64 if dtype.kind == "b" else dtype


_numpy(("_np_sum", "_npi_sum"), np.sum, _summed)
_numpy(("_np_prod", "_npi_prod"), np.prod, _summed)
_numpy(("_np_max", "_npi_max"), np.max, _same)
_numpy(("_np_min", "_npi_min"), np.min, _same)
_numpy(("_np_any", "_npi_any"), np.any, lambda dtype: np.bool_)
_numpy(("_np_all", "_npi_all"), np.all, lambda dtype: np.bool_)
_numpy(("_npi_mean",), np.mean, lambda dtype: dtype if dtype.kind == "f" else np.float32)


@numpy_op("_npi_var", "_npi_std")
def spread(node: Context, a: np.ndarray) -> np.ndarray:
    """Variance and its root, in the dtype of the data."""
    dtype = node.attrs.dtype("dtype", a.dtype)
    axes = _numpy_axes(node)
    x = a.astype(dtype) if dtype.kind == "f" else a
    every = tuple(range(a.ndim)) if axes is None else axes
    made = _variance(x, every, node.attrs.boolean("keepdims", False), node.attrs.integer("ddof", 0))
    return np.asarray(np.sqrt(made) if node.node.op.endswith("std") else made).astype(dtype)


@numpy_op("_np_cumsum")
def cumsum(node: Context, a: np.ndarray) -> np.ndarray:
    """Flattened without an axis."""
    dtype = node.attrs.dtype("dtype", np.dtype(_summed(a.dtype)))
    return np.cumsum(a.astype(dtype), axis=node.attrs.integer("axis", None), dtype=dtype)
