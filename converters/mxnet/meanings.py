"""What the values of an input mean, as far as the operators that read it tell: the gate's random inputs keep to that.

An index that is out of range is memory as it comes in MXNet, and an error here; comparing those would prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from converters.base import Range
from converters.mxnet.binding import Binding
from converters.mxnet.params import Parameters
from converters.mxnet.symbol import Node
from model_store.datatypes import DTYPES
from model_store.manifest import TensorSpec

LARGEST_CHOICE = 1000
"""Indices into a vocabulary that are drawn from."""


@dataclass(frozen=True)
class _Reader:
    """A node that reads an input, and the shapes of the node's inputs as far as they are declared or stored."""

    node: Node
    shapes: tuple[tuple[int, ...] | None, ...]

    def sizes(self, place: int, axes: int | None = None) -> list[int]:
        """The known sizes of the first `axes` axes of an input of the node."""
        shape = self.shapes[place] or ()
        return [size for size in shape[:axes] if size > 0]


def sensible_values(
    binding: Binding, parameters: Parameters, specs: list[TensorSpec]
) -> tuple[dict[str, Range], dict[str, np.ndarray]]:
    """Ranges and choices of the inputs, by name."""
    ranges: dict[str, Range] = {}
    choices: dict[str, np.ndarray] = {}
    for spec in specs:
        for node, place in binding.consumers(spec.name):
            reader = _Reader(node, tuple(_shape(binding, parameters, specs, source) for source, _ in node.inputs))
            if (limit := _RANGES.get((node.op, place))) is not None:
                ranges[spec.name] = limit(reader)
            if (values := _CHOICES.get((node.op, place))) is not None:
                choices[spec.name] = values(reader).astype(DTYPES[spec.datatype])
    return ranges, choices


def _shape(binding: Binding, parameters: Parameters, specs: list[TensorSpec], index: int) -> tuple[int, ...] | None:
    if index in binding.parameters:
        return parameters.shape(binding.parameters[index])
    name = binding.graph.nodes[index].name
    return next((spec.shape for spec in specs if spec.name == name and index in binding.inputs.get(name, ())), None)


def _vocabulary(reader: _Reader) -> np.ndarray:
    return np.arange(min(max(reader.node.attrs.integer("input_dim"), 1), LARGEST_CHOICE))


def _lengths(_: _Reader) -> np.ndarray:
    return np.arange(1, 4)


def _coordinates(reader: _Reader) -> Range:
    """Of `gather_nd`: one row for each of the leading axes of the data, which may all have other sizes."""
    return 0, max(min(reader.sizes(0), default=1) - 1, 0)


def _places(reader: _Reader) -> Range:
    """Of `scatter_nd`: into the shape that the attribute gives."""
    return 0, max(min(reader.node.attrs.integers("shape"), default=1) - 1, 0)


def _rows(reader: _Reader) -> Range:
    return 0, max(math.prod(reader.sizes(0, 1)) - 1, 0)


def _boxes(reader: _Reader) -> Range:
    """Rows of image, x1, y1, x2, y2: of the first image, which is always there, and left before right."""
    side = min(reader.sizes(0)[2:], default=16) / max(reader.node.attrs.number("spatial_scale", 1.0), 1e-3)
    return np.array([0, 0, 0, side / 2, side / 2]), np.array([0, side / 2, side / 2, side, side])


_CHOICES: Mapping[tuple[str, int], Callable[[_Reader], np.ndarray]] = {
    ("Embedding", 0): _vocabulary,
    ("SequenceMask", 1): _lengths,
    ("SequenceLast", 1): _lengths,
    ("SequenceReverse", 1): _lengths,
}
"""Operator and place of its input -> the values that are drawn from."""

_RANGES: Mapping[tuple[str, int], Callable[[_Reader], Range]] = {
    ("gather_nd", 1): _coordinates,
    ("scatter_nd", 1): _places,
    ("_contrib_index_copy", 1): _rows,
    ("ROIPooling", 1): _boxes,
    ("_contrib_ROIAlign", 1): _boxes,
    ("_contrib_PSROIPooling", 1): _boxes,
}
"""Operator and place of its input -> smallest and largest value."""
