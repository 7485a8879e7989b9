"""How a case of the Keras tables is written: a net, rows for it, and the names its answers go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Call, SourceCase, Tensors

KINDS = {
    "archive": ("model.keras", "Keras 3 archive (.keras)"),
    "h5": ("model.h5", "Keras 3, HDF5 (.h5)"),
    "keras-2": ("model.h5", "Keras 2 and before, HDF5 (.h5)"),
    "keras-2-archive": ("model.keras", "Keras 2 archive (.keras)"),
}
ROWS = 5


@dataclass(frozen=True)
class Net:
    """A model, five rows for it by public name, and the public names of what it gives."""

    model: Any
    inputs: Tensors
    outputs: tuple[str, ...]
    as_dict: bool = False
    """Whether the model takes its inputs as a dict, and not as a list in their order."""


def case(name: str, kind: str, make: Callable[[], Net], **rest: Any) -> SourceCase:
    file, called = KINDS[kind]
    prefix = "keras" if kind == "archive" else f"keras-{kind.removeprefix('keras-')}"
    return SourceCase(f"{prefix}-{name}", "keras", called, lambda folder: built(make(), folder / file), **rest)


def built(net: Net, path: Path) -> Built:
    net.model.save(path)
    return Built(path, tuple(answered(net, count) for count in (2, ROWS)))


def answered(net: Net, count: int) -> Call:
    import keras

    rows = {name: array[:count] for name, array in net.inputs.items()}
    tensors = [to_tensor(array) for array in rows.values()]
    packed = dict(zip(rows, tensors, strict=True)) if net.as_dict else tensors if len(tensors) > 1 else tensors[0]
    values = keras.tree.flatten(net.model(packed, training=False))
    return Call(rows, {name: value.numpy() for name, value in zip(net.outputs, values, strict=True)})


def to_tensor(array: np.ndarray) -> Any:
    import tensorflow

    return tensorflow.constant(array)


def keras3() -> Any:
    """Keras 3 on TensorFlow, with names and weights that start anew."""
    from converters.keras.loading import import_keras

    keras = import_keras()
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    return keras


def keras2() -> Any:
    keras3()
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    return tf_keras


def shaken(model: Any) -> Any:
    """The model with statistics, scales and biases as if it had been trained: fresh ones hide mistakes."""
    generator = np.random.default_rng(1)
    for variable in model.weights:
        name = variable.name.rpartition("/")[2].partition(":")[0]
        if name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif name in ("beta", "bias", "moving_mean", "embeddings"):
            variable.assign(generator.normal(0, 0.3, variable.shape))
    return model


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((7, seed)).normal(size=(ROWS, *shape)).astype(np.float32)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(8).uniform(0, 255, (ROWS, *shape)).astype(np.float32)


def ids(limit: int, *shape: int) -> np.ndarray:
    """int32 numbers below `limit`, with zeros at the ends and in between: a mask of every form, and an empty row."""
    values = np.random.default_rng(9).integers(1, limit, (ROWS, *shape)).astype(np.int32)
    if shape and shape[-1] > 4:
        values[0, ..., -3:] = 0
        values[1, ..., :2] = 0
        values[2, ..., 1::2] = 0
        values[3] = 0
    return values


def words(choices: list[str], *shape: int) -> np.ndarray:
    values = np.empty((ROWS, *shape), dtype=object)
    drawn = np.random.default_rng(3).choice(choices, values.size)
    values.ravel()[:] = [str(word).encode() for word in drawn]
    return values
