"""How a Keras model is called: public names and shapes, around the nested structures that Keras itself takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, ConversionOptions
from converters.keras.loading import LoadedModel
from converters.tensorflow.signatures import DATATYPES
from model_store.errors import SourceError
from model_store.manifest import TensorSpec


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A model as a function of flat, named tensors."""

    model: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    structure: Any
    """What the model takes, with a placeholder at each input's place."""
    by_keyword: bool = False
    """Whether `structure` is a dict of the arguments of `call`."""
    compiled: bool = False
    """Whether `run` goes through a graph, as Keras's own `predict` does. Called directly, the recurrent layers of
    tf_keras 2.21 are traced anew each time; and half precision is rounded at other places than in a graph."""

    def __call__(self, tensors: Sequence[Any]) -> list[Any]:
        """Inference on tensors in the order of `inputs`; results in the order of `outputs`."""
        return flat(self.values(tensors))

    def values(self, tensors: Sequence[Any]) -> Any:
        """The same with the results in the model's own structure."""
        import keras

        packed = keras.tree.pack_sequence_as(self.structure, list(tensors))
        with _conditions_on_tensors() if self.compiled else nullcontext():
            return self.model(**packed, training=False) if self.by_keyword else self.model(packed, training=False)

    def run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """The same for arrays by name, in Keras itself and on the CPU."""
        import tensorflow

        run = self._graph if self.compiled else self
        with tensorflow.device("/CPU:0"):
            values = run([tensorflow.constant(arrays[spec.name]) for spec in self.inputs])
        return {name: _array(value) for name, value in zip(self.outputs, values, strict=True)}

    @cached_property
    def _graph(self) -> Any:
        import tensorflow

        return tensorflow.function(self, input_signature=[self.tensor_specs()], autograph=False)

    def tensor_specs(self) -> list[Any]:
        """The inputs as TensorFlow describes them, called `in_0`, `in_1`, ..."""
        import tensorflow

        types = {protocol: name for name, protocol in DATATYPES.items()}
        return [
            tensorflow.TensorSpec(
                [None if size < 0 else size for size in spec.shape], types[spec.datatype], f"in_{index}"
            )
            for index, spec in enumerate(self.inputs)
        ]


def _conditions_on_tensors() -> AbstractContextManager[Any]:
    """Lets the layers of tf_keras translate Python's `if` and `for` on tensors, as its own `predict` does."""
    from tensorflow.python.autograph.core import ag_ctx

    context: AbstractContextManager[Any] = ag_ctx.ControlStatusCtx(status=ag_ctx.Status.ENABLED)
    return context


def _array(value: Any) -> np.ndarray:
    array = value.numpy() if hasattr(value, "numpy") else value
    return np.asarray(array, dtype=object) if isinstance(array, bytes) else np.asarray(array)


def model_call(loaded: LoadedModel, options: ConversionOptions, source: Path) -> ModelCall:
    """Raises `SourceError` for a model whose state lives on between calls, and for one that does not know its inputs or
    takes others than dense tensors."""
    _refuse_stateful(loaded.model, source)
    compiled = loaded.library == "tf_keras" or _uses_half_precision(loaded.model)
    graph = _functional(loaded)
    if graph is None:
        from converters.keras.subclassed import subclassed_call

        return replace(subclassed_call(loaded.model, options, source), compiled=compiled)
    structure, results = graph
    inputs = tuple(
        _spec(name, tensor, source)
        for name, tensor in zip(public_names(structure, _own_name), flat(structure), strict=True)
    )
    return ModelCall(
        loaded.model,
        inputs,
        tuple(public_names(results, _producer, [spec.name for spec in inputs])),
        structure,
        compiled=compiled,
    )


def _uses_half_precision(model: Any) -> bool:
    return any(getattr(layer, "compute_dtype", None) in ("float16", "bfloat16") for layer in model._flatten_layers())


def _refuse_stateful(model: Any, source: Path) -> None:
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_states") and layer is not model:
            raise SourceError(
                f"source {source.name!r}: layer {layer.name!r} is stateful: its answers depend on the requests before; "
                "save the model with stateful=False, and its states as inputs and outputs where they are needed"
            )


def _functional(loaded: LoadedModel) -> tuple[Any, Any] | None:
    """Nested symbolic inputs and outputs of a functional or sequential model."""
    model = loaded.model
    if loaded.library == "tf_keras":
        inputs, outputs = getattr(model, "_nested_inputs", None), getattr(model, "_nested_outputs", None)
        return None if inputs is None or outputs is None else (inputs, outputs)
    functional = getattr(model, "_functional", None) or model
    if getattr(functional, "_inputs_struct", None) is None:
        return None
    return functional._inputs_struct, functional._outputs_struct


def flat(structure: Any) -> list[Any]:
    """Leaves of a nested structure, in the one order that all of Keras uses."""
    import keras

    return list(keras.tree.flatten(structure))


def public_names(structure: Any, own_name: Callable[[Any], str], taken: Collection[str] = ()) -> list[str]:
    """Keys where the structure has some (`heads`, `heads_0`), the tensors' own names elsewhere; all different.

    Own names make room for those that are `taken`; keys are the model's word.
    """
    import keras

    names: list[str] = []
    keyed = False
    for path, tensor in keras.tree.flatten_with_path(structure):
        has_key = any(isinstance(part, str) for part in path)
        keyed = keyed or has_key
        names.append(plain("_".join(map(str, path)) if has_key else own_name(tensor)))
    return _distinct(names, () if keyed else taken)


def plain(name: str) -> str:
    """The name without what URLs and files make trouble with."""
    return re.sub(r"[^A-Za-z0-9_.\-/]", "_", name)


def _own_name(tensor: Any) -> str:
    return str(tensor.name)


def _producer(tensor: Any) -> str:
    """The layer that gives the tensor."""
    history = tensor._keras_history
    return str((getattr(history, "operation", None) and history.operation.name) or history.layer.name)


def _distinct(names: Sequence[str], before: Collection[str]) -> list[str]:
    """Repeated names get `_1`, `_2`, ... as Keras 2 numbers the outputs of one layer."""
    taken = set(before)
    different = []
    for name in names:
        candidates = [name, *(f"{name}_{index}" for index in range(1, len(names) + len(before) + 1))]
        free = next(each for each in candidates if each not in taken and (each == name or each not in names))
        taken.add(free)
        different.append(free)
    return different


def _spec(name: str, tensor: Any, source: Path) -> TensorSpec:
    if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False) or type(tensor).__name__ != "KerasTensor":
        kind = "ragged" if getattr(tensor, "ragged", False) or "Ragged" in type(tensor).__name__ else "sparse"
        raise SourceError(
            f"source {source.name!r}: input {name!r} is {kind}; requests carry dense tensors only, so save the model "
            "with a dense Input"
        )
    dtype = getattr(tensor.dtype, "name", tensor.dtype)
    if dtype not in DATATYPES:
        raise SourceError(f"source {source.name!r}: input {name!r} has the element type {dtype}, which is not served")
    return TensorSpec(name, DATATYPES[dtype], tuple(-1 if size is None else int(size) for size in tensor.shape))
