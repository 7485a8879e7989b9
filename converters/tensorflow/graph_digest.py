"""Whether two signatures compute the same: Keras exports one graph under two names.

Equal graphs are converted once. Names of operators and functions do not count, as the two have their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from converters.tensorflow.freezing import FrozenGraph
from converters.tensorflow.signatures import GraphSignature, node_name

Digests = dict[str, bytes]
WITHOUT_MEANING = frozenset(
    {"_output_shapes", "_num_original_outputs", "_read_only_resource_inputs", "_gradient_op_type"}
)


class _CyclicError(Exception):
    """Loops of TensorFlow 1 go round in the graph."""


def graph_digest(frozen: FrozenGraph, wanted: GraphSignature) -> bytes | None:
    """Digest of the graph under its public names; None for a graph with loops of TensorFlow 1."""
    functions = {each.signature.name: each for each in frozen.graph_def.library.function}
    inputs = {node_name(tensor): _hash(b"input", name.encode()) for name, tensor in wanted.inputs.items()}
    nodes = {node.name: node for node in frozen.graph_def.node}
    try:
        outputs = [
            _hash(name.encode(), tensor.rpartition(":")[2].encode(), _node(node_name(tensor), nodes, functions, inputs))
            for name, tensor in wanted.outputs.items()
        ]
    except _CyclicError:
        return None
    return _hash(*outputs, repr(wanted.signature).encode())


def _node(name: str, nodes: Mapping[str, Any], functions: Mapping[str, Any], known: Digests) -> bytes:
    """Digest of a node and all that it takes; `known` holds those of arguments, and gathers the others."""
    waiting, open_nodes = [name], set()
    while waiting:
        current = waiting[-1]
        if current in known:
            waiting.pop()
            continue
        missing = [each for each in _producers(nodes[current]) if each not in known]
        if not missing:
            known[current] = _digest(nodes[current], functions, known)
            open_nodes.discard(current)
        elif current in open_nodes and open_nodes.intersection(missing):
            raise _CyclicError
        else:
            open_nodes.add(current)
            waiting += missing
    return known[name]


def _producers(node: Any) -> list[str]:
    return [reference.lstrip("^").split(":", 1)[0] for reference in node.input]


def _digest(node: Any, functions: Mapping[str, Any], known: Digests) -> bytes:
    taken = [
        _hash(known[producer], reference.partition(":")[2].encode(), b"^" if reference.startswith("^") else b"")
        for reference, producer in zip(node.input, _producers(node), strict=True)
    ]
    return _hash(node.op.encode(), *taken, *_attributes(node, functions))


def _attributes(node: Any, functions: Mapping[str, Any]) -> Iterator[bytes]:
    for name, value in sorted(node.attr.items()):
        if name in WITHOUT_MEANING:
            continue
        called = [value.func.name] if value.HasField("func") else [each.name for each in value.list.func]
        if called:
            yield _hash(name.encode(), *(_function(functions[each], functions) for each in called))
        else:
            yield _hash(name.encode(), value.SerializeToString(deterministic=True))


def _function(function: Any, functions: Mapping[str, Any]) -> bytes:
    nodes = {node.name: node for node in function.node_def}
    known = {
        argument.name: _hash(b"argument", str(place).encode())
        for place, argument in enumerate(function.signature.input_arg)
    }
    returned = [function.ret[output.name] for output in function.signature.output_arg]
    return _hash(
        *(
            _hash(_node(reference.split(":", 1)[0], nodes, functions, known), reference.partition(":")[2].encode())
            for reference in returned
        )
    )


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()
