"""Windows that slide over the spatial axes of channels-first arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from converters.mxnet.reference.interpreter import Context

Sizes = Sequence[int]


def per_axis(node: Context, attribute: str, axes: int, default: int) -> tuple[int, ...]:
    """An attribute with a number for each spatial axis."""
    return tuple(node.attrs.integers(attribute, (default,) * axes))


def channels_first(node: Context, array: np.ndarray) -> tuple[np.ndarray, bool]:
    """The array with its last axis moved to place 1 if `layout` says that it holds the channels, and whether it did."""
    moved = node.attrs.text("layout", "None").endswith("C")
    return (np.moveaxis(array, -1, 1), True) if moved else (array, False)


def shifted(
    array: np.ndarray, kernel: Sizes, stride: Sizes, dilate: Sizes, counts: Sizes
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """For each position in the kernel, the elements (N, C, counts..) that lie under it in all windows: a view."""
    for position in product(*map(range, kernel)):
        starts = [place * step for place, step in zip(position, dilate, strict=True)]
        spans = zip(starts, stride, counts, strict=True)
        yield position, trailing(array, *(slice(start, start + (n - 1) * step + 1, step) for start, step, n in spans))


def trailing(array: np.ndarray, *index: int | slice) -> np.ndarray:
    """The array indexed along its last axes."""
    whole: Any = (..., *index)
    return np.asarray(array[whole])
