"""MXNet models, as `HybridBlock.export`, `Module.save_checkpoint` and MXNet Model Server's archives hold them, to ONNX.

MXNet itself is not needed: both files are read here, every operator is translated by `ops/`, and what the translation
computes is compared with the operators in numpy (`reference/`), or with a real MXNet where the user has one.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx

from converters.base import Arrays, Conversion, ConversionOptions, Converter, Run
from converters.mxnet.binding import Binding, bind, complete
from converters.mxnet.emitter import Emitter
from converters.mxnet.files import ModelFiles, explain_unbound, find_model, looks_like_model
from converters.mxnet.inputs import declared_sizes, model_inputs
from converters.mxnet.meanings import sensible_values
from converters.mxnet.model_file import Weight, write_model_file
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.params import Parameters, open_params
from converters.mxnet.symbol import Graph, read_symbol
from converters.mxnet.translate import check_operators, translate
from converters.mxnet.values import Value
from model_store.datatypes import DATATYPES, DTYPES
from model_store.errors import SourceError
from model_store.manifest import Signature, TensorSpec


class MXNetConverter(Converter):
    """`PREFIX-symbol.json` with `PREFIX-NNNN.params`."""

    framework = "mxnet"
    extra = None
    kinds = "an MXNet model (PREFIX-symbol.json with PREFIX-NNNN.params: either file, or a folder of both)"
    revision = 1

    def detects(self, source: Path) -> bool:
        """See `looks_like_model`."""
        return looks_like_model(source)

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The translated graph, and its second opinion.

        Raises `SourceError` for files that are damaged or don't belong together, `ConfigError` that says which inputs
        to declare, `ConversionError` that lists operators without a translation or names the node that has none.
        """
        files = find_model(source)
        parameters, binding = read_model(files)
        specs = model_inputs(binding, parameters, options)
        model, weights, outputs = write_model(binding, parameters, specs)
        path = write_model_file(model, weights, workdir / "onnx")
        ranges, choices = sensible_values(binding, parameters, specs)
        reference, name = _reference(files, binding, parameters, outputs, options)
        return Conversion(
            path,
            Signature(tuple(specs), outputs),
            reference,
            name,
            libraries={"onnx": onnx.__version__},
            ranges=ranges,
            choices=choices,
        )


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
    binding: Binding, parameters: Parameters, specs: list[TensorSpec]
) -> tuple[onnx.ModelProto, list[Weight], tuple[TensorSpec, ...]]:
    """The ONNX model, its constants and its outputs, for inputs of these datatypes and shapes."""
    g = Emitter()
    sizes = declared_sizes(specs)
    inputs = {spec.name: g.input(spec.name, DTYPES[spec.datatype], sizes[spec.name]) for spec in specs}
    variables: dict[int, Value | None] = {
        index: g.weight(parameters.dtype(key), parameters.shape(key), partial(parameters.__getitem__, key))
        for index, key in binding.parameters.items()
    }
    for name, indices in binding.inputs.items():
        variables.update(dict.fromkeys(indices, inputs.get(name)))
    heads = translate(binding.graph, g, variables)
    names = head_names(binding.graph, taken=inputs)
    model = new_model("mxnet")
    g.finish(model.graph, list(inputs.values()), list(zip(names, heads, strict=True)))
    return model, g.weights(), tuple(_output(name, head) for name, head in zip(names, heads, strict=True))


def _output(name: str, value: Value) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(name, DATATYPES[value.dtype], shape)


def head_names(graph: Graph, taken: Arrays | dict[str, Value]) -> list[str]:
    """Names of the outputs as MXNet lists them: `NODE_output`, with a number where a node gives several."""
    several = {index for index, output in graph.heads if output}
    names: list[str] = []
    for index, output in graph.heads:
        name = f"{graph.nodes[index].name}_output{output if index in several else ''}"
        while name in names or name in taken:
            name += "_"
        names.append(name)
    return names


def _reference(
    files: ModelFiles,
    binding: Binding,
    parameters: Parameters,
    outputs: tuple[TensorSpec, ...],
    options: ConversionOptions,
) -> tuple[Run, str]:
    names = [spec.name for spec in outputs]
    if options.against_mxnet is not None:
        from converters.mxnet.real import RealMXNet

        real = RealMXNet(options.against_mxnet, files, names)
        return real.run, f"mxnet {real.version}"
    from converters.mxnet.reference.interpreter import Interpreter, unseconded

    interpreter = cache(lambda: Interpreter(binding, parameters.__getitem__))

    def run(inputs: Arrays) -> dict[str, np.ndarray]:
        return interpreter().run(inputs, names)

    return run, _evidence(unseconded(binding.graph))


def _evidence(missing: list[str]) -> str:
    """What the report says the model was compared with."""
    if not missing:
        return "MXNet's operators in numpy"
    return f"MXNet's operators in numpy (no second opinion on {', '.join(missing)})"
