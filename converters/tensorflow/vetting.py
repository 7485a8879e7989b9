"""Which operators of a TensorFlow graph reach outside of it: files, Python, other machines.

A SavedModel is a program. Loading it runs its restore and initialisation operators, serving it those behind its
signatures; what lies elsewhere (the half of the saver that writes) never runs. The graph is read here as data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from converters.tensorflow.signatures import BOOKKEEPING, node_name
from model_store.errors import ConversionError, SourceError, TrustRequired

REACHES_OUT = re.compile(
    r"File|Reader|Record|^(Distributed)?Save|^Restore|Checkpoint|Summary|^ImportEvent|Remap|LMDB|Sql|^FixedUnigram"
    r"|^(De|En)codeProto|(CSV|TextLine|Load|Save|Snapshot|Cache|Register).*Dataset|Iterator"  # files
    r"|PyFunc|^DatasetFromGraph|^Abort$"  # other code, and the end of the process
    r"|^_?(Host)?(Send|Recv)|^Remote|Rpc|^Collective|^Nccl|SessionHandle|TPU|DataService"  # other processes
    r"|^Debug(Identity|Nan|Numeric)"  # their addresses may be files and servers
)
"""Operators that read or write files, call Python, or talk to other processes."""
TABLE_FROM_FILE = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
RESTORES = frozenset({"RestoreV2", "Restore", "RestoreSlice"})
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
WRITES_VARIABLE = re.compile(r"^(Assign|Resource(Scatter|Strided|Apply|Sparse))")
PASSES_ON = frozenset({"Identity", "StopGradient", "EnsureShape"})
PRINTS_TO_LOG = frozenset({b"", b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"})
ASSETS = "saved_model_assets"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


def vet_meta_graph(meta_graph: Any, source: str, *, trust: bool) -> None:
    """Looks at all that loading and serving the SavedModel would run.

    Raises `TrustRequired` naming the operators that reach outside of the graph, `ConversionError` naming those that
    TensorFlow does not have, `SourceError` for an asset outside of the folder.
    """
    files = _asset_files(meta_graph)
    _vet_assets(files, source)
    graph = Graph(meta_graph.graph_def)
    assets = {node_name(asset.tensor_info.name) for asset in files}
    served = graph.ran_by(_entry_points(meta_graph))
    restored = graph.ran_by([meta_graph.saver_def.restore_op_name] if meta_graph.HasField("saver_def") else [])
    _refuse_unknown([*served, *restored], graph, source)
    if trust:
        return
    outside = {node.op for owner, node in served if _reaches_out(owner, node, graph, assets)}
    outside |= {
        node.op for owner, node in restored if node.op not in RESTORES and _reaches_out(owner, node, graph, assets)
    }
    _refuse(outside, source)


def vet_graph(graph_def: Any, outputs: Iterable[str], source: str, *, trust: bool) -> None:
    """The same for a frozen graph and the tensors asked of it."""
    graph = Graph(graph_def)
    ran = graph.ran_by(outputs)
    _refuse_unknown(ran, graph, source)
    if not trust:
        _refuse({node.op for owner, node in ran if _reaches_out(owner, node, graph, set())}, source)


def _refuse(outside: Iterable[str], source: str) -> None:
    found = sorted(outside)
    if found:
        raise TrustRequired(
            f"source {source!r}: its graph holds {', '.join(found)}, which reach files, Python or other processes; "
            "export it without, or say `trust: true` for this model",
            operators=found,
        )


def _refuse_unknown(nodes: Iterable[tuple[str, Any]], graph: Graph, source: str) -> None:
    import tensorflow
    from tensorflow.python.framework import op_def_registry

    used = {node.op for _, node in nodes} - graph.functions
    unknown = sorted(name for name in used if op_def_registry.get(name) is None)
    if unknown:
        raise ConversionError(
            f"source {source!r}: TensorFlow {tensorflow.__version__} has no operator {', '.join(unknown)}; "
            "custom operators can't be served, export the model without them",
            operators=unknown,
        )


def _entry_points(meta_graph: Any) -> list[str]:
    tensors = [
        info.name
        for name, definition in meta_graph.signature_def.items()
        for info in (*definition.outputs.values(), *(definition.inputs.values() if name not in BOOKKEEPING else ()))
    ]
    for name in INIT_COLLECTIONS:
        if name in meta_graph.collection_def:
            tensors += list(meta_graph.collection_def[name].node_list.value)
    return tensors


def _asset_files(meta_graph: Any) -> list[Any]:
    """The `AssetFileDef`s, which TensorFlow 1 kept in a collection."""
    from tensorflow.core.protobuf import meta_graph_pb2

    packed = meta_graph.collection_def[ASSETS].any_list.value if ASSETS in meta_graph.collection_def else ()
    return list(meta_graph.asset_file_def) or [meta_graph_pb2.AssetFileDef.FromString(each.value) for each in packed]


def _vet_assets(files: Iterable[Any], source: str) -> None:
    for asset in files:
        path = PurePosixPath(asset.filename)
        if path.is_absolute() or ".." in path.parts:
            raise SourceError(f"source {source!r}: its asset {asset.filename!r} leads out of the folder")


def _reaches_out(owner: str, node: Any, graph: Graph, assets: set[str]) -> bool:
    if node.op == "PrintV2":
        return node.attr["output_stream"].s not in PRINTS_TO_LOG
    if node.op in TABLE_FROM_FILE:
        # A file name that is written in the graph may be any file's; an asset lies in the folder.
        return any(place or origin.name not in assets for place, origin in graph.origins(owner, node.input[1]))
    return REACHES_OUT.search(node.op) is not None


class Graph:
    """A `GraphDef` by names: who runs when a tensor is asked for, functions included.

    A node is told with its owner: the function whose body it is in, or "" for the graph itself.
    """

    def __init__(self, graph_def: Any) -> None:
        self._nodes = {"": {node.name: node for node in graph_def.node}}
        self._arguments: dict[str, list[str]] = {}
        for function in graph_def.library.function:
            name = function.signature.name
            self._nodes[name] = {node.name: node for node in function.node_def}
            self._arguments[name] = [argument.name for argument in function.signature.input_arg]
        self.functions = frozenset(self._arguments)

    def ran_by(self, tensors: Iterable[str]) -> list[tuple[str, Any]]:
        """All nodes that computing the tensors may run: what they need, and every function those call."""
        ran: dict[tuple[str, str], Any] = {}
        waiting = [("", node_name(tensor)) for tensor in tensors if tensor]
        while waiting:
            owner, name = key = waiting.pop()
            node = self._nodes[owner].get(name)
            if node is None or key in ran:
                continue
            ran[key] = node
            waiting += [(owner, producer_of(reference)) for reference in node.input]
            for function in self._called_by(node):
                waiting += [(function, inner) for inner in self._nodes.get(function, ())]
        return [(owner, node) for (owner, _), node in ran.items()]

    def origins(self, owner: str, reference: str) -> list[tuple[str, Any]]:
        """The nodes that an input's value may come from, followed through nodes and calls that only pass it on."""
        origins: dict[tuple[str, str], Any] = {}
        seen: set[tuple[str, str]] = set()
        waiting = [(owner, producer_of(reference))]
        while waiting:
            owner, name = key = waiting.pop()
            if key in seen:
                continue
            seen.add(key)
            node = self._nodes[owner].get(name)
            if node is None:
                waiting += self._passed_by_callers(owner, name)
            elif node.op in PASSES_ON:
                waiting.append((owner, producer_of(node.input[0])))
            elif node.op == "ReadVariableOp" and (written := self._written_to(owner, node)):
                waiting += written
            else:
                origins[key] = node
        return [(owner, node) for (owner, _), node in origins.items()]

    def _written_to(self, owner: str, read: Any) -> list[tuple[str, str]]:
        """Where the values of the variable that `read` reads come from, over all of the graph."""
        variables = self._variables(owner, read.input[0])
        return [
            # Anything but a plain assignment is an origin of its own.
            (place, producer_of(node.input[1]) if node.op == "AssignVariableOp" else node.name)
            for place, nodes in self._nodes.items()
            for node in nodes.values()
            if WRITES_VARIABLE.search(node.op) and variables & self._variables(place, node.input[0])
        ]

    def _variables(self, owner: str, reference: str) -> set[bytes]:
        handles = [node for _, node in self.origins(owner, reference) if node.op == "VarHandleOp"]
        return {node.attr["shared_name"].s or node.name.encode() for node in handles}

    def _passed_by_callers(self, function: str, argument: str) -> list[tuple[str, str]]:
        if argument not in self._arguments.get(function, ()):
            return []
        position = self._arguments[function].index(argument)
        return [
            (owner, producer_of(reference))
            for owner, nodes in self._nodes.items()
            for node in nodes.values()
            if function in self._called_by(node)
            # If, While and Case number their functions' arguments otherwise: any of their inputs may be the one.
            for reference in (node.input[position : position + 1] if node.op in CALLS else node.input)
        ]

    def _called_by(self, node: Any) -> Sequence[str]:
        """TensorFlow 1 also called a function by using its name as an operator."""
        return [*functions_of(node), node.op] if node.op in self.functions else functions_of(node)


def functions_of(node: Any) -> Sequence[str]:
    """Names of the functions that a node calls."""
    names = []
    for value in node.attr.values():
        if value.HasField("func"):
            names.append(value.func.name)
        names += [function.name for function in value.list.func]
    return names


def producer_of(reference: str) -> str:
    """The node behind an input: `^name`, `name`, `name:0`, and within functions `name:output:0`."""
    return reference.lstrip("^").split(":", 1)[0]
