"""Resampling and sampling grids in numpy: by gathering neighbours, not by the operators ONNX has for it."""

from __future__ import annotations

import math

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def _linear(data: np.ndarray, axis: int, count: int, corners: bool) -> np.ndarray:
    """Interpolated along one axis; an output of one pixel is the first."""
    size = data.shape[axis]
    if count == 1:
        return data.take([0], axis)
    places = np.arange(count) * ((size - 1) / (count - 1)) if corners else (np.arange(count) + 0.5) * size / count - 0.5
    places = np.clip(places, 0, size - 1)
    low = np.floor(places).astype(int)
    weight = (places - low).astype(data.dtype).reshape([-1 if each == axis else 1 for each in range(data.ndim)])
    first, second = data.take(low, axis), data.take(np.minimum(low + 1, size - 1), axis)
    return np.asarray(first * (1 - weight) + second * weight)


@numpy_op("_contrib_BilinearResize2D")
def bilinear_resize(node: Context, data: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Rows, then columns."""
    align = node.attrs.boolean("align_corners", True)
    for axis, name in ((2, "height"), (3, "width")):
        data = _linear(data, axis, _new_size(node, data.shape[axis], name, axis, like), align)
    return data


def _new_size(node: Context, size: int, name: str, axis: int, like: np.ndarray | None) -> int:
    mode, scale = node.attrs.text("mode", "size"), node.attrs.number(f"scale_{name}", None)
    if mode == "like" and like is not None:
        return int(like.shape[axis])
    if mode == "odd_scale":
        return int((size - size % 2) * scale) + size % 2
    if mode == "size":
        return int(node.attrs.integer(name, 1)) if scale is None else int(np.float32(size) * np.float32(scale))
    wanted = 1 if "odd" in mode else 0
    step = 1 if mode.endswith("up") else -1
    return size if size % 2 == wanted else size + step


@numpy_op("UpSampling")
def upsampling(node: Context, *data: np.ndarray) -> np.ndarray:
    """Pixels repeated, or spread with a kernel."""
    scale = node.attrs.integer("scale")
    if node.attrs.text("sample_type") == "bilinear":
        return _spread(data[0], data[1], scale)
    height = data[0].shape[2] * scale
    made = [each.repeat(height // each.shape[2], 2).repeat(height // each.shape[2], 3) for each in data]
    if node.attrs.text("multi_input_mode", "concat") == "sum":
        return np.asarray(np.sum(made, axis=0))
    return np.concatenate(made, 1)


def _spread(data: np.ndarray, weight: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel times the kernel of its channel, added up at steps of `scale`, cut by the padding."""
    kernel, pad = weight.shape[2], math.ceil((scale - 1) / 2)
    batch, channels, height, width = data.shape
    whole = np.zeros((batch, channels, (height - 1) * scale + kernel, (width - 1) * scale + kernel), data.dtype)
    for i in range(kernel):
        for j in range(kernel):
            rows = slice(i, i + (height - 1) * scale + 1, scale)
            columns = slice(j, j + (width - 1) * scale + 1, scale)
            whole[:, :, rows, columns] += data * weight[:, 0, i, j][:, None, None]
    return whole[:, :, pad : whole.shape[2] - pad, pad : whole.shape[3] - pad]


@numpy_op("_contrib_AdaptiveAvgPooling2D")
def adaptive_avg_pooling(node: Context, data: np.ndarray) -> np.ndarray:
    """Means of cells, by sums."""
    sizes = node.attrs.integers("output_size", (1,))
    for axis, cells in ((2, sizes[0]), (3, sizes[-1])):
        size = data.shape[axis]
        parts = [
            data.take(range(i * size // cells, -(-(i + 1) * size // cells)), axis).mean(axis) for i in range(cells)
        ]
        data = np.stack(parts, axis)
    return data


def _affine(theta: np.ndarray, height: int, width: int) -> np.ndarray:
    """Grid (n, 2, h, w) of places from -1 to 1."""
    y, x = np.meshgrid(_steps(height), _steps(width), indexing="ij")
    grid: np.ndarray = np.einsum("nij,jhw->nihw", theta.reshape(-1, 2, 3), np.stack([x, y, np.ones_like(x)]))
    return grid.astype(theta.dtype)


def _steps(count: int) -> np.ndarray:
    return np.linspace(-1, 1, count) if count > 1 else np.full(1, np.nan)


@numpy_op("GridGenerator")
def grid_generator(node: Context, data: np.ndarray) -> np.ndarray:
    """Places by matrices, or by a flow."""
    if node.attrs.text("transform_type") == "affine":
        return _affine(data, *node.attrs.integers("target_shape"))
    height, width = data.shape[2:]
    y, x = np.mgrid[:height, :width]
    half = np.array([width - 1, height - 1]).reshape(2, 1, 1) / 2
    return np.asarray((data + np.stack([x, y])) / half - 1, data.dtype)


def sampled(data: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Maps (c, h, w) at places in pixels (...): (c, ...), with pixels outside as 0."""
    height, width = data.shape[1:]
    top, left = np.floor(y), np.floor(x)
    out = np.zeros((len(data), *y.shape), data.dtype)
    for down in (0, 1):
        for right in (0, 1):
            row, column = top + down, left + right
            weight = (1 - np.abs(y - row)) * (1 - np.abs(x - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            rows, columns = (np.where(inside, each, 0).astype(int) for each in (row, column))
            out += data[:, rows, columns] * np.where(inside, weight, 0).astype(data.dtype)
    return out


def _at_grid(data: np.ndarray, grid: np.ndarray) -> np.ndarray:
    height, width = data.shape[2:]
    x, y = (grid[:, 0] + 1) * (width - 1) / 2, (grid[:, 1] + 1) * (height - 1) / 2
    return np.stack([sampled(*each) for each in zip(data, y, x, strict=True)])


@numpy_op("BilinearSampler")
def bilinear_sampler(node: Context, data: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Image by image."""
    return _at_grid(data, grid)


@numpy_op("SpatialTransformer")
def spatial_transformer(node: Context, data: np.ndarray, loc: np.ndarray) -> np.ndarray:
    """The affine grid, then the sampler."""
    return _at_grid(data, _affine(loc, *node.attrs.integers("target_shape")))
