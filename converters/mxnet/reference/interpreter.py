"""Runs a symbol's graph in numpy, an operator at a time.

Operators without a numpy function are computed by their translation, alone, with the shapes that really occur and
without optimisation: no second opinion on their meaning, which the report then says, but one on shapes that were not
known when the whole graph was translated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from converters.base import Arrays
from converters.graph import open_session
from converters.mxnet.attributes import Attributes
from converters.mxnet.binding import Binding
from converters.mxnet.emitter import Emitter
from converters.mxnet.onnx_nodes import new_model
from converters.mxnet.reference.decisions import DECIDING, Translated, settled
from converters.mxnet.reference.registry import numpy_operators
from converters.mxnet.symbol import VARIABLE, Entry, Graph, Node, Origin
from converters.mxnet.translate import outputs_used, translate_node

Read = Callable[[str], np.ndarray]
NOTHING_DECIDED: Mapping[Entry, np.ndarray] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Context:
    """What a numpy operator with subgraphs needs beside its arrays."""

    node: Node
    origin: Origin
    run: Callable[[Graph, Sequence[np.ndarray | None]], list[np.ndarray]]
    """Runs a subgraph for its inputs, in the order of `Graph.arguments`; gives its heads."""

    @property
    def attrs(self) -> Attributes:
        """The node's attributes."""
        return self.node.attrs

    @property
    def subgraphs(self) -> tuple[Graph, ...]:
        """The node's graphs inside."""
        return self.node.subgraphs


class Interpreter:
    """A model in numpy, with its parameters in memory.

    `translated`, where it is given, settles what rounding would decide (`decisions.py`), within `rtol`.
    """

    def __init__(self, binding: Binding, read: Read, translated: Translated | None = None, rtol: float = 0.0) -> None:
        self._binding = binding
        self._translated = translated
        self._rtol = rtol
        self._parameters = {index: read(key) for index, key in binding.parameters.items()}

    def run(self, inputs: Arrays, heads: Sequence[str]) -> dict[str, np.ndarray]:
        """The outputs, under the names `heads`. An input that has a default may be left out."""
        variables: dict[int, np.ndarray | None] = dict(self._parameters)
        for name, indices in self._binding.inputs.items():
            variables.update(dict.fromkeys(indices, inputs.get(name)))
        decided = self._translated(inputs) if self._translated else {}
        return dict(zip(heads, run_graph(self._binding.graph, variables, decided, self._rtol), strict=True))


def unseconded(graph: Graph) -> list[str]:
    """The operators of a graph, subgraphs included, that numpy does not compute here."""
    ops = {node.op for node in graph.nodes} - {VARIABLE} - numpy_operators().keys()
    inner = {op for node in graph.nodes for each in node.subgraphs for op in unseconded(each)}
    return sorted(ops | inner)


def run_graph(
    graph: Graph,
    variables: Mapping[int, np.ndarray | None],
    decided: Mapping[Entry, np.ndarray] = NOTHING_DECIDED,
    rtol: float = 0.0,
) -> list[np.ndarray]:
    """The heads of a graph. Values that nobody needs any more are let go.

    `decided` are the translated graph's values that its deciding operators read; see `decisions.py`.
    """
    used = outputs_used(graph)
    last = _last_uses(graph)
    values: dict[int, Sequence[np.ndarray | None]] = {index: (array,) for index, array in variables.items()}
    for index, node in enumerate(graph.nodes):
        if index in used and node.op != VARIABLE:
            inputs = [values[source][output] for source, output in node.inputs]
            if node.op in DECIDING:
                pairs = zip(inputs, node.inputs, strict=True)
                inputs = [settled(mine, decided.get(entry), rtol) for mine, entry in pairs]
            values[index] = _run_node(node, graph.origin, inputs, used[index])
            for source, _ in node.inputs:
                if last[source] == index and graph.nodes[source].op != VARIABLE:
                    values.pop(source, None)
    return [np.asarray(values[index][output]) for index, output in graph.heads]


def _last_uses(graph: Graph) -> dict[int, int]:
    """The last node that reads each node; heads are read after all."""
    last = {source: index for index, node in enumerate(graph.nodes) for source, _ in node.inputs}
    return last | {index: len(graph.nodes) for index, _ in graph.heads}


def _run_node(
    node: Node, origin: Origin, inputs: Sequence[np.ndarray | None], used: frozenset[int]
) -> Sequence[np.ndarray]:
    function = numpy_operators().get(node.op)
    if function is None:
        return _by_translation(node, origin, inputs, used)

    def run(inner: Graph, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        graph = dataclasses.replace(inner, origin=origin)
        return run_graph(graph, dict(zip(graph.arguments, arrays, strict=True)))

    with np.errstate(all="ignore"):
        made = function(Context(node, origin, run), *inputs)
    return (made,) if isinstance(made, np.ndarray | np.generic) else tuple(made)


def _by_translation(
    node: Node, origin: Origin, inputs: Sequence[np.ndarray | None], used: frozenset[int]
) -> Sequence[np.ndarray]:
    """The translated operator alone, in ONNX Runtime."""
    g = Emitter()
    feeds = {f"input{place}": array for place, array in enumerate(inputs) if array is not None}
    values = {name: g.input(name, array.dtype, array.shape) for name, array in feeds.items()}
    outputs = translate_node(node, g, [values.get(f"input{place}") for place in range(len(inputs))], origin, used)
    model = new_model("node")
    g.finish(model.graph, list(values.values()), [(f"output{place}", value) for place, value in enumerate(outputs)])
    session = open_session(g.serialized(model), threads=1, optimise=False)
    return [np.asarray(array) for array in session.run(None, feeds)]
