"""Writes a Keras model's inference function as a SavedModel, which TensorFlow serves without Keras.

Keras's own `export` writes several signatures under names of its choosing; here there is one, with public names.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.keras.call import ModelCall
from converters.keras.tracing import SERVING, one_line
from converters.tensorflow.session import GraphSession, open_saved_model, quiet
from converters.tensorflow.signatures import GraphSignature, datatype_of, dims_of
from model_store.errors import ConversionError
from model_store.manifest import Signature, TensorSpec

PROGRAM = "saved_model.pb"


def save_traced(call: ModelCall, function: Any, folder: Path) -> GraphSignature:
    """Saves what `tracing.trace` gave into the new `folder`; returns its only signature.

    Raises `ConversionError` where TensorFlow can't.
    """
    import tensorflow

    try:
        with _silent():
            module = _holder(call.model)
            module.serve = function
            tensorflow.saved_model.save(module, str(folder), signatures={SERVING: function})
    except Exception as error:  # TensorFlow raises AssertionError, ValueError, OSError, OpError
        raise ConversionError(f"TensorFlow can't save the Keras model: {one_line(error)}") from error
    return _with_public_names(call, folder)


def load_graph(folder: Path, signature: GraphSignature) -> GraphSession:
    """The SavedModel that was just written; it holds nothing but what the model computes."""
    return open_saved_model(folder, ["serve"], {SERVING: signature})


def _holder(model: Any) -> Any:
    """An object of TensorFlow that holds the model's variables and tables, as Keras 3 does not show its own."""
    import tensorflow
    from tensorflow.saved_model.experimental import TrackableResource

    module = tensorflow.Module()
    module.weights = [getattr(variable, "_value", variable) for variable in model.variables]
    parts = tensorflow.train.TrackableView(model).descendants()
    module.tables = [part for part in parts if isinstance(part, TrackableResource)]
    return module


def _with_public_names(call: ModelCall, folder: Path) -> GraphSignature:
    """Names are written over afterwards: TensorFlow allows fewer characters in those of arguments."""
    from tensorflow.core.protobuf import saved_model_pb2

    program = saved_model_pb2.SavedModel()
    program.ParseFromString((folder / PROGRAM).read_bytes())
    definition = program.meta_graphs[0].signature_def[SERVING]
    names_in = {f"in_{index}": spec.name for index, spec in enumerate(call.inputs)}
    names_out = {f"out_{index:04}": name for index, name in enumerate(call.outputs)}
    inputs = _renamed(definition.inputs, names_in)
    outputs = _renamed(definition.outputs, names_out)
    (folder / PROGRAM).write_bytes(program.SerializeToString())
    return GraphSignature(
        SERVING,
        {name: inputs[name].name for name in names_in.values()},
        {name: outputs[name].name for name in names_out.values()},
        Signature(call.inputs, tuple(_output(name, outputs[name]) for name in names_out.values())),
    )


def _renamed(infos: Any, names: dict[str, str]) -> dict[str, Any]:
    """Replaces the keys of a signature's map, in place."""
    copies = {names[key]: type(info).FromString(info.SerializeToString()) for key, info in infos.items()}
    infos.clear()
    for name, info in copies.items():
        infos[name].CopyFrom(info)
    return copies


def _output(name: str, info: Any) -> TensorSpec:
    return TensorSpec(name, datatype_of(info.dtype, f"output {name!r}"), dims_of(info.tensor_shape))  # type: ignore[arg-type]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """What TensorFlow and absl log while saving says nothing about the model."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet():
            yield
    finally:
        logger.setLevel(level)
