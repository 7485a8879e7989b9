"""What the layers tell of sensible values of a model's inputs: indexes that exist, categories, pixels.

Hints for the parity gate's random inputs, which decide nothing. Keys of tables are read off the graph
(`converters.tensorflow.domain`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.base import Range
from converters.keras.call import ModelCall, flat

PIXELS = (0.0, 255.0)
LARGEST_VOCABULARY = 50
UNKNOWN_WORD = "unheard-of"
USUAL_WIDTH = 3.0
"""How many standard deviations from its mean a number lies at most, as a rule."""
USUAL_AXES = ((), (1,))
"""Of a Normalization: one mean for all numbers, or one a column."""
SAME_VALUES = frozenset(
    {"InputLayer", "Reshape", "Flatten", "Permute", "RepeatVector", "Cast", "Masking", "Identity", "Activation"}
    | {"Dropout", "SpatialDropout1D", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "RandomFlip"}
    | {"RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness", "RandomCrop"}
    | {"ExpandDims", "Squeeze", "TimeDistributed"}
)
"""Layers and operations that leave values as they are, or near it."""


def read_ranges(call: ModelCall) -> dict[str, Range]:
    """Ranges by input name. Empty for models without a graph of layers."""
    ranges: dict[str, Range] = {}
    names = _names_by_tensor(call)
    for layer, tensor in _uses(call.model):
        limits = _limits(layer)
        name = names.get(_origin(tensor, names)) if limits is not None else None
        if name is not None and limits is not None:
            low, high = ranges.get(name, limits)
            ranges[name] = (np.maximum(low, limits[0]), np.minimum(high, limits[1]))
    return {name: (low, high) for name, (low, high) in ranges.items() if np.all(np.less_equal(low, high))}


def read_choices(call: ModelCall) -> dict[str, np.ndarray]:
    """Texts of known words by input name, for inputs that a TextVectorization splits."""
    names = _names_by_tensor(call)
    choices: dict[str, np.ndarray] = {}
    for layer, tensor in _uses(call.model):
        if type(layer).__name__ != "TextVectorization" or (name := names.get(_origin(tensor, names))) is None:
            continue
        words = [str(word) for word in layer.get_vocabulary(include_special_tokens=False)[:LARGEST_VOCABULARY]]
        texts = [*words, " ".join(words[:5]), " ".join(words[::-3]).upper(), f"{UNKNOWN_WORD}, {' '.join(words[:2])}!"]
        choices[name] = np.array([text.encode() for text in texts], dtype=object)
    return choices


def _names_by_tensor(call: ModelCall) -> dict[int, str]:
    """Identity of an input's symbolic tensor -> public name."""
    leaves = flat(call.structure)
    if not all(hasattr(leaf, "shape") for leaf in leaves):
        return {}
    return {id(leaf): spec.name for leaf, spec in zip(leaves, call.inputs, strict=True)}


def _limits(layer: Any) -> Range | None:
    kind = type(layer).__name__
    if kind == "Embedding":
        return 0, int(layer.input_dim) - 1
    if kind == "CategoryEncoding":
        return 0, int(layer.num_tokens) - 1
    if kind == "Rescaling" and np.size(layer.scale) == 1 and 0 < float(np.ravel(layer.scale)[0]) < 0.02:
        return PIXELS
    if kind == "Normalization" and tuple(layer._keep_axis) in USUAL_AXES and not layer.invert:
        mean, width = np.ravel(layer.mean), USUAL_WIDTH * np.sqrt(np.ravel(layer.variance))
        return mean - width, mean + width
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
