"""What ONNX Runtime can't serve, or would serve wrongly: told before anything is run, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from model_store.errors import ConversionError

SERVED_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""ONNX Runtime's builds bring kernels for these."""
_EXTENSIONS = "these belong to onnxruntime-extensions: export the model without its pre-processing"
_LAID_OUT = "the file was saved after ONNX Runtime had laid it out for one processor: give the original"
HINTS = {
    "ai.onnx.contrib": _EXTENSIONS,
    "com.microsoft.extensions": _EXTENSIONS,
    "com.microsoft.nchwc": _LAID_OUT,
    "com.ms.internal.nhwc": _LAID_OUT,
    "ai.onnx.preview.training": "these train: export the model for inference",
    "org.pytorch.aten": "the exporter left operators of PyTorch: export with dynamo=True, or give the .pt2 itself",
    "org.pytorch._caffe2": "the exporter left operators of Caffe2: export again with a current PyTorch",
}
HINT = "export the model with ONNX's own operators, or carry them as functions in the model"
UNSERVED_TYPES = ("FLOAT8", "INT4", "UINT4", "FLOAT4", "INT2", "UINT2", "COMPLEX")


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the graph, of the graphs inside of it, and of the model's functions."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                waiting.extend(graph.node)


def vet(model: onnx.ModelProto) -> None:
    """Raises `ConversionError` for operators of custom domains, for nodes in training mode, and for public tensors of
    types that are not served."""
    _refuse_custom_domains(model)
    _refuse_training_mode(model)
    _refuse_types(model)


def _refuse_custom_domains(model: onnx.ModelProto) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    custom = sorted(
        {
            (node.domain, node.op_type)
            for node in all_nodes(model)
            if node.domain not in SERVED_DOMAINS and (node.domain, node.op_type) not in own
        }
    )
    if custom:
        names = [f"{domain}.{name}" for domain, name in custom]
        hint = HINTS.get(custom[0][0], HINT)
        raise ConversionError(
            f"the model uses operators of custom domains, which ONNX Runtime does not have: {', '.join(names)}; {hint}",
            operators=names,
        )


def _refuse_training_mode(model: onnx.ModelProto) -> None:
    """A `Dropout` that drops, or a `BatchNormalization` that takes statistics of the batch, is an export made without
    `eval()`: ONNX Runtime would run it, and answer at random or by the company a row has."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in all_nodes(model)
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in all_nodes(model):
        if node.domain in ("", "ai.onnx") and (_trains(node, constants) or (opset < 7 and _trained_of_old(node))):
            raise ConversionError(
                f"the model was exported in training mode ({node.op_type} {node.name or node.output[0]!r}): "
                "export it for inference (PyTorch: after model.eval(); Keras: training=False)"
            )


def _trains(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    if node.op_type == "BatchNormalization":
        return any(each.name == "training_mode" and each.i for each in node.attribute)
    if node.op_type != "Dropout" or len(node.input) < 3 or node.input[2] not in constants:
        return False
    training = bool(np.all(numpy_helper.to_array(constants[node.input[2]])))
    ratio = constants.get(node.input[1])
    return training and not (ratio is not None and float(numpy_helper.to_array(ratio)) == 0)


def _trained_of_old(node: onnx.NodeProto) -> bool:
    """Before opset 7 both trained unless `is_test` was set."""
    return node.op_type in ("Dropout", "BatchNormalization") and not describe_attribute(node, "is_test")


def _refuse_types(model: onnx.ModelProto) -> None:
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialised]
    if not inputs:
        raise ConversionError("the model has no inputs: it answers every request the same")
    for role, values in (("input", inputs), ("output", model.graph.output)):
        for value in values:
            kind = value.type.WhichOneof("value")
            if kind not in (None, "tensor_type"):
                raise ConversionError(
                    f"{role} {value.name!r} is a {kind.removesuffix('_type')}, and tensors are served: "
                    + ("end the model before it, or with ConcatFromSequence" if role == "output" else "give tensors in")
                )
            name = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
            if name.startswith(UNSERVED_TYPES):
                raise ConversionError(
                    f"{role} {value.name!r} has the type {name.lower()}, which no client can send or read: "
                    "put a Cast to float or int8 at its place"
                )


def describe_attribute(node: onnx.NodeProto, name: str) -> Any:
    """The value of an attribute; None when the node does not have it."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), None)
