"""What values the inputs of a graph may have, as far as the graph tells: indexes end at their table's size."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from converters.base import Range

PASSING = ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose")
INTEGERS = (TensorProto.INT32, TensorProto.INT64)


def input_ranges(model: onnx.ModelProto) -> dict[str, Range]:
    """For integer inputs that index a constant table, its rows; for uint8 ones all of them, as they are pixels."""
    ranges: dict[str, Range] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        if kind == TensorProto.UINT8:
            ranges[value.name] = (0, 255)
        elif kind in INTEGERS and (rows := min(_tables(model.graph, value.name), default=0)):
            ranges[value.name] = (0, rows - 1)
    return ranges


def _tables(graph: onnx.GraphProto, name: str) -> Iterator[int]:
    """Rows of the constant tables that the value `name` indexes, through operators that pass it on."""
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    waiting, seen = [name], set()
    while waiting:
        current = waiting.pop()
        seen.add(current)
        for node in graph.node:
            if node.op_type == "Gather" and list(node.input[1:2]) == [current] and tables.get(node.input[0]):
                axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
                yield tables[node.input[0]][axis]
            elif node.op_type in PASSING and node.input[0] == current:
                waiting.extend(set(node.output) - seen)
