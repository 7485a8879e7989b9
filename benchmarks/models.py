"""The two models of the benchmark, and the one request that everybody is sent for each.

Built with ONNX operators and random weights of a fixed seed: what they answer means nothing, how long they take is
that of the real thing. Running them is `bare.py`'s and the servers' work.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.client import Body

OPSET = 20
IR_VERSION = 10
"""One that ONNX Runtime reads; the onnx package may write a newer one by default."""
SEED = 20
INPUT, OUTPUT = "x", "y"

RESNET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and first stride of the four stages, two basic blocks each."""


@dataclass(frozen=True)
class BenchmarkModel:
    """A model file, one row of input, and the request that carries the row."""

    title: str
    path: Path
    row: np.ndarray
    """float32[1, ...]."""
    body: Body


def build_mlp(folder: Path) -> BenchmarkModel:
    """float32[N, 16] -> 32 -> 4 with JSON tensors."""
    graph = _Graph(SEED)
    hidden = graph.relu(graph.dense(INPUT, 16, 32))
    graph.node("Softmax", [graph.dense(hidden, 32, 4)], output=OUTPUT, axis=1)
    path = graph.save(folder / "mlp.onnx", (16,), (4,))
    row = np.random.default_rng(SEED).standard_normal((1, 16)).astype(np.float32)
    return BenchmarkModel("MLP 16-32-4, JSON", path, row, json_body(row))


def build_resnet(folder: Path) -> BenchmarkModel:
    """ResNet-18 with its batch norms folded in: float32[N, 3, 224, 224] -> [N, 1000], 11.7 million parameters, with
    binary tensors."""
    graph = _Graph(SEED)
    x = graph.relu(graph.conv(INPUT, 3, 64, kernel=7, stride=2))
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, stride in RESNET_STAGES:
        x = _basic_block(graph, x, channels, width, stride)
        x = _basic_block(graph, x, width, width, 1)
        channels = width
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])], axis=1)
    graph.dense(x, channels, 1000, output=OUTPUT)
    path = graph.save(folder / "resnet18.onnx", (3, 224, 224), (1000,))
    row = np.random.default_rng(SEED).standard_normal((1, 3, 224, 224)).astype(np.float32)
    return BenchmarkModel("ResNet-18 224x224, binary tensors", path, row, binary_body(row))


def json_body(row: np.ndarray) -> Body:
    """`row` as a request of the Open Inference Protocol, in JSON both ways."""
    message = {"inputs": [{**_tensor(row), "data": row.ravel().tolist()}]}
    return Body(json.dumps(message).encode(), {"Content-Type": "application/json"})


def binary_body(row: np.ndarray) -> Body:
    """The same with the protocol's binary tensors, both ways."""
    tensor = {**_tensor(row), "parameters": {"binary_data_size": row.nbytes}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return Body(header + row.tobytes(), headers)


def _tensor(row: np.ndarray) -> dict[str, object]:
    return {"name": INPUT, "datatype": "FP32", "shape": list(row.shape)}


def _basic_block(graph: _Graph, x: str, channels: int, width: int, stride: int) -> str:
    straight = graph.relu(graph.conv(x, channels, width, kernel=3, stride=stride))
    straight = graph.conv(straight, width, width, kernel=3, stride=1)
    if stride != 1 or channels != width:
        x = graph.conv(x, channels, width, kernel=1, stride=stride)
    return graph.relu(graph.node("Add", [straight, x]))


class _Graph:
    """An ONNX graph that grows node by node; every method returns the name of what it computes."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, operator: str, inputs: list[str], *, output: str | None = None, **attributes: object) -> str:
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def conv(self, x: str, channels: int, width: int, *, kernel: int, stride: int) -> str:
        weight = self._weight((width, channels, kernel, kernel), fan_in=channels * kernel * kernel)
        pads = [kernel // 2] * 4
        return self.node("Conv", [x, weight, self._bias(width)], strides=[stride, stride], pads=pads)

    def dense(self, x: str, columns: int, width: int, *, output: str | None = None) -> str:
        weight = self._weight((columns, width), fan_in=columns)
        return self.node("Gemm", [x, weight, self._bias(width)], output=output)

    def save(self, path: Path, row_in: tuple[int, ...], row_out: tuple[int, ...]) -> Path:
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *row_in])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", *row_out])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path

    def _weight(self, shape: tuple[int, ...], *, fan_in: int) -> str:
        # The gain of 1 keeps sums over eight residual blocks in the range of normal float32 activations.
        return self._constant(self._generator.standard_normal(shape) / np.sqrt(fan_in))

    def _bias(self, width: int) -> str:
        return self._constant(self._generator.standard_normal(width) * 0.1)

    def _constant(self, values: np.ndarray) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name
