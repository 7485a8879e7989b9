"""A loaded graph as one signature needs it: variables as constants, calls inlined, tables read out.

What comes out is what tf2onnx reads, and where the domains of inputs are read from. Nothing is written to disk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.tensorflow.session import GraphSession, one_line, quiet
from converters.tensorflow.signatures import GraphSignature, node_name
from converters.tensorflow.vetting import Graph
from model_store.errors import ConversionError

KEEPS_APART = ("_XlaMustCompile", "_XlaCompile", "_XlaScope", "_noinline", "_class", "api_implements", "_output_shapes")
"""Attributes that say how to run a part, none of what it computes. With them a call is not inlined: of a function
with `jit_compile=True` the call would be left over as an operator. Shapes are inferred anew, as those of a loop
change with its variables."""
TABLES = frozenset({"HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2"})
VARIABLES = "VarHandleOp"
CONDITIONS = frozenset({"If", "StatelessIf"})
PASSES = ("constfold", "function", "dependency")
"""Those of Grappler that tf2onnx 1.17 asks for; control flow stays functional."""

CHANGES_STATE = re.compile(
    r"^(Assign|Resource(Scatter|Strided|Apply|Sparse|Count)|LookupTable(Insert|Import|Remove)|InitializeTable|RngRead"
    r"|Queue(Enqueue|Dequeue)|(Un)?Stage$)"
)

Tables = dict[bytes, tuple[np.ndarray, np.ndarray]]
"""Name of a table (its `shared_name`) -> keys and values."""


@dataclass(frozen=True)
class FrozenGraph:
    """One signature's graph, complete in itself."""

    graph_def: Any
    tables: Tables = field(default_factory=dict)


def freeze(loaded: GraphSession, wanted: GraphSignature) -> FrozenGraph:
    """Raises `ConversionError` when TensorFlow can't freeze or inline the graph, and when calls change its state."""
    try:
        with loaded.session.graph.as_default(), quiet():
            graph_def = _with_variables_as_constants(loaded.session, wanted)
            tables = _read_tables(loaded.session, graph_def)
            frozen = FrozenGraph(_folded(graph_def, wanted), tables)
    except Exception as error:  # OpError, ValueError, KeyError
        _refuse_state(loaded.session.graph.as_graph_def(), wanted)
        raise ConversionError(f"TensorFlow can't freeze the graph: {one_line(error)}") from error
    _refuse_state(frozen.graph_def, wanted)
    return frozen


def _refuse_state(graph_def: Any, wanted: GraphSignature) -> None:
    """A call that leaves something behind for the next has no place in a frozen graph, which would forget it."""
    ran = Graph(graph_def).ran_by(wanted.outputs.values())
    changing = sorted({node.op for _, node in ran if CHANGES_STATE.search(node.op)})
    if changing:
        raise ConversionError(
            f"signature {wanted.name!r} changes its own state ({', '.join(changing)}), which ONNX does not keep"
        )


def _with_variables_as_constants(session: Any, wanted: GraphSignature) -> Any:
    from tensorflow.compat.v1 import graph_util
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_from_session_graph

    nodes = [node_name(tensor) for tensor in (*wanted.outputs.values(), *wanted.inputs.values())]
    needed = graph_util.extract_sub_graph(session.graph.as_graph_def(), nodes)
    variables = [node for node in needed.node if node.op == VARIABLES]
    _add_reads(session.graph, variables)
    needed = graph_util.extract_sub_graph(
        session.graph.as_graph_def(), [*nodes, *(_read_name(node) for node in variables)]
    )
    _forget_placement(needed)
    _settle_inputs(needed, wanted)
    inlined = _optimised(needed, wanted, ("function",), [f"{_read_name(node)}:0" for node in variables])
    frozen = convert_variables_to_constants_from_session_graph(session, inlined, nodes)
    _forget_placement(frozen)
    return frozen


def _add_reads(graph: Any, variables: Sequence[Any]) -> None:
    """TensorFlow 2.21 freezes variables by operators of a name that its saver usually makes, and not always."""
    import tensorflow

    present = {operation.name for operation in graph.get_operations()}
    for node in variables:
        name = _read_name(node)
        if name not in present:
            handle = graph.get_tensor_by_name(f"{node.name}:0")
            tensorflow.raw_ops.ReadVariableOp(resource=handle, dtype=node.attr["dtype"].type, name=name)


