"""numpy's ways of joining and splitting, which add the axes that their inputs lack."""

from __future__ import annotations

from collections.abc import Callable

from converters.mxnet.ops.axes import axis_of
from converters.mxnet.ops.joining import joined, split_along
from converters.mxnet.ops.reductions import unscalar
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@mxnet_op("_npi_concatenate")
def concatenate(node: OpNode, *data: Value) -> Value:
    """Joined along `axis` (default 0); with an axis of None all are flattened first."""
    if node.node.texts.get("axis") == "None":
        return joined(node, [node.g.reshape(value, (node.g.product(value.shape),)) for value in data], 0)
    return joined(node, data, node.attrs.integer("axis", 0))


def at_least_2d(value: Value) -> Value:
    """A vector as a row."""
    return unscalar(value).unsqueeze(0) if value.rank < 2 else value


def at_least_3d(value: Value) -> Value:
    """A vector as [1, n, 1], a matrix as [m, n, 1]."""
    return at_least_2d(value).unsqueeze(2) if value.rank < 3 else value


def columns(value: Value) -> Value:
    """A vector as a column."""
    return unscalar(value).unsqueeze(1) if value.rank < 2 else value


_LIFTED: dict[str, Callable[[Value], Value]] = {
    "_np_atleast_1d": unscalar,
    "_np_atleast_2d": at_least_2d,
    "_np_atleast_3d": at_least_3d,
}
_STACKED: dict[str, tuple[Callable[[Value], Value], int]] = {
    "_npi_vstack": (at_least_2d, 0),
    "_npi_hstack": (unscalar, 1),
    "_npi_dstack": (at_least_3d, 2),
    "_npi_column_stack": (columns, 1),
}


@mxnet_op(*_LIFTED)
def lifted(node: OpNode, *arys: Value) -> list[Value]:
    """Each input with at least so many axes."""
    return [_LIFTED[node.node.op](value) for value in arys]


@mxnet_op(*_STACKED)
def stacked(node: OpNode, *data: Value) -> Value:
    """Joined along the axis that the function is named for; vectors are made to have it, except by hstack."""
    lift, axis = _STACKED[node.node.op]
    parts = [lift(value) for value in data]
    return joined(node, parts, min(axis, parts[0].rank - 1))


@mxnet_op("_npi_hsplit", "_npi_dsplit")
def split_by_name(node: OpNode, data: Value) -> list[Value]:
    """Cut along the second axis, or the third; a vector's only one."""
    axis = 2 if node.node.op == "_npi_dsplit" else min(1, data.rank - 1)
    return split_along(node, data, axis_of(node, axis, data.rank))
