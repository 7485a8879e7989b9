"""A whole model: both files to a bound graph, the bound graph to an ONNX model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import partial

import onnx

from converters.mxnet.binding import Binding, bind, complete
from converters.mxnet.emitter import Emitter
from converters.mxnet.files import ModelFiles, explain_unbound
from converters.mxnet.inputs import declared_sizes
from converters.mxnet.model_file import Weight
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.params import Parameters, open_params
from converters.mxnet.symbol import Entry, Graph, read_symbol
from converters.mxnet.translate import check_operators, translate
from converters.mxnet.values import Value
from model_store.datatypes import DATATYPES, DTYPES
from model_store.errors import SourceError
from model_store.manifest import TensorSpec


@dataclasses.dataclass(frozen=True)
class Written:
    """An ONNX model whose graph lacks its weights, which are not read yet, and its outputs."""

    model: onnx.ModelProto
    weights: list[Weight]
    outputs: tuple[TensorSpec, ...]


def read_model(files: ModelFiles) -> tuple[Parameters, Binding]:
    """Parameters and bound graph of a model; raises as `MXNetConverter.convert`."""
    graph = read_symbol(files.symbol)
    check_operators(graph)
    parameters = open_params(files.params)
    binding = bind(complete(graph), parameters)
    if not binding.parameters and len(parameters) and any(binding.inputs):
        raise SourceError(explain_unbound(parameters, files.params.name))
    return parameters, binding


def write_model(
    binding: Binding, parameters: Parameters, specs: list[TensorSpec], heads: Sequence[Entry] | None = None
) -> Written:
    """The model for inputs of these datatypes and shapes; its outputs are the graph's heads, or other entries of it."""
    g = Emitter()
    graph = binding.graph if heads is None else dataclasses.replace(binding.graph, heads=tuple(heads))
    sizes = declared_sizes(specs)
    inputs = {spec.name: g.input(spec.name, DTYPES[spec.datatype], sizes[spec.name]) for spec in specs}
    variables: dict[int, Value | None] = {
        index: g.weight(parameters.dtype(key), parameters.shape(key), partial(parameters.__getitem__, key))
        for index, key in binding.parameters.items()
    }
    for name, indices in binding.inputs.items():
        variables.update(dict.fromkeys(indices, inputs.get(name)))
    values = translate(graph, g, variables)
    named = list(zip(head_names(graph, taken=inputs), values, strict=True))
    model = new_model("mxnet")
    g.finish(model.graph, list(inputs.values()), named)
    return Written(model, g.weights(), tuple(_output(name, value) for name, value in named))


def _output(name: str, value: Value) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(name, DATATYPES[value.dtype], shape)


def head_names(graph: Graph, taken: Iterable[str]) -> list[str]:
    """Names of the outputs as MXNet lists them: `NODE_output`, with a number where a node gives several."""
    used = set(taken)
    several = {index for index, output in graph.heads if output}
    names: list[str] = []
    for index, output in graph.heads:
        name = f"{graph.nodes[index].name}_output{output if index in several else ''}"
        while name in used:
            name += "_"
        used.add(name)
        names.append(name)
    return names
