"""Writes TensorFlow models as users export them, and records what TensorFlow itself answers at two batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Call, Tensors

BATCHES = (2, 5)
Inputs = Callable[[int], Tensors]
"""Inputs for a batch."""


def generator(batch: int) -> np.random.Generator:
    return np.random.default_rng(batch)


def floats(name: str, *shape: int) -> Inputs:
    return lambda batch: {name: generator(batch).standard_normal((batch, *shape)).astype(np.float32)}


def integers(name: str, limit: int, *shape: int, dtype: Any = np.int32) -> Inputs:
    return lambda batch: {name: generator(batch).integers(0, limit, (batch, *shape)).astype(dtype)}


def words(name: str, *choices: str, shape: tuple[int, ...] = ()) -> Inputs:
    pool = np.array([word.encode() for word in choices], dtype=object)
    return lambda batch: {name: generator(batch).choice(pool, (batch, *shape))}


def answers(values: Mapping[str, Any]) -> Tensors:
    return {name: np.asarray(getattr(value, "numpy", lambda v=value: v)()) for name, value in values.items()}


def save(
    module: Any,
    folder: Path,
    inputs: Inputs | Mapping[str, Inputs],
    signatures: Any = None,
    batches: Sequence[int] = BATCHES,
) -> Built:
    """Saves with `tf.saved_model.save`; the answers are those of the SavedModel as TensorFlow loads it."""
    import tensorflow as tf

    tf.saved_model.save(module, str(folder / "model"), signatures=signatures)
    return as_loaded(folder / "model", inputs, batches)


def as_loaded(source: Path, inputs: Inputs | Mapping[str, Inputs], batches: Sequence[int] = BATCHES) -> Built:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(source))
    by_signature = inputs if isinstance(inputs, Mapping) else {"serving_default": inputs}
    calls = []
    for name, draw in by_signature.items():
        for batch in batches:
            tensors = draw(batch)
            found = loaded.signatures[name](**{key: tf.constant(value) for key, value in tensors.items()})
            calls.append(Call(tensors, answers(found), name))
    return Built(source, tuple(calls))


def export_keras(model: Any, folder: Path, inputs: Inputs, output: str = "output_0") -> Built:
    """Keras 3's `model.export`, whose signature names outputs by position."""
    model.export(str(folder / "model"), verbose=False)
    calls = []
    for batch in BATCHES:
        tensors = inputs(batch)
        value = model(next(iter(tensors.values())), training=False)
        calls += [Call(tensors, {output: np.asarray(value)}, name) for name in ("serving_default", "serve")]
    return Built(folder / "model", tuple(calls))


def in_session(
    session: Any, source: Path, inputs: Inputs, feeds: Mapping[str, Any], fetches: Mapping[str, Any]
) -> Built:
    """Answers of a TensorFlow 1 session for a source that is written already; public names -> its tensors."""
    calls = []
    for batch in BATCHES:
        tensors = inputs(batch)
        values = session.run(dict(fetches), {feeds[name]: value for name, value in tensors.items()})
        calls.append(Call(tensors, answers(values)))
    return Built(source, tuple(calls))


def write_lite(
    converter: Any, folder: Path, inputs: Inputs | Mapping[str, Inputs], batches: Sequence[int] = BATCHES
) -> Built:
    """Converts to a TFLite file; the answers are its interpreter's."""
    source = folder / "model.tflite"
    source.write_bytes(converter.convert())
    return interpreted(source, inputs, batches)


def interpreted(source: Path, inputs: Inputs | Mapping[str, Inputs], batches: Sequence[int] = BATCHES) -> Built:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(source))
    by_signature = inputs if isinstance(inputs, Mapping) else {"serving_default": inputs}
    calls = []
    for name, draw in by_signature.items():
        runner = interpreter.get_signature_runner(name)
        for batch in batches:
            tensors = draw(batch)
            calls.append(Call(tensors, {key: np.array(value) for key, value in runner(**tensors).items()}, name))
    return Built(source, tuple(calls))
