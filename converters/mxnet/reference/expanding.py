"""numpy: elements repeated and blocks moved, as `ops/expanding.py`, `ops/blocks.py` and `ops/diagonals.py`."""

from __future__ import annotations

from itertools import product

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


@numpy_op("broadcast_to")
def broadcast_to(node: Context, data: np.ndarray) -> np.ndarray:
    """A 0 keeps the size."""
    pairs = zip(node.attrs.integers("shape"), data.shape, strict=True)
    return np.broadcast_to(data, [wanted or size for wanted, size in pairs])


@numpy_op("_npi_broadcast_to")
def np_broadcast_to(node: Context, array: np.ndarray) -> np.ndarray:
    """A -1 keeps the size; axes may come in front."""
    shape = list(node.attrs.integers("shape", ()))
    for place in range(1, array.ndim + 1):
        if shape[-place] == -1:
            shape[-place] = array.shape[-place]
    return np.broadcast_to(array, shape)


@numpy_op("broadcast_axis")
def broadcast_axis(node: Context, data: np.ndarray) -> np.ndarray:
    """One axis after the other."""
    for axis, size in zip(node.attrs.integers("axis", ()), node.attrs.integers("size", ()), strict=True):
        data = np.repeat(data, size, axis)
    return data


@numpy_op("broadcast_like")
def broadcast_like(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """As large as another."""
    pairs = zip(
        node.attrs.integers("lhs_axes", range(lhs.ndim)), node.attrs.integers("rhs_axes", range(rhs.ndim)), strict=True
    )
    for axis, other in pairs:
        lhs = lhs if lhs.shape[axis] == rhs.shape[other] else np.repeat(lhs, rhs.shape[other], axis)
    return lhs


@numpy_op("tile")
def tile(node: Context, a: np.ndarray) -> np.ndarray:
    """numpy's own."""
    return np.tile(a, node.attrs.integers("reps", ()))


@numpy_op("repeat")
def repeat(node: Context, data: np.ndarray) -> np.ndarray:
    """numpy's own."""
    return np.repeat(data, node.attrs.integer("repeats"), node.attrs.integer("axis", None))


@numpy_op("depth_to_space")
def depth_to_space(node: Context, data: np.ndarray) -> np.ndarray:
    """Each of the b * b groups of channels to every b-th pixel."""
    block = node.attrs.integer("block_size")
    count, channels, height, width = data.shape
    depth = channels // block**2
    made = np.empty((count, depth, height * block, width * block), data.dtype)
    for place, (row, column) in enumerate(product(range(block), repeat=2)):
        made[:, :, row::block, column::block] = data[:, place * depth : (place + 1) * depth]
    return made


@numpy_op("space_to_depth")
def space_to_depth(node: Context, data: np.ndarray) -> np.ndarray:
    """Every b-th pixel, for each of the b * b places to begin at."""
    block = node.attrs.integer("block_size")
    places = product(range(block), repeat=2)
    return np.concatenate([data[:, :, row::block, column::block] for row, column in places], axis=1)


@numpy_op("im2col")
def im2col(node: Context, data: np.ndarray) -> np.ndarray:
    """Windows as columns: one strided view for each element of the kernel."""
    padded, views = _views(node, data)
    columns = np.stack([padded[view] for view in views], axis=2)
    return columns.reshape(len(data), data.shape[1] * len(views), -1)


@numpy_op("col2im")
def col2im(node: Context, data: np.ndarray) -> np.ndarray:
    """The sum of what each element of the kernel contributes."""
    sizes, kernel = node.attrs.integers("output_size"), node.attrs.integers("kernel")
    channels = data.shape[1] // int(np.prod(kernel))
    padded, views = _views(node, np.zeros((len(data), channels, *sizes), data.dtype))
    parts = data.reshape(len(data), channels, len(views), -1)
    for place, view in enumerate(views):
        padded[view] += parts[:, :, place].reshape(padded[view].shape)
    inside = [
        slice(pad, pad + size) for pad, size in zip(node.attrs.integers("pad", (0,) * len(sizes)), sizes, strict=True)
    ]
    return padded[(slice(None), slice(None), *inside)]


def _views(node: Context, data: np.ndarray) -> tuple[np.ndarray, list[tuple[slice, ...]]]:
    """The padded image, and where in it each element of the kernel lies for all windows at once."""
    attrs, kernel = node.attrs, node.attrs.integers("kernel")
    count = len(kernel)
    stride, dilate = attrs.integers("stride", (1,) * count), attrs.integers("dilate", (1,) * count)
    pad = attrs.integers("pad", (0,) * count)
    padded = np.pad(data, [(0, 0), (0, 0), *((width, width) for width in pad)])
    spans = [size - dilate[axis] * (kernel[axis] - 1) for axis, size in enumerate(padded.shape[2:])]
    views = []
    for place in product(*map(range, kernel)):
        starts = [element * dilate[axis] for axis, element in enumerate(place)]
        along = [slice(start, start + spans[axis], stride[axis]) for axis, start in enumerate(starts)]
        views.append((slice(None), slice(None), *along))
    return padded, views


@numpy_op("diag")
def diag(node: Context, data: np.ndarray) -> np.ndarray:
    """A diagonal made or taken."""
    k = node.attrs.integer("k", 0)
    if data.ndim == 1:
        return np.diag(data, k)
    return np.diagonal(data, k, node.attrs.integer("axis1", 0), node.attrs.integer("axis2", 1))


@numpy_op("_np_diag")
def np_diag(node: Context, data: np.ndarray) -> np.ndarray:
    """numpy's own."""
    return np.diag(data, node.attrs.integer("k", 0))


@numpy_op("_np_diagflat")
def diagflat(node: Context, data: np.ndarray) -> np.ndarray:
    """numpy's own."""
    return np.diagflat(data, node.attrs.integer("k", 0))


@numpy_op("_np_diagonal")
def diagonal(node: Context, data: np.ndarray) -> np.ndarray:
    """numpy's own."""
    attrs = node.attrs
    return np.diagonal(data, attrs.integer("offset", 0), attrs.integer("axis1", 0), attrs.integer("axis2", 1))


@numpy_op("_npi_tril", "_npi_triu")
def triangle(node: Context, data: np.ndarray) -> np.ndarray:
    """numpy's own."""
    return (np.tril if node.node.op == "_npi_tril" else np.triu)(data, node.attrs.integer("k", 0))
