"""What a graph tells of sensible values of its inputs: rows of an embedding, words of a table.

Read off a frozen graph as data; it is a hint for the parity gate's random inputs and decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converters.base import Arrays, Range, Run
from converters.samples import Samples
from converters.tensorflow.examples import serialised_examples
from converters.tensorflow.freezing import FrozenGraph
from converters.tensorflow.signatures import GraphSignature, node_name
from model_store.manifest import Signature

SAME_VALUES = frozenset(
    {"Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "Transpose", "StopGradient", "EnsureShape", "StringLower"}
    | {"Unique", "Pack", "Slice", "StridedSlice", "Tile", "StringStrip"}
)
"""Operators whose result holds values of their first input."""
CHOOSES = frozenset({"Select", "SelectV2"})
"""Operators whose result holds values of their second and third; Keras 3 lets embeddings count from the end so."""
GATHERS = frozenset({"Gather", "GatherV2", "ResourceGather"})
FINDS = frozenset({"LookupTableFind", "LookupTableFindV2"})
PARSES = frozenset({"ParseExample", "ParseExampleV2"})
WIDE: dict[str, Range] = {
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "UINT16": (0, 300),
    "UINT32": (0, 300),
    "UINT64": (0, 300),
    "INT16": (-100, 100),
    "INT32": (-100, 100),
    "INT64": (-100, 100),
}
LARGEST_VOCABULARY = 1000
NUMBERS = np.array([b"0", b"-1.5", b"42", b"1e3"], dtype=object)
UNKNOWN_WORD = b"unheard-of"


def read_domain(frozen: FrozenGraph, wanted: GraphSignature) -> tuple[dict[str, Range], dict[str, np.ndarray]]:
    """Ranges of inputs that index a table of known size, and choices for those that are looked up among known keys."""
    nodes = {node.name: node for node in frozen.graph_def.node}
    inputs = {node_name(tensor): name for name, tensor in wanted.inputs.items()}
    types = {spec.name: spec.datatype for spec in wanted.signature.inputs}
    ranges: dict[str, Range] = {}
    choices: dict[str, np.ndarray] = {}
    for node in nodes.values():
        if node.op in GATHERS and (rows := _rows(nodes, node)):
            for name in _sources(nodes, node.input[1], inputs):
                ranges[name] = (0, min(rows - 1, int(np.ravel(ranges.get(name, (0, rows - 1))[1])[0])))
        elif node.op in FINDS and (keys := _keys(nodes, frozen, node)) is not None:
            for name in _sources(nodes, node.input[1], inputs):
                if _same_kind(keys, types[name]):
                    choices[name] = keys
        elif node.op == "StringToNumber":
            for name in _sources(nodes, node.input[0], inputs):
                choices.setdefault(name, NUMBERS)
        elif node.op in PARSES:
            for name in _sources(nodes, node.input[0], inputs):
                choices[name] = serialised_examples(nodes, node)
    return {name: value for name, value in ranges.items() if not types[name].startswith("FP")}, choices


def widen(signature: Signature, run: Run, ranges: Mapping[str, Range], choices: Arrays) -> dict[str, Range]:
    """`ranges`, with wide ones for the integer inputs of unknown meaning with which the model runs, negative numbers
    included. What indexes rows of a table is refused by TensorFlow, and stays with the gate's small numbers."""
    wide = dict(ranges)
    for spec in signature.inputs:
        if spec.datatype not in WIDE or not spec.shape or spec.name in ranges or spec.name in choices:
            continue
        tried = {**wide, spec.name: WIDE[spec.datatype]}
        with contextlib.suppress(Exception):  # a framework's refusal of a value has no type of its own
            for seed in (0, 1):
                run(Samples(signature, tried, choices=choices).draw(8, seed))
            wide = tried
    return wide


def _rows(nodes: Mapping[str, Any], gather: Any) -> int:
    """How many rows a constant table has that is gathered from along its first axis; 0 where that is not so."""
    from tensorflow import make_ndarray

    if gather.attr["batch_dims"].i or (len(gather.input) > 2 and _constant(nodes, gather.input[2]) not in (0, None)):
        return 0
    table = _behind(nodes, gather.input[0])
    if table is None or table.op != "Const":
        return 0
    dims = table.attr["value"].tensor.tensor_shape.dim
    return int(dims[0].size) if dims else make_ndarray(table.attr["value"].tensor).size


def _constant(nodes: Mapping[str, Any], tensor: str) -> int | None:
    from tensorflow import make_ndarray

    node = _behind(nodes, tensor)
    if node is None or node.op != "Const":
        return None
    values = make_ndarray(node.attr["value"].tensor)
    return int(values) if values.ndim == 0 else None


def _behind(nodes: Mapping[str, Any], tensor: str) -> Any:
    node = nodes.get(node_name(tensor))
    while node is not None and node.op in ("Identity", "ReadVariableOp", "Enter"):
        node = nodes.get(node_name(node.input[0]))
    return node


def _keys(nodes: Mapping[str, Any], frozen: FrozenGraph, find: Any) -> np.ndarray | None:
    """Some keys of a table, and one that it does not hold."""
    table = _behind(nodes, find.input[0])
    if table is None or table.attr["shared_name"].s not in frozen.tables:
        return None
    keys = np.ravel(frozen.tables[table.attr["shared_name"].s][0])[:LARGEST_VOCABULARY]
    if keys.dtype.kind == "O":
        return np.array([*keys.tolist(), UNKNOWN_WORD], dtype=object)
    return np.append(keys, keys.max(initial=0) + 1).astype(keys.dtype) if keys.dtype.kind in "iu" else keys


def _same_kind(keys: np.ndarray, datatype: str) -> bool:
    return (keys.dtype.kind == "O") == (datatype == "BYTES")


def _sources(nodes: Mapping[str, Any], tensor: str, inputs: Mapping[str, str]) -> Iterator[str]:
    """Public names of the inputs whose very values arrive at `tensor`."""
    waiting, seen = [node_name(tensor)], set()
    while waiting:
        name = waiting.pop()
        if name in inputs:
            yield inputs[name]
        elif name in nodes and name not in seen:
            seen.add(name)
            waiting += map(node_name, _passed_on(nodes[name]))


def _passed_on(node: Any) -> list[str]:
    if node.op in SAME_VALUES:
        return [str(node.input[0])]
    return list(node.input[1:3]) if node.op in CHOOSES else []
