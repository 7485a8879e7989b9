"""A small writer of ONNX graphs: one call an operator, names given by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 9


class Operators:
    """Nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}

    def __call__(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Adds a node of ONNX's own domain and gives the name of its output."""
        return self.add(helper.make_node(operator, inputs, [""], **attributes), output)

    def add(self, node: onnx.NodeProto, output: str | None = None) -> str:
        """Adds a node of one output, which it names."""
        name = output or f"{node.op_type}_{len(self._nodes)}"
        node.output[:] = [name]
        node.name = name
        self._nodes.append(node)
        return name

    def constant(self, values: Any, dtype: Any) -> str:
        """A constant tensor; equal ones are one."""
        array = np.asarray(values, dtype=dtype)
        key = (
            array.dtype.str,
            array.shape,
            repr(array.tolist()).encode() if array.dtype == object else array.tobytes(),
        )
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"constant_{len(self._constants)}")
        return str(self._constants[key].name)

    def model(
        self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto], name: str
    ) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs, list(self._constants.values()))
        imports = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="onegate")
