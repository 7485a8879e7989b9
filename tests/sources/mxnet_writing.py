"""Writes MXNet's two files without MXNet: a graph node by node, parameters as a binary list."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

V2 = 0xF993FAC9
FLAGS = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}
Entry = list[int]


def write_params(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays as release 1.x writes them; names carry their prefixes."""
    with path.open("wb") as file:
        file.write(struct.pack("<QQQ", 0x112, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack(f"<Iii{array.ndim}q", V2, 0, array.ndim, *array.shape))
            file.write(struct.pack("<iii", 1, 0, FLAGS[array.dtype.name]))
            file.write(np.ascontiguousarray(array).tobytes())
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name.encode())) + name.encode())


class Net:
    """A graph that is being written, and its random parameters.

    Layers are named as Gluon names them; weights keep activations at a scale of about one.
    """

    def __init__(self, seed: int = 0) -> None:
        self._nodes: list[dict[str, Any]] = []
        self._random = np.random.default_rng(seed)
        self.parameters: dict[str, np.ndarray] = {}

    def variable(self, name: str, **hints: Any) -> Entry:
        """A free variable."""
        return self._add("null", name, [], hints)

    def op(self, op: str, name: str, *inputs: Entry, **attrs: Any) -> Entry:
        """An operator's first output."""
        return self._add(op, name, list(inputs), attrs)

    def weight(self, name: str, *shape: int, scale: float | None = None, at: float = 0.0, prefix: str = "arg") -> Entry:
        """A parameter drawn around `at`."""
        spread = (2.0 / max(int(np.prod(shape[1:])), 1)) ** 0.5 if scale is None else scale
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(spread) + np.float32(at)
        self.parameters[f"{prefix}:{name}"] = values
        return self.variable(name)

    def convolution(self, x: Entry, name: str, channels: tuple[int, int], kernel: int, **attrs: Any) -> Entry:
        """A square convolution from `channels[0]` to `channels[1]`, without bias."""
        weight = self.weight(f"{name}_weight", channels[1], channels[0], kernel, kernel)
        given = {"kernel": (kernel, kernel), "num_filter": channels[1], "no_bias": True, **attrs}
        return self.op("Convolution", f"{name}_fwd", x, weight, **given)

    def batch_norm(self, x: Entry, name: str, channels: int, **attrs: Any) -> Entry:
        """With statistics away from 0 and 1."""
        gamma = self.weight(f"{name}_gamma", channels, scale=0.1, at=1.0)
        beta = self.weight(f"{name}_beta", channels, scale=0.1)
        mean = self.weight(f"{name}_running_mean", channels, scale=0.1, prefix="aux")
        variance = self.weight(f"{name}_running_var", channels, scale=0.05, at=1.0, prefix="aux")
        given = {"eps": 1e-5, "fix_gamma": False, **attrs}
        return self.op("BatchNorm", f"{name}_fwd", x, gamma, beta, mean, variance, **given)

    def dense(self, x: Entry, name: str, inputs: int, units: int) -> Entry:
        """A fully connected layer."""
        weight, bias = self.weight(f"{name}_weight", units, inputs), self.weight(f"{name}_bias", units, scale=0.1)
        return self.op("FullyConnected", f"{name}_fwd", x, weight, bias, num_hidden=units)

    def relu(self, x: Entry, name: str) -> Entry:
        """An activation."""
        return self.op("Activation", name, x, act_type="relu")

    def save(self, folder: Path, prefix: str, *heads: Entry, epoch: int = 0) -> Path:
        """Writes both files; gives that of the parameters."""
        variables = [index for index, node in enumerate(self._nodes) if node["op"] == "null"]
        document = {
            "nodes": self._nodes,
            "arg_nodes": variables,
            "node_row_ptr": list(range(len(self._nodes) + 1)),
            "heads": [[*head, 0] for head in heads],
            "attrs": {"mxnet_version": ["int", 10901]},
        }
        (folder / f"{prefix}-symbol.json").write_text(json.dumps(document, indent=2))
        params = folder / f"{prefix}-{epoch:04d}.params"
        write_params(params, self.parameters)
        return params

    def _add(self, op: str, name: str, inputs: list[Entry], attrs: Mapping[str, Any]) -> Entry:
        node = {"op": op, "name": name, "inputs": [[*entry, 0] for entry in inputs]}
        if attrs:
            node["attrs"] = {key: str(value) for key, value in attrs.items()}
        self._nodes.append(node)
        return [len(self._nodes) - 1, 0]


