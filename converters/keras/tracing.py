"""A Keras model's inference function as a TensorFlow graph, with public names for what goes in and comes out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from converters.keras.call import ModelCall
from converters.tensorflow.session import GraphSession, open_graph, quiet
from converters.tensorflow.signatures import GraphSignature, datatype_of, dims_of
from model_store.errors import ConversionError
from model_store.manifest import Signature, TensorSpec

SERVING = "serving_default"


def trace(call: ModelCall) -> Any:
    """The function with inputs `in_0`, `in_1`, ... and outputs `out_0000`, ...; dynamic where the model is.

    Raises `ConversionError` in one line where the model can't be traced.
    """
    import tensorflow

    @tensorflow.function(input_signature=call.tensor_specs(), autograph=False)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> Any:
        return {f"out_{index:04}": value for index, value in enumerate(call(tensors))}

    try:
        with quiet():
            return serve.get_concrete_function()
    except Exception as error:  # the user's layers raise what they like
        raise ConversionError(f"TensorFlow can't trace the Keras model: {one_line(error)}") from error


def holds_tables(function: Any) -> bool:
    """Whether a traced function uses resources besides variables."""
    import tensorflow

    variables = {id(variable.handle) for variable in function.graph.variables}
    resources = [each for each in function.captured_inputs if each.dtype == tensorflow.resource]
    return any(id(each) not in variables for each in resources)


def open_traced(call: ModelCall, function: Any, folder: Path) -> tuple[GraphSession, GraphSignature]:
    """The traced function in a session; `folder` is for what passes through files, as tables must.

    Saving a model of 200 layers and reading it back takes seconds, so that variables go as constants.
    """
    if holds_tables(function):
        from converters.keras.saved_model import load_graph, save_traced

        signature = save_traced(call, function, folder)
        return load_graph(folder, signature), signature
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        with quiet():
            frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception as error:  # ValueError, and protobuf's own where a graph outgrows 2 GiB
        raise ConversionError(f"TensorFlow can't freeze the Keras model: {one_line(error)}") from error
    inputs = {spec.name: tensor for spec, tensor in zip(call.inputs, frozen.inputs, strict=True)}
    outputs = dict(zip(call.outputs, frozen.outputs, strict=True))
    signature = GraphSignature(
        SERVING,
        {name: tensor.name for name, tensor in inputs.items()},
        {name: tensor.name for name, tensor in outputs.items()},
        Signature(call.inputs, tuple(_spec(name, tensor) for name, tensor in outputs.items())),
    )
    return open_graph(frozen.graph.as_graph_def(), {SERVING: signature}), signature


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = dims_of(tensor.shape.as_proto())
    return TensorSpec(name, datatype_of(tensor.dtype.as_datatype_enum, f"output {name!r}"), shape)  # type: ignore[arg-type]


def one_line(error: Exception) -> str:
    """What an error of Keras says, without where it was met."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in str(error).splitlines()]
    noise = ("Exception encountered when calling", "in user code", "File ", "Arguments received", "Traceback", "•", "*")
    told = [line for line in lines if line and not line.startswith(noise)]
    return told[0].split(". ")[0][:300] if told else type(error).__name__
