"""From a model's call to ONNX: traced, frozen, and handed to tf2onnx as any TensorFlow graph is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Range
from converters.keras.call import ModelCall
from converters.keras.domains import read_choices, read_ranges
from converters.keras.operators import register
from converters.keras.tracing import open_traced, trace
from converters.tensorflow.domain import read_domain
from converters.tensorflow.freezing import FrozenGraph, freeze
from converters.tensorflow.onnx_export import export_graph
from converters.tensorflow.session import GraphSession
from converters.tensorflow.shapes import with_known_ranks
from converters.tensorflow.signatures import GraphSignature, node_name
from model_store.errors import ConversionError
from model_store.manifest import Signature

Domains = tuple[dict[str, Range], dict[str, np.ndarray]]


@dataclass(frozen=True)
class ExportedCall:
    """The ONNX model, and where its inputs lie."""

    model: Any
    ranges: dict[str, Range]
    choices: dict[str, np.ndarray]


def export_call(call: ModelCall, folder: Path) -> ExportedCall:
    """`folder` is new, and scratch. Raises `ConversionError` that names what can't be converted."""
    register()
    loaded, wanted = open_traced(call, trace(call), folder)
    frozen = freeze(loaded, wanted)
    ranges, choices = _domains(call, frozen, wanted)
    wanted = replace(wanted, signature=with_known_ranks(wanted.signature, call.run, ranges, choices))
    used = _used(frozen, wanted)
    model = export_graph(frozen, used)
    _add_unused(model, used, wanted)
    return ExportedCall(model, ranges, choices)


def read_domains(call: ModelCall, loaded: GraphSession, wanted: GraphSignature) -> Domains:
    """Where the inputs of a model lie that is served as a graph."""
    try:
        return _domains(call, freeze(loaded, wanted), wanted)
    except ConversionError:
        return read_ranges(call), read_choices(call)


def _domains(call: ModelCall, frozen: FrozenGraph, wanted: GraphSignature) -> Domains:
    """What the layers tell, and what the graph tells of other inputs."""
    ranges, choices = read_domain(frozen, wanted)
    return {**ranges, **read_ranges(call)}, {**choices, **read_choices(call)}


def _used(frozen: FrozenGraph, wanted: GraphSignature) -> GraphSignature:
    """The signature without inputs that nothing in the graph reads: tf2onnx drops them."""
    read = {node_name(tensor) for node in frozen.graph_def.node for tensor in node.input}
    read |= {node_name(tensor) for tensor in wanted.outputs.values()}
    inputs = {name: tensor for name, tensor in wanted.inputs.items() if node_name(tensor) in read}
    specs = tuple(spec for spec in wanted.signature.inputs if spec.name in inputs)
    return replace(wanted, inputs=inputs, signature=Signature(specs, wanted.signature.outputs))


def _add_unused(model: Any, used: GraphSignature, wanted: GraphSignature) -> None:
    """Gives the graph its unread inputs back, at their place: clients send them."""
    import onnx

    from model_store.datatypes import DTYPES

    for index, spec in enumerate(wanted.signature.inputs):
        if spec.name in used.inputs:
            continue
        kind = onnx.TensorProto.STRING if spec.datatype == "BYTES" else None
        kind = kind or onnx.helper.np_dtype_to_tensor_dtype(DTYPES[spec.datatype])
        shape = ["batch" if axis == 0 else None if size < 0 else size for axis, size in enumerate(spec.shape)]
        model.graph.input.insert(index, onnx.helper.make_tensor_value_info(spec.name, kind, shape))
