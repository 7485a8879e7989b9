"""What everybody is asked: four workloads, each one or more models and the one request that carries a row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.models import (
    INPUT,
    IR_VERSION,
    OPSET,
    OUTPUT,
    SEED,
    BenchmarkModel,
    binary_body,
    build_mlp,
    build_resnet,
)

TEN_MEGABYTES = 2_621_440
"""float32 values in a row of 10 MiB."""
MANY_MODELS = 50


@dataclass(frozen=True)
class Workload:
    """Models by the name under which they are served; all of a workload take the same row."""

    name: str
    title: str
    models: dict[str, BenchmarkModel]
    threads: int
    max_batch_size: int
    connections: tuple[int, ...]
    binary: bool

    output_shape: tuple[int, ...]
    """Of a row."""

    @property
    def model(self) -> BenchmarkModel:
        """The first one."""
        return next(iter(self.models.values()))

    @property
    def row_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Input and output of a row, without the batch."""
        return self.model.row.shape[1:], self.output_shape


def build_identity(folder: Path) -> BenchmarkModel:
    """float32[N, 2621440] to itself, with binary tensors: what is left is the way of the bytes."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [INPUT], [OUTPUT])],
        "identity",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", TEN_MEGABYTES])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", TEN_MEGABYTES])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    path = folder / "identity.onnx"
    onnx.save(model, path)
    row = np.random.default_rng(SEED).standard_normal((1, TEN_MEGABYTES)).astype(np.float32)
    return BenchmarkModel("10 MiB in and out, binary tensors", path, row, binary_body(row))


def build_mlp_workload(folder: Path) -> Workload:
    """One tiny net, JSON: what serving itself costs."""
    return Workload("mlp", "MLP 16-32-4, JSON", {"mlp": build_mlp(folder)}, 1, 64, (1, 8, 64, 256), False, (4,))


def build_resnet_workload(folder: Path) -> Workload:
    """A net of ResNet-18 size, binary: what is left for the model. With 256 connections each would wait for its first
    answer longer than a measurement lasts."""
    model = build_resnet(folder)
    return Workload("resnet", "ResNet-18 224x224, binary", {"resnet": model}, 2, 8, (1, 8, 64), True, (1000,))


def build_large_workload(folder: Path) -> Workload:
    """10 MiB each way. With 64 connections the client and the servers would hold more than a gigabyte of bodies."""
    return Workload(
        "large", "10 MiB tensor, binary", {"identity": build_identity(folder)}, 1, 4, (1, 8), True, (TEN_MEGABYTES,)
    )


def build_many_workload(folder: Path) -> Workload:
    """Fifty tiny nets asked in turn."""
    first = build_mlp(folder)
    models = {}
    for number in range(MANY_MODELS):
        path = folder / f"mlp{number}.onnx"
        shutil.copy(first.path, path)
        models[f"mlp{number}"] = BenchmarkModel(first.title, path, first.row, first.body)
    return Workload("many", "50 MLPs in turn, JSON", models, 1, 64, (1, 8, 64, 256), False, (4,))


WORKLOADS: dict[str, Callable[[Path], Workload]] = {
    "mlp": build_mlp_workload,
    "resnet": build_resnet_workload,
    "large": build_large_workload,
    "many": build_many_workload,
}
