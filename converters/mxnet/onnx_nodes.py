"""Single ONNX nodes: their outputs' types inferred, their outputs computed, those that are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from converters.mxnet.values import Value
from model_store.errors import ConversionError, first_line

OPSET = 21
IR_VERSION = 10
_OPSETS = [helper.make_opsetid("", OPSET)]
LARGEST_HINT = 64
"""Elements of a constant that shape inference is told: axes, sizes and bounds are short."""
MOST_GROWTH, SMALL = 4, 1 << 16
"""What is computed from constants may have so many times their elements, or so many; the rest is left to the graph."""


@dataclass(frozen=True)
class Emitted:
    """A node and the values it reads."""

    node: onnx.NodeProto
    inputs: tuple[Value | None, ...]


def new_model(name: str) -> onnx.ModelProto:
    """A model without nodes, for `Emitter.finish` to fill its graph."""
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="onegate")
    model.opset_import.extend(_OPSETS)
    model.graph.name = name
    return model


def declared(value: Value) -> onnx.ValueInfoProto:
    """Name, type and shape as a graph's inputs and outputs have them."""
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(value.name, kind, list(value.shape))


def infer(emitted: Emitted, constant: Callable[[Value], np.ndarray | None]) -> dict[str, onnx.TypeProto]:
    """Types of a node's outputs by name. `constant` gives the numbers of values that have some.

    Raises `ConversionError` when the inputs don't fit the operator.
    """
    node = emitted.node
    schema = defs.get_schema(node.op_type, OPSET, "")
    values = [value for value in emitted.inputs if value is not None]
    types = {value.name: declared(value).type for value in values}
    hints = {value.name: hint for value in values if (hint := _hint(value, constant)) is not None}
    try:
        found: dict[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
            schema, node, types, hints, opset_imports=_OPSETS, ir_version=IR_VERSION
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        shapes = ", ".join(map(str, values))
        raise ConversionError(f"{node.op_type} does not take {shapes}: {first_line(error)}") from error
    return found


def _hint(value: Value, constant: Callable[[Value], np.ndarray | None]) -> onnx.TensorProto | None:
    """The numbers of a short int64 vector: what shape inference may want to know."""
    if value.dtype != np.int64 or len(value.shape) > 1:
        return None
    elements = _elements(value)
    if elements is None or elements > LARGEST_HINT:
        return None
    array = constant(value)
    return None if array is None else numpy_helper.from_array(np.array(array, order="C"), value.name)


def _elements(value: Value) -> int | None:
    sizes = [size for size in value.shape if isinstance(size, int)]
    return math.prod(sizes) if len(sizes) == len(value.shape) else None


def known_shape(emitted: Emitted) -> np.ndarray | None:
    """What a Shape node gives, where the shape is known: without the numbers of the tensor."""
    (tensor,) = emitted.inputs
    bounds = {attribute.name: attribute.i for attribute in emitted.node.attribute}
    sizes = tensor.shape[bounds.get("start", 0) : bounds.get("end")] if tensor else ()
    return None if any(isinstance(size, str) for size in sizes) else np.array(sizes, dtype=np.int64)


def compute(emitted: Emitted, output: Value, arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """One output of a node for inputs that are known; None where it would be far larger than they are."""
    elements = _elements(output)
    given = sum(array.size for array in arrays if array is not None)
    if elements is None or elements > max(MOST_GROWTH * given, SMALL):
        return None
    feeds = {value.name: array for value, array in zip(emitted.inputs, arrays, strict=True) if value is not None}
    graph = onnx.GraphProto(name="node")
    graph.node.append(emitted.node)
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in feeds)
    graph.output.append(onnx.ValueInfoProto(name=output.name))
    (result,) = ReferenceEvaluator(helper.make_model(graph, opset_imports=_OPSETS)).run(None, feeds)
    return np.asarray(result)


def needed(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Those nodes that lead to `wanted`, in order, and all names that they read."""
    kept: list[onnx.NodeProto] = []
    names = set(wanted)
    for node in reversed(nodes):
        if names.isdisjoint(node.output):
            continue
        kept.append(node)
        names.update(name for name in node.input if name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names.update(name for inner in attribute.g.node for name in _reads(inner))
    return kept[::-1], names


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from _reads(inner)
