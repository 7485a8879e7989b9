"""Deformable convolutions and correlation in numpy: kernel point by kernel point, displacement by displacement."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op
from converters.mxnet.reference.resampling import sampled


@numpy_op("_contrib_DeformableConvolution")
def deformable_convolution(
    node: Context, data: np.ndarray, offset: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """Places before the first pixel count as 0, those after the last one as that."""
    return _convolved(node, data, offset, None, weight, bias)


@numpy_op("_contrib_ModulatedDeformableConvolution")
def modulated_deformable_convolution(
    node: Context,
    data: np.ndarray,
    offset: np.ndarray,
    mask: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Pixels outside count as 0."""
    return _convolved(node, data, offset, mask, weight, bias)


def _convolved(
    node: Context,
    data: np.ndarray,
    offset: np.ndarray,
    mask: np.ndarray | None,
    weight: np.ndarray,
    bias: np.ndarray | None,
) -> np.ndarray:
    groups = node.attrs.integer("num_group", 1)
    out = []
    for image, maps in enumerate(data):
        columns = _columns(node, maps, offset[image], None if mask is None else mask[image])
        flat = weight.reshape(groups, len(weight) // groups, -1) @ columns.reshape(groups, -1, columns[0, 0].size)
        out.append(flat.reshape(-1, *offset.shape[2:]))
    found = np.stack(out)
    return found if bias is None else found + bias[:, None, None]


def _columns(node: Context, maps: np.ndarray, offset: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """What each channel holds for each point of the kernel: (c, kh * kw, h2, w2)."""
    attrs = node.attrs
    kernel_h, kernel_w = attrs.integers("kernel")
    (stride_y, stride_x), (pad_y, pad_x) = attrs.integers("stride", (1, 1)), attrs.integers("pad", (0, 0))
    dilate_y, dilate_x = attrs.integers("dilate", (1, 1))
    y, x = np.mgrid[: offset.shape[1], : offset.shape[2]]
    deformable = attrs.integer("num_deformable_group", 1)
    moves = offset.reshape(deformable, kernel_h * kernel_w, 2, *offset.shape[1:])
    points: list[np.ndarray] = []
    for channels, group in zip(np.split(maps, deformable), range(deformable), strict=True):
        for point, (row, column) in enumerate(np.ndindex(kernel_h, kernel_w)):
            down = y * stride_y - pad_y + row * dilate_y + moves[group, point, 0]
            right = x * stride_x - pad_x + column * dilate_x + moves[group, point, 1]
            if mask is None:
                points.append(_edged(channels, down, right))
            else:
                factor = mask.reshape(deformable, -1, *y.shape)[group, point]
                points.append(sampled(channels, down, right) * factor)
    return np.concatenate([np.stack(points[i : i + moves.shape[1]], 1) for i in range(0, len(points), moves.shape[1])])


def _edged(maps: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Maps at places, where the last pixel reaches up to the edge and before the first one is nothing."""
    height, width = maps.shape[1:]
    inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
    found = sampled(maps, np.minimum(y, height - 1), np.minimum(x, width - 1))
    return np.where(inside, found, maps.dtype.type(0))


@numpy_op("_contrib_DeformablePSROIPooling")
def deformable_psroi_pooling(
    node: Context, data: np.ndarray, rois: np.ndarray, trans: np.ndarray | None = None
) -> np.ndarray:
    """Cell by cell: all samples of all channels that it reads."""
    attrs = node.attrs
    size, dim, group = attrs.integer("pooled_size"), attrs.integer("output_dim"), attrs.integer("group_size")
    if trans is None or attrs.boolean("no_trans", False):
        trans = np.zeros((len(rois), 2, size, size), data.dtype)
    part, classes = attrs.integer("part_size", 0) or size, trans.shape[1] // 2
    split = data.reshape(len(data), classes, dim // classes, group, group, *data.shape[2:])
    moves = trans.reshape(len(rois), classes, 2, *trans.shape[2:]) * attrs.number("trans_std", 0.0)
    out = np.zeros((len(rois), classes, dim // classes, size, size), data.dtype)
    for region, kind, i, j in np.ndindex(len(rois), classes, size, size):
        maps = split[int(rois[region, 0]), kind, :, i * group // size, j * group // size]
        move = moves[region, kind, :, i * part // size, j * part // size]
        out[region, kind, :, i, j] = _cell_mean(node, maps, rois[region, 1:], (j, i), move)
    return out.reshape(len(rois), dim, size, size)


def _cell_mean(
    node: Context, maps: np.ndarray, roi: np.ndarray, cell: tuple[int, int], move: np.ndarray
) -> np.ndarray | float:
    """The mean of the samples of one cell (x, y) that lie on the maps (c, h, w)."""
    attrs = node.attrs
    scale, samples = attrs.number("spatial_scale"), attrs.integer("sample_per_part", 1)
    start = np.trunc(roi[:2] + np.copysign(0.5, roi[:2])) * scale - 0.5
    end = (np.trunc(roi[2:] + np.copysign(0.5, roi[2:])) + 1) * scale - 0.5
    span = np.maximum(end - start, 0.1)
    steps = (np.array(cell)[:, None] + np.arange(samples) / samples) / attrs.integer("pooled_size")
    x, y = (start + span * move)[:, None] + steps * span[:, None]
    height, width = maps.shape[1:]
    x, y = x[(x >= -0.5) & (x <= width - 0.5)], y[(y >= -0.5) & (y <= height - 0.5)]
    if not x.size * y.size:
        return 0.0
    rows, columns = np.meshgrid(y.clip(0, height - 1), x.clip(0, width - 1), indexing="ij")
    return np.asarray(sampled(maps, rows, columns).mean((1, 2)))


@numpy_op("Correlation")
def correlation(node: Context, data1: np.ndarray, data2: np.ndarray) -> np.ndarray:
    """A channel for each displacement."""
    attrs = node.attrs
    kernel, reach = attrs.integer("kernel_size", 1), attrs.integer("max_displacement", 1)
    stride, step, pad = attrs.integer("stride1", 1), attrs.integer("stride2", 1), attrs.integer("pad_size", 0)
    first, second = (np.pad(each, ((0, 0), (0, 0), (pad, pad), (pad, pad))) for each in (data1, data2))
    height, width = (size - 2 * (reach + kernel // 2) for size in first.shape[2:])
    radius = reach // step
    moves = range(-radius * step, radius * step + 1, step)

    def part(maps: np.ndarray, down: int, right: int) -> np.ndarray:
        return maps[:, :, reach + down : reach + down + height, reach + right : reach + right + width]

    out = np.zeros((len(data1), len(moves) ** 2, height, width), data1.dtype)
    for channel, (down, right) in enumerate((down, right) for down in moves for right in moves):
        for row, column in np.ndindex(kernel, kernel):
            fixed, moved = part(first, row, column), part(second, row + down, column + right)
            pair = fixed * moved if attrs.boolean("is_multiply", True) else np.abs(fixed - moved)
            out[:, channel] += pair.mean(1)
    return np.asarray(out[:, :, ::stride, ::stride] / (kernel * kernel))
