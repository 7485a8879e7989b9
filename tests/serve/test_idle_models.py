"""Versions that nobody calls: what a gateway that holds many of them keeps in memory for each, beyond its weights."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_store.manifest import TensorSpec
from model_store.store import Store
from serve.dispatcher import Dispatcher
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.reports import READY
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import eventually

MIB = 2**20
SIDE = 64
"""Of a picture: the largest batch of 64, with which a version is warmed up, takes 32 MiB between two convolutions."""


class Gateway:
    """A store with any number of models that are equal but for their names, and a loader that follows tables."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder / "store"))
        self.dispatcher = Dispatcher(Router())
        self.loader = VersionLoader(self.dispatcher, folder / "loaded", "here", "secret")
        self._number = 0

    def publish(self, name: str, file: Path, row: tuple[int, ...], columns: int) -> VersionEntry:
        described = manifest(name, 0, [TensorSpec("x", "FP32", (-1, *row))], [TensorSpec("y", "FP32", (-1, columns))])
        described = msgspec.structs.replace(described, key=name)
        return VersionEntry(self.store.publish(described, {"model.onnx": file}), ServeOptions("inline"))

    async def hold(self, *entries: VersionEntry) -> None:
        """Returns when exactly these are loaded, each the default of its model."""
        self._number += 1
        routes = {entry.key[0]: ModelRoute(((entry.key[1], 100),)) for entry in entries}
        self.loader.follow(RoutingTable(self._number, self.store.url, entries, routes))
        wanted = {entry.key: READY for entry in entries}
        await eventually(lambda: self.loader.states == wanted and not self.loader._tasks)

    async def answer(self, model: str, x: np.ndarray) -> np.ndarray:
        response = await self.dispatcher.infer(InferenceRequest(model, inputs={"x": x}))
        assert response.outputs is not None
        return response.outputs["y"]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    await gateway.hold()


def write_dense(path: Path) -> Path:
    """`y = x * 2`, FP32[N, 16], as a matrix product."""
    weights = [numpy_helper.from_array(2 * np.eye(16, dtype=np.float32), "w")]
    return write(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], weights, (16,), 16)


def write_convolutions(path: Path) -> Path:
    """`y` is four times the mean of each channel of `x`, FP32[N, 32, SIDE, SIDE]: both convolutions double."""
    kernel = 2 * np.eye(32, dtype=np.float32).reshape(32, 32, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["hidden"]),
        helper.make_node("Conv", ["hidden", "k"], ["last"]),
        helper.make_node("ReduceMean", ["last", "axes"], ["y"], keepdims=0),
    ]
    weights = [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(np.array([2, 3]), "axes")]
    return write(path, nodes, weights, (32, SIDE, SIDE), 32)


def write(
    path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], row: tuple[int, ...], columns: int
) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *row])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", columns])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def memory_bytes() -> int:
    """Of this process, by its proportional set size."""
    gc.collect()
    with open("/proc/self/smaps_rollup") as rollup:
        return next(1024 * int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


async def test_a_hundred_small_models_take_less_than_half_a_mebibyte_each(gateway: Gateway, tmp_path: Path) -> None:
    file = write_dense(tmp_path / "dense.onnx")
    entries = [gateway.publish(f"dense{number}", file, (16,), 16) for number in range(101)]
    await gateway.hold(entries[0])
    before, threads = memory_bytes(), threading.active_count()
    await gateway.hold(*entries)
    assert (memory_bytes() - before) / 100 < MIB / 2
    # The few threads that load versions; none stays for a version.
    assert threading.active_count() < threads + 10
    x = np.arange(16, dtype=np.float32).reshape(1, 16)
    assert np.array_equal(await gateway.answer("dense100", x), 2 * x)


async def test_models_with_large_intermediate_results_share_the_memory_for_them(
    gateway: Gateway, tmp_path: Path
) -> None:
    file = write_convolutions(tmp_path / "convolutions.onnx")
    entries = [gateway.publish(f"net{number}", file, (32, SIDE, SIDE), 32) for number in range(46)]
    await gateway.hold(*entries[:6])  # as many as may be warmed up at once
    before = memory_bytes()
    for count in range(7, 47):
        await gateway.hold(*entries[:count])
    # So many that what the process does beside does not matter; by itself, each would keep some 32 MiB.
    assert (memory_bytes() - before) / 40 < MIB
    x = np.ones((3, 32, SIDE, SIDE), np.float32)
    assert np.allclose(await gateway.answer("net45", x), 4.0)
