"""The registry of translations: MXNet's operator names to functions that write ONNX.

A translation is a function of the node and of its inputs, which are called as MXNet calls them:

    @mxnet_op("FullyConnected")
    def fully_connected(node: OpNode, data: Value, weight: Value, bias: Value | None = None) -> Value:

An input without a default that a file leaves out (old files leave out auxiliary states) is the variable
`NODE_INPUT`, as MXNet itself would name it. Families are the modules of `ops/`; importing one fills the registry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TypeVar

from converters.mxnet.attributes import Attributes
from converters.mxnet.emitter import Emitter
from converters.mxnet.symbol import Graph, Node, Origin
from converters.mxnet.values import Value
from model_store.errors import ConversionError

Outputs = Value | Sequence[Value]
"""One value, or one for each of the operator's outputs, in MXNet's order."""
Translation = Callable[..., Outputs]
_T = TypeVar("_T", bound=Translation)

FAMILIES: tuple[str, ...] = (
    "activations",
    "arithmetic",
    "attention",
    "blocks",
    "boxes",
    "comparisons",
    "control_flow",
    "convolutions",
    "correlation",
    "creation",
    "deformable",
    "deformable_regions",
    "diagonals",
    "expanding",
    "extremes",
    "gathering",
    "heads",
    "images",
    "indexing",
    "joining",
    "layout",
    "linear_algebra",
    "multibox",
    "normalisations",
    "numpy_arithmetic",
    "numpy_comparisons",
    "numpy_joining",
    "numpy_reductions",
    "padding",
    "pooling",
    "products",
    "proposals",
    "quantised",
    "quantised_layers",
    "recurrent",
    "reductions",
    "regions",
    "resampling",
    "reshaping",
    "reversing",
    "rounding",
    "sampling",
    "scalars",
    "sequences",
    "slicing",
    "softmax",
    "sorting",
    "special",
    "suppression",
    "triangles",
    "unary",
)
"""Modules of `ops/`."""
MOST_SHOWN = 400
"""Characters of a refusal."""


@dataclass(frozen=True)
class OpNode:
    """What a translation is given beside its inputs."""

    g: Emitter
    """Where the ONNX nodes go."""
    node: Node
    origin: Origin
    """Of the file."""
    translate: Callable[[Graph, Emitter, Sequence[Value | None]], list[Value]]
    """Writes a subgraph into an emitter, for its inputs in the order of `Graph.arguments`; gives its heads."""
    outputs_used: frozenset[int] = frozenset((0,))
    """Which outputs the graph reads."""

    @property
    def attrs(self) -> Attributes:
        """The node's attributes."""
        return self.node.attrs

    def refuse(self, text: str) -> ConversionError:
        """The error for what is not supported; it names operator and node. Attributes of a broken file may be long."""
        shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}.."
        return ConversionError(f"{self.node.where}: {shown}")


@dataclass(frozen=True)
class Operator:
    """A translation and what the walk over the graph must know of it."""

    name: str
    translation: Translation
    arguments: tuple[str, ...]
    """Names of its inputs, in order."""
    required: tuple[str, ...]
    """Those that every node has."""
    most: int | None
    """How many inputs a node may have; None for any number."""
    auxiliary: frozenset[str]
    """Inputs whose values are looked up among the auxiliary states first."""
    ignored: int
    """Further inputs at the end that mean nothing at inference: labels."""
    optional: frozenset[int]
    """Positions of inputs that are None where nothing feeds them: begin states."""


_OPERATORS: dict[str, Operator] = {}


def mxnet_op(
    *names: str, auxiliary: Sequence[str] = (), ignored: int = 0, optional: Sequence[str] = ()
) -> Callable[[_T], _T]:
    """Registers a translation under the canonical names of MXNet (`aliases.py` knows the others)."""

    def register(translation: _T) -> _T:
        parameters = list(inspect.signature(translation).parameters.values())[1:]
        named = [each for each in parameters if each.kind != each.VAR_POSITIONAL]
        required = tuple(each.name for each in named if each.default is each.empty)
        many = len(named) < len(parameters)
        places = frozenset(index for index, each in enumerate(parameters) if each.name in optional)
        for name in names:
            if name in _OPERATORS:
                raise ValueError(f"MXNet operator {name!r} is translated twice")
            _OPERATORS[name] = Operator(
                name,
                translation,
                tuple(each.name for each in named),
                required,
                None if many else len(parameters),
                frozenset(auxiliary),
                ignored,
                places,
            )
        return translation

    return register


@cache
def operators() -> dict[str, Operator]:
    """All translations by MXNet's canonical name."""
    for family in FAMILIES:
        import_module(f"converters.mxnet.ops.{family}")
    return _OPERATORS