def resnet18(folder: Path, prefix: str = "resnet18", classes: int = 1000) -> Path:
    """ResNet-18 in the form of the Gluon model zoo's version 1."""
    net = Net()
    x = net.convolution(net.variable("data"), "conv0", (3, 64), 7, stride=(2, 2), pad=(3, 3))
    x = net.relu(net.batch_norm(x, "batchnorm0", 64), "relu0")
    x = net.op("Pooling", "pool0", x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    for stage, (before, channels) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
        for block, entering in enumerate((before, channels)):
            x = _residual(net, x, f"stage{stage}_{block}", entering, channels)
    x = net.op("Pooling", "pool1", x, kernel=(1, 1), global_pool=True, pool_type="avg", pooling_convention="full")
    return net.save(folder, prefix, net.dense(x, "dense0", 512, classes))


def _residual(net: Net, x: Entry, name: str, before: int, channels: int) -> Entry:
    stride = (1, 1) if before == channels else (2, 2)
    short = x
    for number, entering in enumerate((before, channels)):
        given = {"stride": stride if number == 0 else (1, 1), "pad": (1, 1)}
        x = net.convolution(x, f"{name}_conv{number}", (entering, channels), 3, **given)
        x = net.batch_norm(x, f"{name}_batchnorm{number}", channels)
        x = net.relu(x, f"{name}_relu{number}") if number == 0 else x
    if before != channels:
        short = net.convolution(short, f"{name}_down", (before, channels), 1, stride=stride)
        short = net.batch_norm(short, f"{name}_downnorm", channels)
    return net.relu(net.op("elemwise_add", f"{name}_plus", x, short), f"{name}_relu")


def alexnet(folder: Path, prefix: str = "alexnet", classes: int = 1000) -> Path:
    """AlexNet in the form of the Gluon model zoo: 61 million parameters, most of them in two dense layers."""
    net = Net()
    x = net.variable("data")
    layers = ((3, 64, 11, 4, 2, True), (64, 192, 5, 1, 2, True), (192, 384, 3, 1, 1, False),
              (384, 256, 3, 1, 1, False), (256, 256, 3, 1, 1, True))  # fmt: skip
    for number, (before, channels, kernel, stride, pad, pooled) in enumerate(layers):
        x = net.convolution(x, f"conv{number}", (before, channels), kernel, stride=(stride,) * 2, pad=(pad,) * 2)
        x = net.relu(x, f"relu{number}")
        if pooled:
            x = net.op("Pooling", f"pool{number}", x, kernel=(3, 3), stride=(2, 2), pool_type="max")
    x = net.op("Flatten", "flatten0", x)
    for number, inputs in enumerate((9216, 4096)):
        x = net.relu(net.dense(x, f"dense{number}", inputs, 4096), f"denserelu{number}")
        x = net.op("Dropout", f"dropout{number}", x, p=0.5)
    return net.save(folder, prefix, net.dense(x, "dense2", 4096, classes))


def perceptron(folder: Path, prefix: str = "mlp", inputs: int = 8, classes: int = 3) -> Path:
    """Two dense layers that end in a head with a label, as `Module` trains them."""
    net = Net()
    x = net.relu(net.dense(net.variable("data"), "fc1", inputs, 16), "relu1")
    x = net.dense(x, "fc2", 16, classes)
    return net.save(folder, prefix, net.op("SoftmaxOutput", "softmax", x, net.variable("softmax_label")))
