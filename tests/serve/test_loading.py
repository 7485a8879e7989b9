"""A gateway follows its tables: versions of a real store are loaded, changed and taken out behind the dispatcher."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_store.errors import ModelNotFound
from model_store.store import Store
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.reports import LOADING, READY
from serve.routing import Batching, ModelRoute, Replica, Router, RoutingTable, ServeOptions, VersionEntry
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry, manifest
from tests.serve.waiting import eventually

SECRET = "the cluster's own"


class Gateway:
    """A store with versions that multiply by their own number, and a loader that follows tables."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder / "store"))
        self.folder = folder / "loaded"
        self.dispatcher = Dispatcher(Router())
        self.loader = VersionLoader(self.dispatcher, self.folder, "here", SECRET)
        self._source = folder
        self._number = 0

    def publish(self, factor: int) -> VersionEntry:
        graph = helper.make_graph(
            [
                helper.make_node(
                    "Constant", [], ["f"], value=helper.make_tensor("f", TensorProto.FLOAT, [], [float(factor)])
                ),
                helper.make_node("Mul", ["x", "f"], ["y"]),
            ],
            "times",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        )
        file = self._source / f"{factor}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
        described = msgspec.structs.replace(manifest("times", 0), key=f"key-{factor}")
        return VersionEntry(self.store.publish(described, {"model.onnx": file}), ServeOptions("inline"))

    def follow(self, *entries: VersionEntry, route: int | None = None) -> None:
        self._number += 1
        routes = {"times": ModelRoute(((route, 100),))} if route else {}
        self.loader.follow(RoutingTable(self._number, self.store.url, entries, routes))

    def blob(self, entry: VersionEntry) -> Path:
        """The stored file of a version's model."""
        (found,) = Path(self.store.url).rglob(entry.manifest.files["model.onnx"].sha256)
        found.chmod(0o644)
        return found

    async def states(self, expected: dict[Any, str]) -> None:
        await eventually(lambda: self.loader.states == expected)

    async def answer(self, version: int | None = None) -> float:
        request = InferenceRequest("times", version, inputs={"x": np.ones((1, 2), np.float32)})
        response = await self.dispatcher.infer(request)
        assert response.outputs is not None
        return float(response.outputs["y"][0, 0])


@pytest.fixture
async def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


V1, V2 = ("times", 1), ("times", 2)


async def test_a_version_is_loaded_from_the_store_and_answers(gateway: Gateway) -> None:
    gateway.follow(gateway.publish(5), route=1)
    await asyncio.sleep(0)
    assert gateway.loader.states == {V1: LOADING}
    await gateway.states({V1: READY})
    assert await gateway.answer() == 5
    assert list(gateway.folder.iterdir()) == []


async def test_two_versions_are_held_side_by_side(gateway: Gateway) -> None:
    gateway.follow(gateway.publish(5), gateway.publish(7), route=2)
    await gateway.states({V1: READY, V2: READY})
    assert [await gateway.answer(), await gateway.answer(1), await gateway.answer(2)] == [7, 5, 7]


async def test_a_version_that_left_the_table_is_taken_out_after_its_last_request(gateway: Gateway) -> None:
    first, second = gateway.publish(5), gateway.publish(7)
    gateway.follow(first, second, route=2)
    await gateway.states({V1: READY, V2: READY})
    gate = GatedExecutor()
    gateway.dispatcher.loaded[V1].queue.replace_executor(gate)
    last = asyncio.ensure_future(gateway.answer(1))
    await eventually(lambda: gate.started == 1)
    gateway.follow(second, route=2)
    await gateway.states({V1: "draining", V2: READY})
    with pytest.raises(ModelNotFound):
        await gateway.answer(1)
    gate.gate.set()
    assert await last == 2
    await gateway.states({V2: READY})
    assert gateway.dispatcher.loaded.keys() == {V2}


async def test_a_version_that_comes_back_while_it_drains_is_loaded_again(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    gate = GatedExecutor()
    gateway.dispatcher.loaded[V1].queue.replace_executor(gate)
    last = asyncio.ensure_future(gateway.answer(1))
    await eventually(lambda: gate.started == 1)
    gateway.follow()
    await gateway.states({V1: "draining"})
    gateway.follow(first, route=1)
    gate.gate.set()
    await last
    await gateway.states({V1: READY})
    assert await gateway.answer() == 5


async def test_a_damaged_file_is_the_reason_and_the_others_answer(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = gateway.publish(5), gateway.publish(7)
    blob = gateway.blob(second)
    content = blob.read_bytes()
    blob.write_bytes(b"?" + content[1:])
    gateway.follow(first, second, route=1)
    await eventually(lambda: gateway.loader.states.get(V1) == READY and gateway.loader.states.get(V2) != LOADING)
    assert blob.name in gateway.loader.states[V2]
    assert "version 2 of times can't be loaded" in caplog.text
    assert await gateway.answer() == 5

    blob.write_bytes(content)
    gateway.follow(first, second, route=1)
    await gateway.states({V1: READY, V2: READY})
    assert await gateway.answer(2) == 7


async def test_new_limits_reach_a_loaded_version_without_a_reload(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    executor = loaded.executor
    changed = ServeOptions("inline", batching=Batching(max_batch_size=2), deadline_ms=1000)
    gateway.follow(msgspec.structs.replace(first, serve=changed), route=1)
    await eventually(lambda: loaded.entry.serve == changed)
    assert gateway.dispatcher.loaded[V1] is loaded
    assert loaded.executor is executor
    assert loaded.deadline_s == 1.0


async def test_a_version_moves_to_replicas_and_back(gateway: Gateway) -> None:
    first = gateway.publish(5)
    door = GrpcFrontDoor(dispatcher_of(entry("times")).answer, secret=SECRET)
    (port,) = await door.start(["127.0.0.1:0"])
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]

    moved = msgspec.structs.replace(first, serve=ServeOptions("replicas"))
    gateway.follow(moved, route=1)
    await eventually(lambda: isinstance(loaded.executor, ReplicasExecutor))
    waiting = asyncio.ensure_future(gateway.answer())
    replica = Replica("a", "here", f"127.0.0.1:{port}", "")
    gateway.follow(msgspec.structs.replace(moved, replicas=(replica,)), route=1)
    assert await waiting == 2

    gateway.follow(first, route=1)
    await eventually(lambda: isinstance(loaded.executor, InlineExecutor))
    assert await gateway.answer() == 5
    await door.stop(0)


async def test_a_version_on_replicas_is_ready_when_the_first_one_answers(gateway: Gateway) -> None:
    first = msgspec.structs.replace(gateway.publish(5), serve=ServeOptions("replicas"))
    gateway.follow(first)
    await eventually(lambda: V1 in gateway.dispatcher.loaded)
    assert gateway.loader.states == {V1: LOADING}
    door = GrpcFrontDoor(dispatcher_of(entry("times")).answer, secret=SECRET)
    (port,) = await door.start(["127.0.0.1:0"])
    gateway.follow(msgspec.structs.replace(first, replicas=(Replica("a", "here", f"127.0.0.1:{port}", ""),)))
    await gateway.states({V1: READY})
    gateway.follow(first)
    await eventually(lambda: gateway.dispatcher.loaded[V1].executor.slots == 0)
    assert gateway.loader.states == {V1: READY}
    await gateway.dispatcher.loaded[V1].executor.close()
    await door.stop(0)
