"""Products of matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence

from converters.mxnet.ops.axes import axes_of
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


def swap_last(x: Value) -> Value:
    """The matrices in the last two axes, transposed."""
    *leading, rows, columns = range(x.rank)
    return x.transpose(*leading, columns, rows)


def contract(a: Value, b: Value, a_axes: Sequence[int], b_axes: Sequence[int]) -> Value:
    """The sum of products over pairs of axes, counted from the front; the other axes of `a`, then those of `b`."""
    g = a.g
    a_free = [axis for axis in range(a.rank) if axis not in a_axes]
    b_free = [axis for axis in range(b.rank) if axis not in b_axes]
    rows, columns = [a.shape[axis] for axis in a_free], [b.shape[axis] for axis in b_free]
    inner = g.product(a.shape[axis] for axis in a_axes)
    left = a.transpose(*a_free, *a_axes)
    if len(a_axes) != 1 or not a_free:
        left = g.reshape(left, [*(rows or [1]), inner])
    right = g.reshape(b.transpose(*b_axes, *b_free), [inner, g.product(columns)])
    made = g.emit("MatMul", left, right)
    return made if rows and len(columns) == 1 else g.reshape(made, [*rows, *columns])


@mxnet_op("dot")
def dot(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """Contracts the last axis of `lhs` with the first of `rhs`; no batches. Two vectors give shape (1,).

    `transpose_a` contracts the first axis of `lhs` instead, `transpose_b` the last of `rhs`; others keep their order.
    """
    a_axis = 0 if node.attrs.boolean("transpose_a", False) else lhs.rank - 1
    b_axis = rhs.rank - 1 if node.attrs.boolean("transpose_b", False) else 0
    made = contract(lhs, rhs, [a_axis], [b_axis])
    return made.unsqueeze(0) if made.rank == 0 else made


@mxnet_op("batch_dot")
def batch_dot(node: OpNode, lhs: Value, rhs: Value) -> Value:
    """The products of the matrices in the last two axes; `transpose_a` and `transpose_b` turn them before."""
    return _matrices(node, lhs, rhs)


def _matrices(node: OpNode, a: Value, b: Value) -> Value:
    left = swap_last(a) if node.attrs.boolean("transpose_a", False) else a
    right = swap_last(b) if node.attrs.boolean("transpose_b", False) else b
    return node.g.emit("MatMul", left, right)


def _scaled(x: Value, factor: float) -> Value:
    return x if factor == 1 else x * factor


def _rows_last_but_one(node: OpNode, *values: Value) -> tuple[list[Value], list[int]]:
    """Matrices whose rows lie along attribute `axis` (default -2) moved there, and the order that undoes it."""
    rank = values[0].rank
    (axis,) = axes_of(node, [node.attrs.integer("axis", -2)], rank)
    others = [place for place in range(rank - 1) if place != axis]
    order = [*others, axis, rank - 1]
    return [value.transpose(*order) for value in values], [order.index(place) for place in range(rank)]


@mxnet_op("_linalg_gemm2")
def gemm2(node: OpNode, A: Value, B: Value) -> Value:  # noqa: N803
    """`alpha op(A) op(B)` on the last two axes; with `axis` the rows lie there (the columns stay last)."""
    (a, b), back = _rows_last_but_one(node, A, B)
    return _scaled(_matrices(node, a, b), node.attrs.number("alpha", 1.0)).transpose(*back)


@mxnet_op("_linalg_gemm")
def gemm(node: OpNode, A: Value, B: Value, C: Value) -> Value:  # noqa: N803
    """`alpha op(A) op(B) + beta C`, as `_linalg_gemm2`."""
    (a, b, c), back = _rows_last_but_one(node, A, B, C)
    product = _scaled(_matrices(node, a, b), node.attrs.number("alpha", 1.0))
    return (product + _scaled(c, node.attrs.number("beta", 1.0))).transpose(*back)


@mxnet_op("_linalg_syrk")
def syrk(node: OpNode, A: Value) -> Value:  # noqa: N803
    """`alpha A A^T`, with `transpose` `alpha A^T A`."""
    turned = swap_last(A)
    pair = (turned, A) if node.attrs.boolean("transpose", False) else (A, turned)
    return _scaled(node.g.emit("MatMul", *pair), node.attrs.number("alpha", 1.0))


@mxnet_op("khatri_rao")
def khatri_rao(node: OpNode, *args: Value) -> Value:
    """Kronecker products column by column: (r1, k), (r2, k), .. -> (r1 r2 .., k)."""
    g = node.g
    product, *rest = args
    for each in rest:
        rows = g.product([product.shape[0], each.shape[0]])
        product = g.reshape(product.unsqueeze(1) * each.unsqueeze(0), [rows, product.shape[1]])
    return product


@mxnet_op("_npi_matmul")
def matmul(node: OpNode, a: Value, b: Value) -> Value:
    """numpy's `matmul`, which is ONNX's."""
    return node.g.emit("MatMul", a, b)


@mxnet_op("_np_dot", "_npi_dot")
def numpy_dot(node: OpNode, a: Value, b: Value) -> Value:
    """The last axis of `a` with the last but one of `b` (or its only one); a scalar multiplies."""
    if not a.rank or not b.rank:
        return a * b
    return contract(a, b, [a.rank - 1], [max(b.rank - 2, 0)])


@mxnet_op("_npi_tensordot")
def tensordot(node: OpNode, a: Value, b: Value) -> Value:
    """Over the axes `a_axes_summed` and `b_axes_summed`, in pairs."""
    names = ("a_axes_summed", a), ("b_axes_summed", b)
    a_axes, b_axes = (axes_of(node, node.attrs.optional_integers(name, ()), x.rank, name) for name, x in names)
    if len(a_axes) != len(b_axes):
        raise node.refuse(f"expected as many axes of one as of the other, got {a_axes} and {b_axes}")
    return contract(a, b, a_axes, b_axes)


@mxnet_op("_npi_tensordot_int_axes")
def tensordot_last(node: OpNode, a: Value, b: Value) -> Value:
    """Over the last `axes` axes of `a` and the first of `b`."""
    count = node.attrs.integer("axes")
    if not 0 <= count <= min(a.rank, b.rank):
        raise node.refuse(f"attribute 'axes': expected 0 to {min(a.rank, b.rank)}, got {count}")
    return contract(a, b, range(a.rank - count, a.rank), range(count))


@mxnet_op("_npi_einsum")
def einsum(node: OpNode, *data: Value) -> Value:
    """Einstein's sum by `subscripts`, as numpy and ONNX write it; integers by way of int64."""
    equation = node.attrs.text("subscripts").replace(" ", "")
    dtype = data[0].dtype
    wide = data if data[0].is_float else [each.cast("int64") for each in data]
    return node.g.emit("Einsum", *wide, equation=equation).cast(dtype)
