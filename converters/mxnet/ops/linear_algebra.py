"""Factors, inverses and solutions for the matrices in the last two axes. Leading axes are batches.

Factorisations and solvers are written out row by row, since ONNX has none: up to `MAX_ROWS` rows. Eigenvalues and
singular values are not to be had.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.mxnet.ops.axes import known_size
from converters.mxnet.ops.products import swap_last
from converters.mxnet.ops.reductions import unscalar
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value

MAX_ROWS = 64
"""Of matrices that are factorised: some seven nodes a row."""


def square_side(node: OpNode, x: Value, limit: int) -> int:
    """The number of rows of square matrices, which must be known."""
    rows, columns = known_size(node, x, -2), known_size(node, x, -1)
    if rows != columns or rows > limit:
        raise node.refuse(f"expected square matrices of at most {limit} rows, got {x}")
    return rows


def _triangle(x: Value, *, lower: bool) -> Value:
    return x.g.emit("Trilu", x, upper=int(not lower))


def _substitute(matrix: Value, right: Value, rows: int, *, lower: bool) -> Value:
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
    rows, lower = square_side(node, A, MAX_ROWS), attrs.boolean("lower", True)
    turned, right = attrs.boolean("transpose", False), attrs.boolean("rightside", False)
    if turned != right:
        A, lower = swap_last(A), not lower  # noqa: N806
    made = _substitute(A, swap_last(B) if right else B, rows, lower=lower)
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


def _cholesky(matrix: Value, rows: int) -> Value:
    g, rest, columns = matrix.g, matrix, []
    for row in range(rows):
        column = rest.slice(-1, row, row + 1)
        column = column / g.emit("Sqrt", column.slice(-2, row, row + 1))
        columns.append(column)
        rest = rest - g.emit("MatMul", column, swap_last(column))
    return _triangle(g.emit("Concat", *columns, axis=-1), lower=True)


@mxnet_op("_linalg_potrf", "_npi_cholesky")
def potrf(node: OpNode, A: Value) -> Value:  # noqa: N803
    """Cholesky's factor L of A = L L^T, a lower triangle."""
    return _cholesky(A, square_side(node, A, MAX_ROWS))


def _inverse_from(factor: Value, rows: int) -> Value:
    """The inverse of L L^T."""
    inverse = _substitute(factor, factor.g.const(np.eye(rows), factor.dtype), rows, lower=True)
    return factor.g.emit("MatMul", swap_last(inverse), inverse)


@mxnet_op("_linalg_potri")
def potri(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The inverse of L L^T for Cholesky's factor L."""
    return _inverse_from(A, square_side(node, A, MAX_ROWS))


def _inverse(node: OpNode, x: Value) -> Value:
    """float64: (x^T x)^-1 x^T, which needs no pivots. Its condition is squared: some 1e-16 of that is the error."""
    wide = x.cast(np.float64)
    rows, turned = square_side(node, x, MAX_ROWS), swap_last(wide)
    return node.g.emit("MatMul", _inverse_from(_cholesky(node.g.emit("MatMul", turned, wide), rows), rows), turned)


@mxnet_op("_linalg_inverse")
def inverse(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The inverse of square matrices; see `_inverse` for how exact it is."""
    return _inverse(node, A).cast(A.dtype)


@mxnet_op("_npi_solve")
def solve(node: OpNode, A: Value, B: Value) -> Value:  # noqa: N803
    """X with `A X = B` for matrices B, or for one vector."""
    right = B.cast(np.float64)
    found = node.g.emit("MatMul", _inverse(node, A), right if B.rank > 1 else right.unsqueeze(1))
    return (found if B.rank > 1 else found.squeeze(1)).cast(A.dtype)


def _determinant(node: OpNode, x: Value) -> Value:
    """In single precision; of one matrix as shape (1,), unless the net was written with numpy's shapes."""
    value = node.g.emit("Det", x.cast(np.float32)).cast(x.dtype)
    return value if node.origin.numpy_shapes else unscalar(value)


@mxnet_op("_linalg_det")
def det(node: OpNode, A: Value) -> Value:  # noqa: N803
    """The determinant."""
    return _determinant(node, A)


@mxnet_op("_linalg_slogdet")
def slogdet(node: OpNode, A: Value) -> Sequence[Value]:  # noqa: N803
    """The sign of the determinant, and the logarithm of its size."""
    g, value = node.g, _determinant(node, A)
    return g.emit("Sign", value), g.emit("Log", g.emit("Abs", value))
