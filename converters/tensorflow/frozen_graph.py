"""Frozen graphs (`.pb`): weights are constants, and nothing says what goes in and what comes out.

Placeholders are inputs, results that nobody uses are outputs; the config's `inputs:` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from converters.tensorflow.session import GraphSession, one_line, open_graph, quiet
from converters.tensorflow.signatures import (
    DEFAULT_SIGNATURE,
    GraphSignature,
    node_name,
    public_name,
    tensor_name,
    tensor_spec,
)
from converters.tensorflow.vetting import vet_graph
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import Signature, TensorSpec

NO_RESULTS = frozenset({"NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault", "PlaceholderV2", "Print"})
VARIABLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})


def load_frozen_graph(path: Path, source: str, asked: Sequence[TensorSpec] | None, *, trust: bool) -> GraphSession:
    """The graph with the one signature that is read off it, or that `asked` names inputs of.

    Raises `SourceError` for a file that can't be read, `ConfigError` when `asked` does not fit, and what
    `vetting.py` raises.
    """
    graph_def = read_graph(path, source)
    unfrozen = sorted(node.name for node in graph_def.node if node.op in VARIABLES)
    if unfrozen:
        raise ConversionError(
            f"source {source!r} is a graph whose variable {unfrozen[0]!r} has no value in it; save a SavedModel, "
            "or freeze the graph (convert_variables_to_constants)"
        )
    inputs = [spec.name for spec in asked] if asked else _placeholders(graph_def, source)
    outputs = _results(graph_def, inputs, source)
    vet_graph(graph_def, outputs, source, trust=trust)
    signature = _signature(graph_def, inputs, outputs, source)
    return open_graph(graph_def, {DEFAULT_SIGNATURE: signature})


def reopen_frozen_graph(path: Path, signature: Signature, *, trust: bool, threads: int) -> GraphSession:
    """The graph of a native version, whose signature is known."""
    graph_def = read_graph(path, path.name)
    wanted = signature_by_names(signature)
    vet_graph(graph_def, wanted.outputs.values(), path.name, trust=trust)
    return open_graph(graph_def, {DEFAULT_SIGNATURE: wanted}, threads=threads)


def signature_by_names(signature: Signature) -> GraphSignature:
    """A frozen graph's public names say which tensors they are."""
    return GraphSignature(
        name=DEFAULT_SIGNATURE,
        inputs={spec.name: tensor_name(spec.name) for spec in signature.inputs},
        outputs={spec.name: tensor_name(spec.name) for spec in signature.outputs},
        signature=signature,
    )


def read_graph(path: Path, source: str) -> Any:
    """The `GraphDef`; raises `SourceError` when it is cut off or damaged."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import graph_pb2

    graph_def = graph_pb2.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise SourceError(f"source {source!r} is cut off or damaged: {error}") from error
    return graph_def


def _placeholders(graph_def: Any, source: str) -> list[str]:
    found = [node.name for node in graph_def.node if node.op in ("Placeholder", "PlaceholderV2")]
    if not found:
        raise ConversionError(f"source {source!r} is a graph without a placeholder; name its inputs with `inputs:`")
    return found


def _results(graph_def: Any, inputs: Sequence[str], source: str) -> list[str]:
    """Tensors that depend on an input and that no operator takes, in the graph's order."""
    import tensorflow

    taken = {node_name(name) for node in graph_def.node if node.op not in NO_RESULTS for name in _values(node)}
    present = {node.name for node in graph_def.node}
    missing = [name for name in inputs if node_name(tensor_name(name)) not in present]
    if missing:
        raise ConfigError(
            f"inputs: {missing[0]!r} is not in the graph, whose placeholders are "
            f"{', '.join(node.name for node in graph_def.node if node.op.startswith('Placeholder'))}"
        )
    dependent = _dependents(graph_def, [node_name(tensor_name(name)) for name in inputs])
    unused = [
        node
        for node in graph_def.node
        if node.name in dependent and node.op not in NO_RESULTS and node.name not in taken
    ]
    with tensorflow.Graph().as_default() as graph, quiet():
        try:
            tensorflow.compat.v1.import_graph_def(graph_def, name="")
        except Exception as error:  # ValueError, KeyError, OpError
            raise SourceError(
                f"source {source!r} can't be loaded by TensorFlow {tensorflow.__version__}: {one_line(error)}"
            ) from error
        tensors = [output.name for node in unused for output in graph.get_operation_by_name(node.name).outputs]
    if not tensors:
        raise ConversionError(f"source {source!r}: no result depends on the inputs {', '.join(inputs)}")
    return tensors


def _values(node: Any) -> list[str]:
    return [reference for reference in node.input if not reference.startswith("^")]


def _dependents(graph_def: Any, names: Iterable[str]) -> set[str]:
    """Names of the operators that the named ones' values reach; a graph is stored in no particular order."""
    consumers: dict[str, list[str]] = {}
    for node in graph_def.node:
        for reference in _values(node):
            consumers.setdefault(node_name(reference), []).append(node.name)
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        for consumer in consumers.get(waiting.pop(), ()):
            if consumer not in reached:
                reached.add(consumer)
                waiting.append(consumer)
    return reached


def _signature(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str], source: str) -> GraphSignature:
    import tensorflow

    with tensorflow.Graph().as_default() as graph, quiet():
        tensorflow.compat.v1.import_graph_def(graph_def, name="")

        def spec(name: str, role: str) -> TensorSpec:
            tensor = graph.get_tensor_by_name(tensor_name(name))
            place = f"source {source!r}: {role} {name!r}"
            return tensor_spec(public_name(tensor.name), tensor.dtype.as_datatype_enum, tensor.shape.as_proto(), place)

        signature = Signature(
            inputs=tuple(spec(name, "input") for name in inputs),
            outputs=tuple(spec(name, "output") for name in outputs),
        )
    return signature_by_names(signature)
