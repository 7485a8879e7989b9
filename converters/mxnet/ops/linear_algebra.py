"""Triangles, diagonals and factors of the matrices in the last two axes. Leading axes are batches.

Factorisations and solvers are written out row by row, since ONNX has none: up to `MAX_ROWS` rows. Inverses of general
matrices, eigenvalues and singular values are not to be had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.axes import axes_of, known_size
from converters.mxnet.ops.products import swap_last
from converters.mxnet.ops.reductions import unscalar
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_ROWS = 128
"""Of matrices that are factorised: some seven nodes a row."""
MAX_SIDE = 2048
"""Of matrices whose places are listed one by one."""


def _side(node: OpNode, x: Value, limit: int) -> int:
    """The number of rows of square matrices."""
    rows, columns = known_size(node, x, -2), known_size(node, x, -1)
    if rows != columns or rows > limit:
        raise node.refuse(f"expected square matrices of at most {limit} rows, got {x}")
    return rows


def _triangle(x: Value, *, lower: bool) -> Value:
    return x.g.emit("Trilu", x, upper=int(not lower))


def _solve(matrix: Value, right: Value, rows: int, *, lower: bool) -> Value:
    """X with `matrix X = right` for triangular matrices, by substitution."""
    g = matrix.g
    found: list[Value] = []
    for row in range(rows) if lower else range(rows - 1, -1, -1):
        line, value = matrix.slice(-2, row, row + 1), right.slice(-2, row, row + 1)
        if found:
            known = g.emit("Concat", *found, axis=-2) if len(found) > 1 else found[0]
            part = line.slice(-1, 0, row) if lower else line.slice(-1, row + 1)
            value = value - g.emit("MatMul", part, known)
        solved = value / line.slice(-1, row, row + 1)
        found = [*found, solved] if lower else [solved, *found]
    return g.emit("Concat", *found, axis=-2)


@mxnet_op("_linalg_trsm")
def trsm(node: OpNode, A: Value, B: Value) -> Value:  # noqa: N803
    """X with `op(A) X = alpha B`, or `X op(A) = alpha B` with `rightside`; A is triangular (`lower`, default True)."""
    attrs = node.attrs
    rows, lower = _side(node, A, MAX_ROWS), attrs.boolean("lower", True)
    turned, right = attrs.boolean("transpose", False), attrs.boolean("rightside", False)
    if turned != right:
        A, lower = swap_last(A), not lower  # noqa: N806
    made = _solve(A, swap_last(B) if right else B, rows, lower=lower)
    made = swap_last(made) if right else made
    return made * float(attrs.number("alpha", 1.0))


@mxnet_op("_linalg_trmm")
def trmm(node: OpNode, A: Value, B: Value) -> Value:  # noqa: N803
    """`alpha op(A) B`, or `alpha B op(A)` with `rightside`, of which A is a triangle (`lower`, default True)."""
    attrs = node.attrs
    triangle = _triangle(A, lower=attrs.boolean("lower", True))
    triangle = swap_last(triangle) if attrs.boolean("transpose", False) else triangle
    pair = (B, triangle) if attrs.boolean("rightside", False) else (triangle, B)
    return node.g.emit("MatMul", *pair) * float(attrs.number("alpha", 1.0))


@mxnet_op("_linalg_potrf", "_npi_cholesky")
def potrf(node: OpNode, A: Value) -> Value:  # noqa: N803
    """Cholesky's factor L of A = L L^T, a lower triangle."""
    g, rest, columns = node.g, A, []
    for row in range(_side(node, A, MAX_ROWS)):
        column = rest.slice(-1, row, row + 1)
        column = column / g.emit("Sqrt", column.slice(-2, row, row + 1))
        columns.append(column)
        rest = rest - g.emit("MatMul", column, swap_last(column))
    return _triangle(g.emit("Concat", *columns, axis=-1), lower=True)


@mxnet_op("_linalg_potri")
def potri(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The inverse of L L^T for Cholesky's factor L."""
    rows = _side(node, A, MAX_ROWS)
    inverse = _solve(A, node.g.const(np.eye(rows), A.dtype), rows, lower=True)
    return node.g.emit("MatMul", swap_last(inverse), inverse)


def _determinant(x: Value) -> Value:
    """In single precision; of one matrix as shape (1,)."""
    return unscalar(x.g.emit("Det", x.cast(np.float32)).cast(x.dtype))


@mxnet_op("_linalg_det")
def det(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The determinant."""
    return _determinant(A)


@mxnet_op("_linalg_slogdet")
def slogdet(node: OpNode, A: Value) -> Sequence[Value]:  # noqa: N803
    """The sign of the determinant, and the logarithm of its size."""
    g, value = node.g, _determinant(A)
    return g.emit("Sign", value), g.emit("Log", g.emit("Abs", value))


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
    side = _side(node, A, MAX_SIDE)
    offset = _offset(node, side)
    rows = np.arange(max(0, -offset), side - max(0, offset))
    return _places(A, rows, rows + offset, side)


@mxnet_op("_linalg_sumlogdiag")
def sumlogdiag(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The sum of the logarithms of the diagonal; of one matrix as shape (1,)."""
    side = _side(node, A, MAX_SIDE)
    diagonal = _places(A, np.arange(side), np.arange(side), side)
    return unscalar(node.g.emit("Log", diagonal).reduce("ReduceSum", diagonal.rank - 1))


@mxnet_op("_np_trace")
def trace(node: OpNode, data: Value) -> Value:
    """The sum of a diagonal of the matrices in `axis1` (0) and `axis2` (1), `offset` (0) places above the main one."""
    first, second = axes_of(node, [node.attrs.integer("axis1", 0), node.attrs.integer("axis2", 1)], data.rank)
    x = data.transpose(*(axis for axis in range(data.rank) if axis not in (first, second)), first, second)
    height, width = known_size(node, x, -2), known_size(node, x, -1)
    if min(height, width) > MAX_SIDE:
        raise node.refuse(f"expected a diagonal of at most {MAX_SIDE} elements, got {data}")
    offset = node.attrs.integer("offset", 0)
    rows = np.arange(max(0, -offset), min(height, width - offset))
    return _places(x, rows, rows + offset, width).reduce("ReduceSum", x.rank - 2)


@mxnet_op("_linalg_extracttrian")
def extracttrian(node: OpNode, A: Value) -> Value:  # noqa: N803
    """A triangle as a vector: from diagonal `offset` on away from the main one; at 0 on the side that `lower` tells."""
    side = _side(node, A, MAX_SIDE)
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
