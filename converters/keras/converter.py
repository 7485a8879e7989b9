"""Keras 3: `.keras` archives, read in safe mode, to ONNX through TensorFlow's graph and tf2onnx.

The layout of images stays as the model has it (channels last). What is in the archive is vetted by
`keras_archive.py` before Keras sees it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Converter, Range
from converters.graph import open_session, read_signature, save_model
from converters.headers import zip_members
from converters.keras.archive import vet_config
from model_store.errors import ConversionError, SourceError

OPSET = 18
"""The newest that tf2onnx 1.17 writes."""


class KerasConverter(Converter):
    """`.keras` archives of Keras 3."""

    framework = "keras"
    extra = "tensorflow"
    kinds = "a Keras 3 archive (.keras)"

    def detects(self, source: Path) -> bool:
        """The archive holds `config.json` beside `model.weights.h5`."""
        members = set(zip_members(source))
        return "config.json" in members and any(name.startswith("model.weights") for name in members)

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """Converts the model's inference function, with its own names; the batch stays dynamic."""
        if not options.trust:
            vet_config(source)
        model = _load(source, workdir, options.trust)
        functional = getattr(model, "_functional", None) or model
        inputs = _input_names(functional, source)
        outputs = _output_names(functional)
        proto = _export(model, functional, inputs, outputs)
        saved = save_model(proto, workdir / "onnx")
        return Conversion(
            model=saved,
            signature=read_signature(open_session(saved)),
            reference=_reference(model, functional, inputs, outputs),
            reference_name=f"keras {_versions()['keras']}",
            libraries=_versions(),
            ranges=_index_ranges(model),
        )


def _load(source: Path, workdir: Path, trust: bool) -> Any:
    warnings.simplefilter("ignore")  # TensorFlow's deprecations are not the user's
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConversionError(
            f"Keras runs on the backend {keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow to convert"
        )
    # Keras goes by the file's name where we go by its content.
    named = workdir / "source.keras"
    named.symlink_to(source.resolve())
    try:
        return keras.saving.load_model(named, compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises ValueError, TypeError, KeyError, h5py's errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"source {source.name!r} can't be loaded by Keras {keras.__version__}: {line[:300]}"
        ) from error


def _flatten(structure: Any) -> list[Any]:
    import keras

    return list(keras.tree.flatten(structure))


def _input_names(functional: Any, source: Path) -> list[str]:
    if getattr(functional, "_inputs_struct", None) is None:
        raise ConversionError(
            f"source {source.name!r} is a subclassed Keras model without a fixed signature; "
            "export a functional or sequential model"
        )
    return _distinct([tensor.name for tensor in _flatten(functional._inputs_struct)])


def _output_names(functional: Any) -> list[str]:
    """The keys of a dict of outputs; else the names of the layers that give them."""
    structure = functional._outputs_struct
    if isinstance(structure, dict) and all(hasattr(value, "shape") for value in structure.values()):
        order = {id(value): key for key, value in structure.items()}
        return [order[id(value)] for value in _flatten(structure)]
    return _distinct([value._keras_history.operation.name for value in _flatten(structure)])


def _distinct(names: Sequence[str]) -> list[str]:
    plain = [re.sub(r"[^A-Za-z0-9_.\-/]", "_", name) for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{name}_{index}" for index, name in enumerate(plain)]


def _export(model: Any, functional: Any, inputs: list[str], outputs: list[str]) -> Any:
    import keras
    import tensorflow
    import tf2onnx

    # Keras keeps the patch that lets tf2onnx 1.17 run with numpy 2; it can go with tf2onnx's own fix.
    keras.src.export.tf2onnx_lib.patch_tf2onnx()
    specs = [
        tensorflow.TensorSpec(tensor.shape, tensor.dtype, name=f"in_{index}")
        for index, tensor in enumerate(_flatten(functional._inputs_struct))
    ]

    @tensorflow.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> Any:
        arguments = keras.tree.pack_sequence_as(functional._inputs_struct, list(tensors))
        values = _flatten(model(arguments, training=False))
        return {f"out_{index:04}": value for index, value in enumerate(values)}

    try:
        proto, _ = tf2onnx.convert.from_function(serve, specs, opset=OPSET)
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"tf2onnx fails to convert the Keras model: {line[:400]}") from error
    return _with_public_names(proto, inputs, outputs)


def _with_public_names(proto: Any, inputs: list[str], outputs: list[str]) -> Any:
    """tf2onnx sorts what it likes; positions come from the private names `in_<i>` and `out_<i>`."""
    from converters.graph import alias_outputs, rename

    by_position = {value.name: inputs[int(re.findall(r"in_(\d+)", value.name)[-1])] for value in proto.graph.input}
    if len(by_position) != len(inputs):
        missing = sorted(set(inputs) - set(by_position.values()))
        raise ConversionError(f"the model never uses its input {missing[0]!r}; export it without")
    rename(proto, by_position)
    # A function's dict of outputs comes out sorted by key, and the keys sort by position.
    alias_outputs(proto, outputs)
    return proto


def _reference(model: Any, functional: Any, inputs: list[str], outputs: list[str]) -> Any:
    import keras

    def run(arrays: Arrays) -> dict[str, np.ndarray]:
        tensors = [keras.ops.convert_to_tensor(_text(arrays[name])) for name in inputs]
        values = _flatten(model(keras.tree.pack_sequence_as(functional._inputs_struct, tensors), training=False))
        return {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}

    return run


def _text(array: np.ndarray) -> np.ndarray:
    return array.astype(bytes) if array.dtype.kind == "O" else array


def _index_ranges(model: Any) -> dict[str, Range]:
    """Inputs that go straight into an Embedding index its rows; random values must stay inside."""
    ranges: dict[str, Range] = {}
    for layer in model.layers:
        rows = getattr(layer, "input_dim", None)
        for node in getattr(layer, "_inbound_nodes", []) if isinstance(rows, int) else []:
            for tensor in node.input_tensors:
                ranges[tensor.name] = (0, int(rows or 1) - 1)
    return ranges


def _versions() -> dict[str, str]:
    import keras
    import tensorflow
    import tf2onnx

    return {"keras": keras.__version__, "tensorflow": tensorflow.__version__, "tf2onnx": tf2onnx.__version__}
