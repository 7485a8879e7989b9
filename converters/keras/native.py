"""Serves a Keras file in Keras itself, where no graph can be made of it: code in the file that is no TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converters.base import Arrays, ConversionOptions
from converters.keras.call import model_call
from converters.keras.loading import load_model
from model_store.manifest import Signature

FILE = "model.keras"
"""Of either format: what it holds is told by its first bytes."""


class KerasModel:
    """A Keras file, loaded. Threads are those of TensorFlow in this process, whatever `threads` says.

    Raises `TrustRequired` for code in the file unless `trusted`.
    """

    def __init__(
        self, folder: Path, signatures: Mapping[str, Signature], *, threads: int = 0, trusted: bool = False
    ) -> None:
        inputs = next(iter(signatures.values())).inputs
        options = ConversionOptions(trust=trusted, inputs=inputs)
        with tempfile.TemporaryDirectory() as scratch:
            loaded = load_model(folder / FILE, options, Path(scratch))
        self._call = model_call(loaded, options, folder / FILE)

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """All outputs of one batch, in the signature's order; BYTES are object arrays of `bytes`."""
        return self._call.run(inputs)
