"""Serves SavedModels, frozen graphs and TFLite files in TensorFlow itself, and Keras archives in Keras.

The folder of a version says which: `saved_model/`, `frozen_graph.pb`, `model.tflite` or `model.keras`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converters.base import Arrays
from converters.native import NativeModel
from model_store.errors import SourceError
from model_store.manifest import Signature

SAVED_MODEL = "saved_model"
FROZEN_GRAPH = "frozen_graph.pb"
TFLITE = "model.tflite"
KERAS = "model.keras"


class TensorFlowModel:
    """A native version of TensorFlow, loaded. `run` may be called from several threads.

    `threads` bounds the CPU threads between operators; those within one belong to the process, and the first model
    that is loaded in it sets their number.
    """

    def __init__(
        self, folder: Path, signatures: Mapping[str, Signature], *, threads: int = 0, trusted: bool = False
    ) -> None:
        self._model = _open(folder, signatures, threads, trusted)
        self._outputs = {name: [spec.name for spec in each.outputs] for name, each in signatures.items()}

    def run(self, inputs: Arrays, signature: str) -> dict[str, np.ndarray]:
        """All outputs of one batch, in the signature's order; BYTES are object arrays of `bytes`."""
        answer = self._model.run(inputs, signature)
        return {name: answer[name] for name in self._outputs[signature]}


def _open(folder: Path, signatures: Mapping[str, Signature], threads: int, trusted: bool) -> NativeModel:
    if (folder / SAVED_MODEL).is_dir():
        from converters.tensorflow.saved_model import load_saved_model

        return load_saved_model(folder / SAVED_MODEL, SAVED_MODEL, trust=trusted, threads=threads)
    if (folder / FROZEN_GRAPH).is_file():
        from converters.tensorflow.frozen_graph import reopen_frozen_graph

        signature = next(iter(signatures.values()))
        return reopen_frozen_graph(folder / FROZEN_GRAPH, signature, trust=trusted, threads=threads)
    if (folder / TFLITE).is_file():
        from converters.tensorflow.tflite import TFLiteModel

        return TFLiteModel(folder / TFLITE, TFLITE, threads=threads)
    if (folder / KERAS).is_file():
        from converters.keras.native import KerasModel

        model: NativeModel = KerasModel(folder, signatures, threads=threads, trusted=trusted)
        return model
    raise SourceError(f"the version holds none of {SAVED_MODEL}/, {FROZEN_GRAPH}, {TFLITE}, {KERAS}")
