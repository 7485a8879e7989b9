"""Diagonals and triangles of the matrices in the last two axes, taken out and put in. Leading axes are batches."""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.ops.axes import axes_of, known_size
from converters.mxnet.ops.linear_algebra import square_side
from converters.mxnet.ops.reductions import total, unscalar
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_SIDE = 2048
"""Rows of matrices whose places are listed one by one."""


def _places(x: Value, rows: np.ndarray, columns: np.ndarray, width: int) -> Value:
    """The elements at (row, column) of each matrix, along a new last axis."""
    g = x.g
    flat = g.reshape(x, [*x.shape[:-2], g.product(x.shape[-2:])])
    return g.emit("Gather", flat, g.const(rows * width + columns, np.int64), axis=-1)


def _offset(node: OpNode, side: int) -> int:
    offset = node.attrs.integer("offset", 0)
    if abs(offset) >= side:
        raise node.refuse(f"attribute 'offset': expected less than {side} either way, got {offset}")
    return int(offset)


@mxnet_op("_linalg_extractdiag")
def extractdiag(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The diagonal `offset` (default 0) places above the main one."""
    side = square_side(node, A, MAX_SIDE)
    offset = _offset(node, side)
    rows = np.arange(max(0, -offset), side - max(0, offset))
    return _places(A, rows, rows + offset, side)


@mxnet_op("_linalg_sumlogdiag")
def sumlogdiag(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The sum of the logarithms of the diagonal; of one matrix as shape (1,)."""
    side = square_side(node, A, MAX_SIDE)
    diagonal = _places(A, np.arange(side), np.arange(side), side)
    return unscalar(node.g.emit("Log", diagonal).reduce("ReduceSum", diagonal.rank - 1))


@mxnet_op("_np_trace", "_npi_trace")
def trace(node: OpNode, data: Value) -> Value:
    """The sum of a diagonal of the matrices in `axis1` (0) and `axis2` (1), `offset` (0) places above the main one."""
    first, second = axes_of(node, [node.attrs.integer("axis1", 0), node.attrs.integer("axis2", 1)], data.rank)
    x = data.transpose(*(axis for axis in range(data.rank) if axis not in (first, second)), first, second)
    height, width = known_size(node, x, -2), known_size(node, x, -1)
    if min(height, width) > MAX_SIDE:
        raise node.refuse(f"expected a diagonal of at most {MAX_SIDE} elements, got {data}")
    offset = node.attrs.integer("offset", 0)
    rows = np.arange(max(0, -offset), min(height, width - offset))
    return total(_places(x, rows, rows + offset, width), (x.rank - 2,), False)


@mxnet_op("_linalg_extracttrian")
def extracttrian(node: OpNode, A: Value) -> Value:  # noqa: N803
    """A triangle as a vector: from diagonal `offset` on away from the main one; at 0 on the side that `lower` tells."""
    side = square_side(node, A, MAX_SIDE)
    offset = _offset(node, side)
    return _places(A, *_triangle_places(side, offset, node.attrs.boolean("lower", True)), side)


def _triangle_places(side: int, offset: int, lower: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns: a lower triangle row by row, an upper one column by column."""
    if lower if offset == 0 else offset < 0:
        return np.tril_indices(side, offset)
    columns, rows = np.tril_indices(side, -offset)
    return rows, columns


def _filled(node: OpNode, x: Value, side: int, rows: np.ndarray, columns: np.ndarray) -> Value:
    """Square matrices that hold the elements along the last axis of `x` at (row, column), and 0 elsewhere."""
    g = node.g
    places = np.full((side, side), len(rows), np.int64)
    places[rows, columns] = np.arange(len(rows))
    zero = g.emit("Pad", x, g.ints(0, 1), None, g.ints(-1))
    return g.emit("Gather", zero, g.const(places), axis=-1)


@mxnet_op("_linalg_makediag")
def makediag(node: OpNode, A: Value) -> Value:  # noqa: N803
    """Matrices with the last axis on diagonal `offset` (default 0): (.., n) -> (.., n + |offset|, n + |offset|)."""
    size, offset = known_size(node, A, -1), node.attrs.integer("offset", 0)
    side = size + abs(offset)
    if side > MAX_SIDE:
        raise node.refuse(f"attribute 'offset': expected matrices of at most {MAX_SIDE} rows, got {side}")
    rows = np.arange(size) + max(0, -offset)
    return _filled(node, A, side, rows, rows + offset)


@mxnet_op("_linalg_maketrian")
def maketrian(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The opposite of `_linalg_extracttrian`, zeros elsewhere: (.., n (n + 1) / 2) -> n + |offset| rows."""
    size, offset = known_size(node, A, -1), node.attrs.integer("offset", 0)
    count = (math.isqrt(8 * size + 1) - 1) // 2
    side = count + abs(offset)
    if count * (count + 1) // 2 != size or side > MAX_SIDE:
        raise node.refuse(f"expected n (n + 1) / 2 elements for matrices of at most {MAX_SIDE} rows, got {size}")
    return _filled(node, A, side, *_triangle_places(side, offset, node.attrs.boolean("lower", True)))
