"""The walk over a symbol's graph: each operator to its translation, in order.

Unknown operators are found before anything is written, all of them at once. Where inputs come from is `binding.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from converters.mxnet.emitter import Emitter
from converters.mxnet.registry import OpNode, operators
from converters.mxnet.symbol import VARIABLE, Graph, Node, Origin
from converters.mxnet.values import Value
from model_store.errors import ConversionError, OnegateError, first_line

_ADVICE = {
    "Custom": "whose Python code is not in the file",
    "_contrib_MultiBoxTarget": "which is for training: export the net with MultiBoxDetection at its end",
    "_contrib_RROIAlign": "whose rotated regions ONNX does not have",
    "_contrib_bipartite_matching": "which matches anchors with labelled boxes while training: export the detections",
}
"""Operators that have no translation for a reason -> what to say of them."""
_BACKENDS = ("_sg_", "_TensorRT", "_FusedOp", "_CachedOpThreadSafe", "_tvm", "_contrib_tvm")
_BACKEND_ADVICE = "written by a backend's optimiser: export the model without it (MXNET_SUBGRAPH_BACKEND=NONE)"
MAX_NAMED = 3
"""Nodes that are named for each unknown operator."""


def check_operators(graph: Graph) -> None:
    """Raises one `ConversionError` that lists all operators without a translation, with the names of their nodes."""
    unknown: dict[str, list[str]] = {}
    for node in _all_nodes(graph):
        if node.op != VARIABLE and node.op not in operators():
            unknown.setdefault(node.op, []).append(node.name)
    if unknown:
        listed = "; ".join(_named(op, names) for op, names in sorted(unknown.items()))
        raise ConversionError(
            f"no translation for {len(unknown)} of the model's MXNet operators: {listed}", operators=sorted(unknown)
        )


def _all_nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for inner in node.subgraphs:
            yield from _all_nodes(inner)


def _named(op: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    advice = _ADVICE.get(op, _BACKEND_ADVICE if op.startswith(_BACKENDS) else "")
    hint = f", {advice}" if advice else ""
    return f"{op} ({', '.join(names[:MAX_NAMED])}{more}{hint})"


def translate(graph: Graph, g: Emitter, variables: Mapping[int, Value | None]) -> list[Value]:
    """Writes `graph` into `g` and gives its heads.

    `variables` are the values of the variables by their index; None stands for an input that has a default of its own
    (a begin state). Raises `ConversionError` that names operator and node.
    """
    used = outputs_used(graph)
    values: dict[int, Sequence[Value | None]] = {index: (value,) for index, value in variables.items()}
    for index, node in enumerate(graph.nodes):
        if index in used and node.op != VARIABLE:
            inputs = [_output(graph, values, entry) for entry in node.inputs]
            values[index] = translate_node(node, g, inputs, graph.origin, used[index])
    heads = [_output(graph, values, head) for head in graph.heads]
    return [head for head in heads if head is not None]


def _translate_subgraph(origin: Origin, graph: Graph, g: Emitter, inputs: Sequence[Value | None]) -> list[Value]:
    whole = Graph(graph.nodes, graph.heads, graph.arguments, origin)
    return translate(whole, g, dict(zip(graph.arguments, inputs, strict=True)))


def translate_node(
    node: Node, g: Emitter, inputs: Sequence[Value | None], origin: Origin, used: frozenset[int]
) -> Sequence[Value]:
    """Writes one operator; gives its outputs, those in `used` at least. Raises as `translate`."""
    context = OpNode(g, node, origin, partial(_translate_subgraph, origin), used)
    operator = operators()[node.op]
    if len(inputs) < len(operator.required) or (operator.most is not None and len(inputs) > operator.most):
        raise context.refuse(f"takes {', '.join(operator.required)}, got {len(inputs)} inputs")
    try:
        made = operator.translation(context, *inputs)
    except OnegateError as error:
        if error.message.startswith(context.node.where):
            raise
        raise context.refuse(error.message) from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        # Files may hold attributes and shapes that no MXNet would write; what they make of a translation is one error.
        raise context.refuse(f"its attributes and inputs don't fit together ({first_line(error)})") from error
    return (made,) if isinstance(made, Value) else tuple(made)


def _output(graph: Graph, values: Mapping[int, Sequence[Value | None]], entry: tuple[int, int]) -> Value | None:
    index, output = entry
    made = values.get(index, ())
    if output >= len(made):
        node = graph.nodes[index]
        raise ConversionError(f"{node.where}: its output {output} has no meaning at inference, and the graph uses it")
    return made[output]


def outputs_used(graph: Graph) -> dict[int, frozenset[int]]:
    """For each node that leads to a head, those of its outputs that are read."""
    used: dict[int, set[int]] = {}
    for index, output in graph.heads:
        used.setdefault(index, set()).add(output)
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in used:
            for source, output in graph.nodes[index].inputs:
                used.setdefault(source, set()).add(output)
    return {index: frozenset(outputs) for index, outputs in used.items()}
