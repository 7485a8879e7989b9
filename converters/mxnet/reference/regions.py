"""Regions of interest in numpy: region by region, cell by cell."""

from __future__ import annotations

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op


def _rounded(values: np.ndarray) -> np.ndarray:
    """Halves away from zero."""
    return np.asarray(np.trunc(values + np.copysign(0.5, values)))


@numpy_op("ROIPooling")
def roi_pooling(node: Context, data: np.ndarray, rois: np.ndarray) -> np.ndarray:
    """Maxima of cells."""
    height, width = node.attrs.integers("pooled_size")
    scale = rois.dtype.type(node.attrs.number("spatial_scale"))
    out = np.zeros((len(rois), data.shape[1], height, width), data.dtype)
    for region, roi in enumerate(rois):
        left, top, right, bottom = _rounded(roi[1:] * scale)
        rows = _cells(top, max(bottom - top + 1, 1), height, data.shape[2])
        columns = _cells(left, max(right - left + 1, 1), width, data.shape[3])
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                cell = data[int(roi[0]), :, row, column]
                if cell.size:
                    out[region, :, i, j] = cell.max((1, 2))
    return out


def _cells(start: float, size: float, count: int, limit: int) -> list[slice]:
    """Pixels of each cell along an axis."""
    step = np.float32(size) / np.float32(count)
    edges = [(np.floor(i * step) + start, np.ceil((i + 1) * step) + start) for i in range(count)]
    return [slice(int(np.clip(first, 0, limit)), int(np.clip(last, 0, limit))) for first, last in edges]


@numpy_op("_contrib_ROIAlign")
def roi_align(node: Context, data: np.ndarray, rois: np.ndarray) -> np.ndarray:
    """Means of points; each region's points are one product with a matrix of weights for rows and one for columns."""
    attrs = node.attrs
    pooled = attrs.integers("pooled_size")
    aligned = attrs.boolean("aligned", False)
    out = np.zeros((len(rois), data.shape[1], *pooled), data.dtype)
    for region, roi in enumerate(rois):
        if roi[0] >= 0:
            scaled = roi[1:] * attrs.number("spatial_scale") - (0.5 if aligned else 0)
            rows, columns = (
                _weights(scaled[1 - axis], scaled[3 - axis], pooled[axis], data.shape[2 + axis], node)
                for axis in (0, 1)
            )
            out[region] = rows.astype(data.dtype) @ data[int(roi[0])] @ columns.astype(data.dtype).T
    if not attrs.boolean("position_sensitive", False):
        return out
    split = out.reshape(len(rois), -1, *pooled, *pooled)
    return np.asarray(np.einsum("rcijij->rcij", split))


def _weights(start: float, end: float, cells: int, limit: int, node: Context) -> np.ndarray:
    """How much each pixel of an axis counts in each cell, (cells, limit): linear interpolation, averaged."""
    size = end - start if node.attrs.boolean("aligned", False) else max(end - start, 1.0)
    points = node.attrs.integer("sample_ratio", -1)
    points = points if points > 0 else max(int(np.ceil(size / cells)), 0)
    weights = np.zeros((cells, limit))
    for cell in range(cells):
        for point in range(points):
            place = start + (cell + (point + 0.5) / points) * size / cells
            if -1 <= place <= limit:
                place = min(max(place, 0), limit - 1)
                low = int(place)
                weights[cell, low] += (1 - (place - low)) / points
                weights[cell, min(low + 1, limit - 1)] += (place - low) / points
    return weights


@numpy_op("_contrib_PSROIPooling")
def psroi_pooling(node: Context, data: np.ndarray, rois: np.ndarray) -> np.ndarray:
    """Means of cells, each over its own channels."""
    attrs = node.attrs
    size, dim = attrs.integer("pooled_size"), attrs.integer("output_dim")
    group = attrs.integer("group_size", 0) or size
    split = data.reshape(len(data), dim, group, group, *data.shape[2:])
    scale = attrs.number("spatial_scale")
    out = np.zeros((len(rois), dim, size, size), data.dtype)
    for region, roi in enumerate(rois):
        left, top = (_rounded(roi[1:3]) * scale).astype(data.dtype)
        right, bottom = ((_rounded(roi[3:]) + 1) * scale).astype(data.dtype)
        for i in range(size):
            row = _between(top, bottom, i, size, data.shape[2])
            for j in range(size):
                column = _between(left, right, j, size, data.shape[3])
                cell = split[int(roi[0]), :, i * group // size, j * group // size, row, column]
                if cell.size:
                    out[region, :, i, j] = cell.mean((1, 2))
    return out


def _between(start: float, end: float, cell: int, cells: int, limit: int) -> slice:
    step = max(end - start, 0.1) / cells
    first, last = np.floor(cell * step + start), np.ceil((cell + 1) * step + start)
    return slice(int(np.clip(first, 0, limit)), int(np.clip(last, 0, limit)))
