"""Models of a class of their own: the config says what they take, or the file tells what they were built with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import ConversionOptions
from converters.keras.call import ModelCall, flat, plain, public_names
from converters.tensorflow.signatures import DATATYPES
from model_store.datatypes import DATATYPES as PROTOCOL_TYPES
from model_store.errors import SourceError
from model_store.manifest import Signature, TensorSpec

TRIAL_SIZE = 2
"""For dynamic dimensions of the one call that finds the outputs."""


def subclassed_call(model: Any, options: ConversionOptions, source: Path) -> ModelCall:
    """Calls the model once, with zeros, to see what it gives.

    Raises `SourceError` where nothing tells what the model takes, or it does not take that.
    """
    specs = options.inputs or _built_with(model)
    if not specs:
        raise SourceError(
            f"source {source.name!r} is a model that does not say what it takes; add "
            "`inputs: [{name: ..., datatype: FP32, shape: [-1, ...]}]` for this model in the config"
        )
    structure, by_keyword = _structure(model, [spec.name for spec in specs])
    call = ModelCall(model, tuple(specs), (), structure, by_keyword)
    try:
        values = call.values([_zeros(spec) for spec in specs])
    except Exception as error:  # the user's code, and Keras on its behalf
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        taken = ", ".join(_arguments(model))
        given = ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in specs)
        raise SourceError(
            f"source {source.name!r} can't be called with {given}: {line[:300]}; say what call({taken}) takes with "
            "`inputs:` in the config"
        ) from error
    return ModelCall(model, tuple(specs), tuple(_output_names(values)), structure, by_keyword)


def called_signature(call: ModelCall) -> Signature:
    """The signature of a call as two runs show it: a size that changes with the batch is dynamic."""
    first, second = ([np.asarray(value) for value in call([_zeros(s, size) for s in call.inputs])] for size in (2, 3))
    outputs = tuple(
        TensorSpec(
            name,
            "BYTES" if one.dtype.kind in "OS" else PROTOCOL_TYPES[one.dtype],
            tuple(size if size == other_size else -1 for size, other_size in zip(one.shape, other.shape, strict=True)),
        )
        for name, one, other in zip(call.outputs, first, second, strict=True)
    )
    return Signature(call.inputs, outputs)


def _zeros(spec: TensorSpec, size: int = TRIAL_SIZE) -> Any:
    import tensorflow

    shape = [size if each < 0 else each for each in spec.shape]
    if spec.datatype == "BYTES":
        return tensorflow.fill(shape, b"")
    return tensorflow.zeros(shape, {protocol: name for name, protocol in DATATYPES.items()}[spec.datatype])


def _output_names(values: Any) -> list[str]:
    import keras

    if not keras.tree.is_nested(values):
        return ["output"]
    numbers = iter(range(len(flat(values))))
    return public_names(values, lambda _: f"output_{next(numbers)}")


def _shapes(model: Any) -> Any:
    """The shapes that the model was built with: one, several in a list or dict, or one for each argument."""
    return getattr(model, "_build_shapes_dict", None) or getattr(model, "_build_input_shape", None)


def _built_with(model: Any) -> tuple[TensorSpec, ...]:
    shapes = _shapes(model)
    if shapes is None:
        return ()
    dtype = getattr(model, "input_dtype", None) or getattr(model, "compute_dtype", None) or "float32"
    return tuple(
        TensorSpec(name, DATATYPES[dtype], (-1, *(-1 if size is None else int(size) for size in list(sizes)[1:])))
        for name, sizes in _named(_only_argument(shapes), next(iter(_arguments(model)), "inputs"))
    )


def _only_argument(shapes: Any) -> Any:
    """Keras wraps the shapes of a single argument into a dict of one."""
    return next(iter(shapes.values())) if isinstance(shapes, Mapping) and len(shapes) == 1 else shapes


def _named(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(plain(str(key).removesuffix("_shape")), shape) for key, shape in value.items()]
    sizes = list(value)
    if all(size is None or isinstance(size, int) for size in sizes):
        return [(name, sizes)]
    return [(f"{name}_{index}", shape) for index, shape in enumerate(sizes)]


def _arguments(model: Any) -> list[str]:
    """What `call` takes besides switches of Keras."""
    return [name for name in inspect.signature(model.call).parameters if name not in ("self", "training", "mask")]


def _structure(model: Any, names: list[str]) -> tuple[Any, bool]:
    """One tensor as it is; several as arguments, or as the dict or list that the model was built with."""
    if len(names) == 1:
        return names[0], False
    as_dict = {name: name for name in names}
    if set(names) <= set(_arguments(model)):
        return as_dict, True
    shapes = _shapes(model)
    is_list = shapes is not None and not isinstance(_only_argument(shapes), Mapping)
    return (names, False) if is_list else (as_dict, False)
