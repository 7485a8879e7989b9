"""Kernels that Keras trained on Theano, turned round.

Theano convolves, TensorFlow and CNTK correlate: the same picture needs the kernel flipped along its spatial axes.
Keras 2 did so when it loaded a file of another backend; tf_keras 2.21 and Keras 3 no longer do, and would compute
something else in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

FLIPPED = frozenset({"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D"})
"""The layers that Keras 2.3 flipped (`preprocess_weights_for_loading`)."""


def flip_kernels(model: Any) -> None:
    """Flips the kernels of all convolutions of a model, in place, those in nested models and wrappers included."""
    for layer in _layers(model):
        name = type(layer).__name__
        if name not in FLIPPED:
            continue
        weights = layer.get_weights()
        for index in (0, 1) if name == "ConvLSTM2D" else (0,):
            weights[index] = flipped(weights[index])
        layer.set_weights(weights)


def flipped(kernel: np.ndarray) -> np.ndarray:
    """`kernel`: float[..., C_in, C_out], turned along all but its last two axes."""
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def _layers(model: Any) -> Iterator[Any]:
    seen: set[int] = set()
    for layer in model._flatten_layers():
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
