"""Which variables of a graph are parameters, which are inputs, and which have a default.

Old files leave out auxiliary states, and heads carry labels that mean nothing at inference: both are mended first, so
that whoever walks the graph afterwards sees every input that counts and no other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from converters.mxnet.registry import Operator, operators
from converters.mxnet.symbol import VARIABLE, Entry, Graph, Node


@dataclass(frozen=True)
class Binding:
    """A graph whose variables are told apart."""

    graph: Graph
    parameters: Mapping[int, str]
    """Variable -> its key in the parameter file, prefix included."""
    inputs: Mapping[str, tuple[int, ...]]
    """Free inputs by name, in MXNet's order (depth first from the heads) -> the variables of that name."""
    defaulted: frozenset[str]
    """Inputs that operators can do without: begin states, which are zeros then."""

    def consumers(self, name: str) -> list[tuple[Node, int]]:
        """The nodes that read the input, with the position at which they do."""
        wanted = set(self.inputs[name])
        return [
            (node, place)
            for node in self.graph.nodes
            for place, (source, _) in enumerate(node.inputs)
            if source in wanted
        ]


def complete(graph: Graph) -> Graph:
    """The graph without labels, with a variable for each input that a node's file leaves out, in subgraphs too."""
    nodes: list[Node] = []
    added: list[Node] = []
    for node in graph.nodes:
        operator = operators().get(node.op)
        inputs = node.inputs if operator is None else _without_labels(node, operator)
        missing = () if operator is None else operator.required[len(inputs) :]
        places = [(len(graph.nodes) + len(added) + offset, 0) for offset in range(len(missing))]
        added += [Node(VARIABLE, f"{node.name}_{argument}") for argument in missing]
        subgraphs = tuple(map(complete, node.subgraphs))
        nodes.append(dataclasses.replace(node, inputs=(*inputs, *places), subgraphs=subgraphs))
    return dataclasses.replace(graph, nodes=(*nodes, *added))


def _without_labels(node: Node, operator: Operator) -> tuple[Entry, ...]:
    if operator.most is None or len(node.inputs) <= operator.most:
        return node.inputs
    return node.inputs[: max(operator.most, len(node.inputs) - operator.ignored)]


def bind(graph: Graph, names: Iterable[str]) -> Binding:
    """Binds a completed graph to the parameters called `names`: with prefixes as `arg:fc_weight`, or bare."""
    known = set(names)
    auxiliary = _auxiliary(graph)
    parameters: dict[int, str] = {}
    inputs: dict[str, list[int]] = {}
    for index in _variables_in_order(graph):
        name = graph.nodes[index].name
        prefixes = ("aux:", "arg:", "") if index in auxiliary else ("arg:", "aux:", "")
        key = next((prefix + name for prefix in prefixes if prefix + name in known), None)
        if key is not None:
            parameters[index] = key
        else:
            inputs.setdefault(name, []).append(index)
    free = {name: tuple(indices) for name, indices in inputs.items()}
    binding = Binding(graph, parameters, free, frozenset())
    defaulted = frozenset(name for name in free if _all_optional(binding.consumers(name)))
    return dataclasses.replace(binding, defaulted=defaulted)


def _auxiliary(graph: Graph) -> set[int]:
    """Variables that are auxiliary states of their operator: which ones is the operator's matter, not the file's."""
    found = set()
    for node in graph.nodes:
        operator = operators().get(node.op)
        if operator is not None and operator.auxiliary:
            pairs = zip(operator.required, node.inputs, strict=False)
            found |= {source for argument, (source, _) in pairs if argument in operator.auxiliary}
    return found


def _all_optional(consumers: list[tuple[Node, int]]) -> bool:
    return bool(consumers) and all(
        (operator := operators().get(node.op)) is not None and place in operator.optional for node, place in consumers
    )


def _variables_in_order(graph: Graph) -> list[int]:
    """Variables that lead to a head, as MXNet lists arguments: depth first, inputs from left to right."""
    order: list[int] = []
    seen: set[int] = set()
    stack = [index for index, _ in reversed(graph.heads)]
    while stack:
        index = stack.pop()
        if index in seen:
            continue
        seen.add(index)
        if graph.nodes[index].op == VARIABLE:
            order.append(index)
        stack.extend(source for source, _ in reversed(graph.nodes[index].inputs))
    return order