def _read_name(variable: Any) -> str:
    return f"{variable.name}/Read/ReadVariableOp"


def _forget_placement(graph_def: Any) -> None:
    functions = list(graph_def.library.function)
    nodes = [*graph_def.node, *(node for function in functions for node in function.node_def)]
    for item in (*nodes, *functions):
        for name in KEEPS_APART:
            item.attr.pop(name, None)
    for node in nodes:
        node.device = ""
        if "_lower_using_switch_merge" in node.attr:
            # tf2onnx reads control flow as functions.
            node.attr["_lower_using_switch_merge"].b = False


def _settle_inputs(graph_def: Any, wanted: GraphSignature) -> None:
    """Gives placeholders the signature's shapes. One that may be left out is an input where the signature has it,
    and its default where not."""
    specs = {node_name(wanted.inputs[spec.name]): spec for spec in wanted.signature.inputs}
    for node in graph_def.node:
        if node.op == "PlaceholderWithDefault" and node.name not in specs:
            node.op = "Identity"
            node.attr["T"].type = node.attr["dtype"].type
            del node.attr["dtype"], node.attr["shape"]
        elif node.op.startswith("Placeholder") and node.name in specs:
            node.op = "Placeholder"
            del node.input[:]
            node.attr["shape"].shape.Clear()
            for size in specs[node.name].shape:
                node.attr["shape"].shape.dim.add(size=size)


def _read_tables(session: Any, graph_def: Any) -> Tables:
    """The tables' contents, and in `graph_def` a `shared_name` for those that go by their node's name alone."""
    import tensorflow

    tables: Tables = {}
    for node in graph_def.node:
        if node.op not in TABLES:
            continue
        types = {"Tkeys": node.attr["key_dtype"].type, "Tvalues": node.attr["value_dtype"].type}
        handle = session.graph.get_tensor_by_name(f"{node.name}:0")
        exported = tensorflow.raw_ops.LookupTableExportV2(table_handle=handle, **types)
        keys, values = session.run([exported.keys, exported.values])
        node.attr["shared_name"].s = node.attr["shared_name"].s or node.name.encode()
        tables[node.attr["shared_name"].s] = (keys, values)
    return tables


def _folded(graph_def: Any, wanted: GraphSignature) -> Any:
    """Constants folded, and conditions on constants decided, as is a switch between training and serving."""
    while True:
        graph_def = _optimised(graph_def, wanted, PASSES)
        constants = {node.name: node for node in graph_def.node if node.op == "Const"}
        decided = [node for node in graph_def.node if node.op in CONDITIONS and node_name(node.input[0]) in constants]
        if not decided:
            return graph_def
        for node in decided:
            _decide(node, constants[node_name(node.input[0])])


def _decide(node: Any, predicate: Any) -> None:
    """Makes a condition a call of the branch that is taken."""
    import tensorflow

    value = tensorflow.make_ndarray(predicate.attr["value"].tensor)
    branch = node.attr["then_branch" if value.size and value.ravel()[0] else "else_branch"].func
    node.op = "PartitionedCall" if node.op == "StatelessIf" else "StatefulPartitionedCall"
    node.attr["f"].func.CopyFrom(branch)
    for name in ("then_branch", "else_branch", "Tcond", "output_shapes"):
        node.attr.pop(name, None)
    del node.input[0]


def _optimised(graph_def: Any, wanted: GraphSignature, passes: Sequence[str], kept: Sequence[str] = ()) -> Any:
    """The graph after some of Grappler's passes; `kept` names tensors that must outlive them besides the wanted."""
    import tensorflow
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    config = config_pb2.ConfigProto()
    config.graph_options.infer_shapes = True
    rewrites = config.graph_options.rewrite_options
    rewrites.optimizers[:] = passes
    rewrites.min_graph_nodes = -1  # else a graph of three operators is left as it is, calls included
    rewrites.experimental_disable_folding_quantization_emulation = True
    with tensorflow.Graph().as_default():
        tensorflow.compat.v1.import_graph_def(graph_def, name="")
        meta_graph = tensorflow.compat.v1.train.export_meta_graph(graph_def=graph_def)
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.extend([*wanted.inputs.values(), *wanted.outputs.values(), *kept])
    meta_graph.collection_def["train_op"].CopyFrom(fetched)
    return tf_optimizer.OptimizeGraph(config, meta_graph)
