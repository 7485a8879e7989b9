"""What the layers tell of sensible values of a model's inputs: indexes that exist, categories, pixels.

Hints for the parity gate's random inputs, which decide nothing. Words of tables are read off the graph
(`converters.tensorflow.domain`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.base import Range
from converters.keras.call import ModelCall, flat

PIXELS = (0.0, 255.0)
SAME_VALUES = frozenset(
    {"InputLayer", "Reshape", "Flatten", "Permute", "RepeatVector", "Cast", "Masking", "Identity", "Activation"}
    | {"Dropout", "SpatialDropout1D", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "RandomFlip"}
    | {"RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness", "RandomCrop"}
    | {"ExpandDims", "Squeeze", "TimeDistributed"}
)
"""Layers and operations that leave values as they are, or near it."""


def read_layers(call: ModelCall) -> tuple[dict[str, Range], dict[str, np.ndarray]]:
    """Ranges and choices by input name. Empty for models without a graph of layers."""
    ranges: dict[str, Range] = {}
    names = _names_by_tensor(call)
    for layer, tensor in _uses(call.model):
        limits = _limits(layer)
        name = names.get(_origin(tensor, names)) if limits is not None else None
        if name is not None and limits is not None:
            low, high = limits
            before = ranges.get(name, limits)
            ranges[name] = (max(low, float(before[0])), min(high, float(before[1])))
    return ranges, {}


def _names_by_tensor(call: ModelCall) -> dict[int, str]:
    """Identity of an input's symbolic tensor -> public name."""
    leaves = flat(call.structure)
    if not all(hasattr(leaf, "shape") for leaf in leaves):
        return {}
    return {id(leaf): spec.name for leaf, spec in zip(leaves, call.inputs, strict=True)}


def _limits(layer: Any) -> tuple[float, float] | None:
    kind = type(layer).__name__
    if kind == "Embedding":
        return 0, int(layer.input_dim) - 1
    if kind == "CategoryEncoding":
        return 0, int(layer.num_tokens) - 1
    if kind == "Rescaling" and np.size(layer.scale) == 1 and 0 < float(np.ravel(layer.scale)[0]) < 0.02:
        return PIXELS
    return None


def _uses(model: Any) -> Iterator[tuple[Any, Any]]:
    """Every layer with the symbolic tensors that it is called on."""
    for layer in model._flatten_layers(include_self=False):
        for node in getattr(layer, "_inbound_nodes", []):
            tensors = getattr(node, "input_tensors", None)
            if tensors is None:
                tensors = flat(node.keras_inputs)
            for tensor in flat(tensors):
                yield layer, tensor


def _origin(tensor: Any, names: dict[int, str]) -> int:
    """The input that a tensor holds the values of; 0 when it is none."""
    for _ in range(100):
        if id(tensor) in names:
            return id(tensor)
        history = getattr(tensor, "_keras_history", None)
        operation = getattr(history, "operation", None) or getattr(history, "layer", None)
        if history is None or operation is None or type(operation).__name__ not in SAME_VALUES:
            return 0
        node = operation._inbound_nodes[history.node_index]
        inputs = flat(node.input_tensors if hasattr(node, "input_tensors") else node.keras_inputs)
        if len(inputs) != 1:
            return 0
        tensor = inputs[0]
    return 0
