"""Diagonals and triangles: diag, numpy's diag, diagflat, diagonal, tril and triu, and `_eye`."""

from __future__ import annotations

from converters.mxnet.ops.axes import axes_of, bounded, counted
from converters.mxnet.ops.kernels import select
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value


@mxnet_op("diag")
def diag(node: OpNode, data: Value) -> Value:
    """A vector as the `k`th diagonal of a matrix; else the `k`th diagonal over `axis1` and `axis2`, put last."""
    attrs = node.attrs
    if data.rank == 1:
        return _matrix(node, data, attrs.integer("k", 0))
    return _diagonal(node, data, attrs.integer("k", 0), attrs.integer("axis1", 0), attrs.integer("axis2", 1))


@mxnet_op("_np_diag")
def np_diag(node: OpNode, data: Value) -> Value:
    """A vector as the `k`th diagonal of a matrix, or the `k`th diagonal of a matrix."""
    if data.rank > 2:
        raise node.refuse(f"expected a vector or a matrix, got {data}")
    k = node.attrs.integer("k", 0)
    return _matrix(node, data, k) if data.rank == 1 else _diagonal(node, data, k, 0, 1)


@mxnet_op("_np_diagflat")
def diagflat(node: OpNode, data: Value) -> Value:
    """All elements as the `k`th diagonal of a matrix."""
    return _matrix(node, node.g.reshape(data, (node.g.product(data.shape),)), node.attrs.integer("k", 0))


@mxnet_op("_np_diagonal")
def diagonal(node: OpNode, data: Value) -> Value:
    """The diagonal `offset` over `axis1` and `axis2`, put last."""
    attrs = node.attrs
    return _diagonal(node, data, attrs.integer("offset", 0), attrs.integer("axis1", 0), attrs.integer("axis2", 1))


def _matrix(node: OpNode, data: Value, k: int) -> Value:
    """Row i holds element i at column i + k, where k is above 0; below it is the other way around."""
    g = node.g
    side = _plus(node, data.shape[0], abs(k))
    bounded(node, (side, side))
    numbers = counted(node, side)
    rows, columns = numbers.unsqueeze(1), numbers.unsqueeze(0)
    padded = g.emit("Pad", data, g.ints(0, abs(k)), shape=(side,)) if k else data
    along = padded.unsqueeze(1 if k > 0 else 0)
    return select(g.emit("Equal", rows + k, columns), along, g.scalar(0, data))


def _plus(node: OpNode, size: Size, number: int) -> Size:
    """A size and a number, at least 0."""
    if isinstance(size, int):
        return max(size + number, 0)
    return node.g.new_size(lambda: node.g.emit("Max", node.g.size(size) + number, node.g.ints(0))) if number else size


def _smaller(node: OpNode, one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    return one if one == other else node.g.new_size(lambda: node.g.emit("Min", node.g.size(one), node.g.size(other)))


def _diagonal(node: OpNode, data: Value, k: int, axis1: int, axis2: int) -> Value:
    """Element i of the diagonal is number (i + below) * width + i + right of the flattened matrix."""
    g = node.g
    first, second = axes_of(node, (axis1, axis2), data.rank, "axis1")
    others = [axis for axis in range(data.rank) if axis not in (first, second)]
    sizes, (height, width) = [data.shape[axis] for axis in others], (data.shape[first], data.shape[second])
    below, right = max(-k, 0), max(k, 0)
    count = _smaller(node, _plus(node, height, -below), _plus(node, width, -right))
    numbers = counted(node, count)
    places = (numbers + below) * g.size(width) + (numbers + right)
    flat = g.reshape(data.transpose(*others, first, second), (*sizes, g.product((height, width))))
    return g.emit("Gather", flat, places, axis=len(others), shape=(*sizes, count))


_TRIANGLES = {"_npi_tril": "LessOrEqual", "_npi_triu": "GreaterOrEqual"}


@mxnet_op(*_TRIANGLES)
def triangle(node: OpNode, data: Value) -> Value:
    """Zeros above (tril) or below (triu) the `k`th diagonal of each matrix; a vector is taken for every row of one."""
    g = node.g
    rows = counted(node, data.shape[-2] if data.rank > 1 else data.shape[0]).unsqueeze(1)
    columns = counted(node, data.shape[-1]).unsqueeze(0)
    inside = g.emit(_TRIANGLES[node.node.op], columns, rows + node.attrs.integer("k", 0))
    return select(inside, data, g.scalar(0, data))


@mxnet_op("_eye", "_npi_eye", "_npi_identity")
def eye(node: OpNode) -> Value:
    """`[N, M]` of ones on the `k`th diagonal, zeros elsewhere; without M, which may be 0, it is square."""
    attrs = node.attrs
    if node.node.op == "_npi_identity":
        rows, columns = attrs.integers("shape")
    else:
        rows = attrs.integer("N")
        columns = attrs.integer("M", None)
        columns = rows if columns is None or (columns == 0 and node.node.op == "_eye") else columns
    shape = bounded(node, (rows, columns))
    g = node.g
    down, along = counted(node, rows).unsqueeze(1), counted(node, columns).unsqueeze(0)
    return g.emit("Equal", down + attrs.integer("k", 0), along, shape=shape).cast(attrs.dtype("dtype", "float32"))
