"""numpy: tensors joined, split, cut and padded, as `ops/joining.py`, `ops/slicing.py` and `ops/padding.py`."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


@numpy_op("Concat", "_rnn_param_concat")
def concat(node: Context, *data: np.ndarray) -> np.ndarray:
    """Along `dim`."""
    return np.concatenate(data, axis=node.attrs.integer("dim", 1))


@numpy_op("_npi_concatenate")
def concatenate(node: Context, *data: np.ndarray) -> np.ndarray:
    """Along `axis`, or flattened."""
    flat = node.node.texts.get("axis") == "None"
    return np.concatenate(data, axis=None if flat else node.attrs.integer("axis", 0))


@numpy_op("stack", "_npi_stack")
def stack(node: Context, *data: np.ndarray) -> np.ndarray:
    """Along a new axis."""
    return np.stack(data, axis=node.attrs.integer("axis", 0))


@numpy_op("_npi_vstack", "_npi_hstack", "_npi_dstack", "_npi_column_stack")
def stacked(node: Context, *data: np.ndarray) -> np.ndarray:
    """numpy's own functions of these names."""
    made: np.ndarray = getattr(np, node.node.op.removeprefix("_npi_"))(data)
    return made


@numpy_op("_np_atleast_1d", "_np_atleast_2d", "_np_atleast_3d")
def at_least(node: Context, *arys: np.ndarray) -> list[np.ndarray]:
    """numpy's own functions of these names."""
    return [getattr(np, node.node.op.removeprefix("_np_"))(array) for array in arys]


@numpy_op("SliceChannel")
def slice_channel(node: Context, data: np.ndarray) -> list[np.ndarray]:
    """Equal pieces."""
    axis = node.attrs.integer("axis", 1)
    pieces = np.split(data, node.attrs.integer("num_outputs"), axis)
    return [piece.squeeze(axis) for piece in pieces] if node.attrs.boolean("squeeze_axis", False) else pieces


@numpy_op("_split_v2", "_npi_hsplit", "_npi_dsplit")
def split(node: Context, data: np.ndarray) -> list[np.ndarray]:
    """Pieces by number or by where they begin."""
    attrs = node.attrs
    axis = min(attrs.integer("axis", 1), data.ndim - 1)
    sections = attrs.integer("sections", 0)
    pieces = np.array_split(data, sections or attrs.integers("indices", ())[1:], axis)
    return [piece.squeeze(axis) for piece in pieces] if attrs.boolean("squeeze_axis", False) else pieces


@numpy_op("slice")
def slice_(node: Context, data: np.ndarray) -> np.ndarray:
    """Python's slices, one an axis."""
    return data[_slices(node)]


@numpy_op("_slice_assign")
def slice_assign(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """A range replaced."""
    made = lhs.copy()
    made[_slices(node)] = rhs
    return made


@numpy_op("_slice_assign_scalar")
def slice_assign_scalar(node: Context, data: np.ndarray) -> np.ndarray:
    """A range of one number."""
    made = data.copy()
    made[_slices(node)] = np.array(node.attrs.number("scalar", 0.0)).astype(data.dtype)
    return made


def _slices(node: Context) -> tuple[slice, ...]:
    bounds: Sequence[Sequence[int | None]] = [node.attrs.optional_integers(name) for name in ("begin", "end")]
    steps = node.attrs.optional_integers("step", ()) or [None] * len(bounds[0])
    return tuple(map(slice, *bounds, steps))


@numpy_op("slice_axis")
def slice_axis(node: Context, data: np.ndarray) -> np.ndarray:
    """One axis, from here to there."""
    rows = np.moveaxis(data, node.attrs.integer("axis"), 0)[
        node.attrs.integer("begin") : node.attrs.integer("end", None)
    ]
    return np.moveaxis(rows, 0, node.attrs.integer("axis"))


@numpy_op("slice_like")
def slice_like(node: Context, data: np.ndarray, shape_like: np.ndarray) -> np.ndarray:
    """As large as another."""
    wanted = {axis % data.ndim: shape_like.shape[axis] for axis in node.attrs.integers("axes", range(data.ndim))}
    return data[tuple(slice(wanted.get(axis)) for axis in range(data.ndim))]


@numpy_op("Crop")
def crop(node: Context, data: np.ndarray, crop_like: np.ndarray | None = None) -> np.ndarray:
    """A window of an image."""
    height, width = node.attrs.integers("h_w", (0, 0)) if crop_like is None else crop_like.shape[2:]
    top, left = node.attrs.integers("offset", (0, 0))
    if node.attrs.boolean("center_crop", False):
        top, left = (data.shape[2] - height) // 2, (data.shape[3] - width) // 2
    return data[:, :, top : top + height, left : left + width]


@numpy_op("Pad", "_npi_pad")
def pad(node: Context, data: np.ndarray) -> np.ndarray:
    """numpy's own, which has all of these modes."""
    widths = np.reshape(ast.literal_eval(node.attrs.text("pad_width")), (-1, 2))
    mode = node.attrs.text("mode", "constant")
    fill = np.array(node.attrs.number("constant_value", 0.0)).astype(data.dtype)
    extra = {"constant_values": fill} if mode == "constant" else {}
    made: np.ndarray = np.pad(data, widths, mode, **extra)  # type: ignore[call-overload]
    return made
