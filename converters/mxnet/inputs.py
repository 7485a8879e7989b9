"""The inputs of a model: which of the graph's free variables they are, and their datatypes and shapes.

A symbol carries no shapes, but for hints that some exporters leave. What the user declares wins over hints; what nobody
says is asked for, with what the first layer tells.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from converters.base import ConversionOptions
from converters.mxnet.binding import Binding
from converters.mxnet.params import Parameters
from converters.mxnet.registry import operators
from converters.mxnet.symbol import Node
from model_store.datatypes import DATATYPES
from model_store.errors import ConfigError, SourceError
from model_store.manifest import TensorSpec

_SAME_SHAPE = frozenset((
    "Activation", "BatchNorm", "BlockGrad", "Cast", "Dropout", "LeakyReLU", "Pad", "_copy", "_div_scalar",
    "_minus_scalar", "_mul_scalar", "_plus_scalar", "amp_cast",
))  # fmt: skip
"""Operators after which an input still has its channels."""
_WEIGHTS = frozenset(("weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "parameters"))
"""Operators' inputs that a model brings itself."""


def model_inputs(binding: Binding, parameters: Parameters, options: ConversionOptions) -> list[TensorSpec]:
    """The inputs in MXNet's order (depth first from the heads).

    Raises `ConfigError` that lists what has to be declared, or what was declared and is no input; `SourceError` where
    the graph reads weights that the file of parameters does not have.
    """
    declared = {spec.name: spec for spec in options.inputs or ()}
    unknown = sorted(declared.keys() - binding.inputs.keys())
    if unknown:
        raise ConfigError(
            f"inputs: the graph has no free variable {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(binding.inputs) or 'none'}"
        )
    hints = {name: _hinted(binding, name) for name in binding.inputs}
    specs = {name: declared.get(name) or hints[name] for name in binding.inputs}
    missing = [name for name, spec in specs.items() if spec is None and name not in binding.defaulted]
    if lost := [name for name in missing if _is_weight(binding, name)]:
        named = ", ".join(lost[:5]) + (" and others" if len(lost) > 5 else "")
        raise SourceError(f"the graph reads {named}, which the parameters lack: do both files belong to one model?")
    if missing:
        asked = ", ".join(_suggestion(binding, parameters, name) for name in missing)
        raise ConfigError(
            f"an MXNet graph carries no shapes: declare `inputs: [{asked}]`, with -1 for a size that differs between "
            "requests (on the command line --input NAME:DATATYPE:DIMS)",
            inputs=missing,
        )
    return [_servable(spec) for spec in specs.values() if spec is not None]


def _is_weight(binding: Binding, name: str) -> bool:
    read_as = [operators()[node.op].arguments[place : place + 1] for node, place in binding.consumers(name)]
    return any(not _WEIGHTS.isdisjoint(arguments) for arguments in read_as)


def _servable(spec: TensorSpec) -> TensorSpec:
    if spec.datatype in ("BYTES", "BF16"):
        raise ConfigError(f"inputs: {spec.name!r}: MXNet has no inputs of datatype {spec.datatype}")
    return spec


def _hinted(binding: Binding, name: str) -> TensorSpec | None:
    """What `mx.sym.var(name, shape=.., dtype=..)` left in the file, where it tells the rank."""
    for index in binding.inputs[name]:
        hints = Node("null", name, texts=binding.graph.nodes[index].hints).attrs
        shape = hints.integers("__shape__", None)
        if shape:
            dtype = hints.dtype("__dtype__", np.dtype(np.float32))
            return TensorSpec(name, DATATYPES[dtype], tuple(size if size > 0 else -1 for size in shape))
    return None


def _suggestion(binding: Binding, parameters: Parameters, name: str) -> str:
    return f"{{name: {name}, datatype: FP32, shape: {_known_shape(binding, parameters, name)}}}"


def _known_shape(binding: Binding, parameters: Parameters, name: str) -> str:
    """The shape as far as the first layer with weights tells it."""
    found = _first_layer(binding, name)
    if found is None:
        return "[-1, ..]"
    node, weight = found
    shape = parameters.shape(binding.parameters[weight])
    if node.op == "Convolution":
        channels = shape[1] * node.attrs.integer("num_group", 1)
        return f"[-1, {channels}, {', '.join('HWD'[: len(shape) - 2])}]"
    return f"[-1, {shape[1]}]"


def _first_layer(binding: Binding, name: str) -> tuple[Node, int] | None:
    """The convolution or fully connected layer that reads the input, perhaps behind what keeps its shape."""
    reached = set(binding.inputs[name])
    for index, node in enumerate(binding.graph.nodes):
        if not node.inputs or node.inputs[0][0] not in reached:
            continue
        if node.op in ("Convolution", "FullyConnected") and node.inputs[1][0] in binding.parameters:
            return node, node.inputs[1][0]
        if node.op in _SAME_SHAPE:
            reached.add(index)
    return None


def declared_sizes(specs: list[TensorSpec]) -> Mapping[str, tuple[int | str, ...]]:
    """Shapes with a name for each free size. No two inputs share one: they may well differ."""
    return {
        spec.name: tuple(
            size if size >= 0 else ("batch" if place == axis == 0 else f"{spec.name}_{axis}")
            for axis, size in enumerate(spec.shape)
        )
        for place, spec in enumerate(specs)
    }
