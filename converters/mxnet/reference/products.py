"""Products of matrices and tensors, triangles and factors, with numpy's own linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


@numpy_op("dot")
def dot(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Last axis with first, or first with last where transposed."""
    left = 0 if node.attrs.boolean("transpose_a", False) else lhs.ndim - 1
    right = rhs.ndim - 1 if node.attrs.boolean("transpose_b", False) else 0
    return np.atleast_1d(np.tensordot(lhs, rhs, axes=([left], [right])))


def _matrices(node: Context, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    left = "...ki" if node.attrs.boolean("transpose_a", False) else "...ik"
    right = "...jk" if node.attrs.boolean("transpose_b", False) else "...kj"
    return np.asarray(np.einsum(f"{left},{right}->...ij", a, b, optimize=True))


@numpy_op("batch_dot")
def batch_dot(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Of the last two axes."""
    return _matrices(node, lhs, rhs)


@numpy_op("_linalg_gemm2")
def gemm2(node: Context, A: np.ndarray, B: np.ndarray) -> np.ndarray:  # noqa: N803
    """With the rows along `axis`."""
    axis = node.attrs.integer("axis", -2)
    product = _matrices(node, np.moveaxis(A, axis, -2), np.moveaxis(B, axis, -2))
    return np.moveaxis(product * A.dtype.type(node.attrs.number("alpha", 1.0)), -2, axis)


@numpy_op("_linalg_gemm")
def gemm(node: Context, A: np.ndarray, B: np.ndarray, C: np.ndarray) -> np.ndarray:  # noqa: N803
    """`gemm2` and a multiple of C."""
    return np.asarray(gemm2(node, A, B) + C * C.dtype.type(node.attrs.number("beta", 1.0)))


@numpy_op("_linalg_syrk")
def syrk(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """A with itself."""
    subscripts = "...ki,...kj->...ij" if node.attrs.boolean("transpose", False) else "...ik,...jk->...ij"
    return np.asarray(np.einsum(subscripts, A, A) * A.dtype.type(node.attrs.number("alpha", 1.0)))


@numpy_op("khatri_rao")
def khatri_rao(node: Context, *args: np.ndarray) -> np.ndarray:
    """Kronecker products of columns."""
    columns = [reduce(np.kron, [each[:, column] for each in args]) for column in range(args[0].shape[1])]
    return np.stack(columns, axis=1)


@numpy_op("_npi_matmul")
def matmul(node: Context, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """numpy's."""
    return np.asarray(np.matmul(a, b))


@numpy_op("_np_dot", "_npi_dot")
def numpy_dot(node: Context, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """numpy's."""
    return np.asarray(np.dot(a, b))


@numpy_op("_npi_tensordot")
def tensordot(node: Context, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """numpy's."""
    left, right = (node.attrs.optional_integers(name, ()) for name in ("a_axes_summed", "b_axes_summed"))
    return np.asarray(np.tensordot(a, b, axes=(left, right)))


@numpy_op("_npi_tensordot_int_axes")
def tensordot_last(node: Context, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """numpy's."""
    return np.asarray(np.tensordot(a, b, axes=node.attrs.integer("axes")))


@numpy_op("_npi_einsum")
def einsum(node: Context, *data: np.ndarray) -> np.ndarray:
    """numpy's."""
    return np.asarray(np.einsum(node.attrs.text("subscripts"), *data))


def _triangle(node: Context, x: np.ndarray) -> np.ndarray:
    return np.tril(x) if node.attrs.boolean("lower", True) else np.triu(x)


def _turned(node: Context, name: str, x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2) if node.attrs.boolean(name, False) else x


@numpy_op("_linalg_trmm")
def trmm(node: Context, A: np.ndarray, B: np.ndarray) -> np.ndarray:  # noqa: N803
    """A triangle times a matrix, or the other way round."""
    a = _turned(node, "transpose", _triangle(node, A))
    product = B @ a if node.attrs.boolean("rightside", False) else a @ B
    return np.asarray(product * A.dtype.type(node.attrs.number("alpha", 1.0)))


@numpy_op("_linalg_trsm")
def trsm(node: Context, A: np.ndarray, B: np.ndarray) -> np.ndarray:  # noqa: N803
    """Its opposite."""
    a = _turned(node, "transpose", _triangle(node, A))
    a, b = _turned(node, "rightside", a), _turned(node, "rightside", B)
    return _turned(node, "rightside", np.linalg.solve(a, b * A.dtype.type(node.attrs.number("alpha", 1.0))))


@numpy_op("_linalg_potrf", "_npi_cholesky")
def potrf(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """Cholesky's factor."""
    return np.asarray(np.linalg.cholesky(A))


@numpy_op("_linalg_potri")
def potri(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """The inverse of L L^T."""
    return np.asarray(np.linalg.inv(A @ np.swapaxes(A, -1, -2)))


@numpy_op("_linalg_inverse")
def inverse(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """numpy's."""
    return np.asarray(np.linalg.inv(A))


@numpy_op("_npi_solve")
def solve(node: Context, A: np.ndarray, B: np.ndarray) -> np.ndarray:  # noqa: N803
    """numpy's."""
    return np.asarray(np.linalg.solve(A, B))


@numpy_op("_linalg_det")
def det(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """The determinant."""
    return _unscalar(node, np.linalg.det(A))


@numpy_op("_linalg_slogdet")
def slogdet(node: Context, A: np.ndarray) -> Sequence[np.ndarray]:  # noqa: N803
    """Sign and logarithm of the determinant."""
    return [_unscalar(node, part) for part in np.linalg.slogdet(A)]


def _unscalar(node: Context, values: np.ndarray) -> np.ndarray:
    """Of one matrix as shape (1,), unless the net has numpy's shapes."""
    return np.asarray(values) if node.origin.numpy_shapes else np.atleast_1d(values)


@numpy_op("_np_trace", "_npi_trace")
def trace(node: Context, data: np.ndarray) -> np.ndarray:
    """The sum of a diagonal of matrices."""
    attrs = node.attrs
    made = np.trace(data, attrs.integer("offset", 0), attrs.integer("axis1", 0), attrs.integer("axis2", 1))
    return np.asarray(made).astype(data.dtype)


@numpy_op("_linalg_sumlogdiag")
def sumlogdiag(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """Of the diagonal."""
    return np.atleast_1d(np.log(np.diagonal(A, axis1=-2, axis2=-1)).sum(axis=-1))


@numpy_op("_linalg_extractdiag")
def extractdiag(node: Context, A: np.ndarray) -> np.ndarray:  # noqa: N803
    """The diagonal `offset` places above the main one."""
    return np.diagonal(A, node.attrs.integer("offset", 0), -2, -1)
