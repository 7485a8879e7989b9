"""A gateway follows its tables: versions of a real store are loaded, changed and taken out behind the dispatcher."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_store.errors import ModelNotFound
from model_store.store import Store
from serve.dialects.open_inference_replica import ReplicaService
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.reports import LOADING, READY, VersionLoad
from serve.router import Router
from serve.routing import (
    Batching,
    ModelRoute,
    Replica,
    RoutingTable,
    Scaling,
    ServeOptions,
    VersionEntry,
    with_replicas,
)
from serve.runtime_loading import load_version
from serve.runtimes.base import Runtime
from serve.store_policy import StorePolicy
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry, manifest
from tests.serve.waiting import eventually

SECRET = "the cluster's own"


class Gateway:
    """A store with versions that multiply by their own number, and a loader that follows tables."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder / "store"))
        self.folder = folder / "loaded"
        self.dispatcher = Dispatcher(Router())
        self.told: list[dict[Any, str]] = []
        self.news = 0
        self.loader = VersionLoader(self.dispatcher, self.folder, "here", SECRET, self._tell)
        self._source = folder
        self._number = 0

    def _tell(self) -> None:
        self.news += 1
        if self.told[-1:] != [self.loader.states]:
            self.told.append(dict(self.loader.states))

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
        request = InferenceRequest("times", version and str(version), inputs={"x": np.ones((1, 2), np.float32)})
        response = await self.dispatcher.infer(request)
        assert response.outputs is not None
        return float(response.outputs["y"][0, 0])


def held_up(allowed: threading.Event, loads: list[int] | None = None) -> Callable[..., Runtime]:
    """`load_version` that waits to be allowed, and notes the CPUs of what it loads."""

    def load(store_url: str, entry: VersionEntry, folder: Path, policy: StorePolicy) -> Runtime:
        if loads is not None:
            loads.append(entry.serve.cpus)
        assert allowed.wait(5)
        return load_version(store_url, entry, folder, policy=policy)

    return load


class ClosingGate(GatedExecutor):
    """Tells when it is closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    # A version may be ready while tasks of tables that came in between have still to find that nothing is left to do.
    await eventually(lambda: not gateway.loader._tasks)


V1, V2 = ("times", 1), ("times", 2)


async def test_a_version_is_ready_when_it_was_warmed_up_at_the_sizes_in_use(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FunctionRuntime()
    seen: list[tuple[str | None, list[int]]] = []
    monkeypatch.setattr("serve.executor_factory.load_version", lambda *words, **named: runtime)
    entry = gateway.publish(2)
    sizes = Batching(max_batch_size=16, preferred=(4, 8))
    options = msgspec.structs.replace(entry.serve, batching=sizes)
    gateway.loader._on_change = lambda: seen.append(
        (gateway.loader.states.get(entry.key), sorted(set(runtime.batches)))
    )
    gateway.follow(msgspec.structs.replace(entry, serve=options), route=1)
    await gateway.states({entry.key: READY})
    assert seen[0] == (LOADING, [])
    assert next(batches for state, batches in seen if state == READY) == [1, 4, 8, 16]


async def test_a_version_is_loaded_from_the_store_and_answers(gateway: Gateway) -> None:
    gateway.follow(gateway.publish(5), route=1)
    await asyncio.sleep(0)
    assert gateway.loader.states == {V1: LOADING}
    await gateway.states({V1: READY})
    assert await gateway.answer() == 5
    assert list(gateway.folder.iterdir()) == []


async def test_each_change_is_told(gateway: Gateway) -> None:
    first, second = gateway.publish(5), gateway.publish(7)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    gateway.blob(second).write_bytes(b"")
    gateway.follow(first, second, route=1)
    await eventually(lambda: "IntegrityError" in gateway.loader.states[V2])
    failed = gateway.loader.states[V2]
    gateway.follow()
    await eventually(lambda: gateway.told[-1] == {})
    states = [
        *({V1: LOADING}, {V1: READY}),
        *({V1: READY, V2: LOADING}, {V1: READY, V2: failed}),
    ]
    assert gateway.told[: len(states)] == states


async def test_a_table_that_says_the_same_of_a_version_leaves_its_loading_alone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, allowed = gateway.publish(5), threading.Event()
    loads: list[int] = []
    monkeypatch.setattr("serve.executor_factory.load_version", held_up(allowed, loads))
    gateway.follow(first)
    await eventually(lambda: loads == [1])
    before = asyncio.all_tasks()
    gateway.follow(first, route=1)
    assert asyncio.all_tasks() == before
    allowed.set()
    await gateway.states({V1: READY})
    assert (await gateway.answer(), loads) == (5, [1])


async def test_two_versions_are_held_side_by_side(gateway: Gateway) -> None:
    gateway.follow(gateway.publish(5), gateway.publish(7), route=2)
    await gateway.states({V1: READY, V2: READY})
    assert [await gateway.answer(), await gateway.answer(1), await gateway.answer(2)] == [7, 5, 7]


async def test_a_version_that_left_the_table_is_taken_out_after_its_last_request(gateway: Gateway) -> None:
    first, second = gateway.publish(5), gateway.publish(7)
    gateway.follow(first, second, route=2)
    await gateway.states({V1: READY, V2: READY})
    gate = GatedExecutor()
    gateway.dispatcher.loaded[V1].replace_executor(gate)
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
    gateway.dispatcher.loaded[V1].replace_executor(gate)
    last = asyncio.ensure_future(gateway.answer(1))
    await eventually(lambda: gate.started == 1)
    gateway.follow()
    await gateway.states({V1: "draining"})
    gateway.follow(first, route=1)
    await gateway.loader.reconnect()
    assert gateway.loader.states == {V1: LOADING}
    gate.gate.set()
    assert await last == 2
    await gateway.states({V1: READY})
    assert await gateway.answer() == 5


async def test_a_version_that_leaves_and_comes_back_while_it_loads_is_loaded_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, allowed = gateway.publish(5), threading.Event()
    loads: list[int] = []
    monkeypatch.setattr("serve.executor_factory.load_version", held_up(allowed, loads))
    gateway.follow(first)
    await eventually(lambda: loads == [1])
    gateway.follow()
    gateway.follow(first, route=1)
    allowed.set()
    await gateway.states({V1: READY})
    assert (await gateway.answer(), loads) == (5, [1])


async def test_a_version_that_leaves_for_good_while_it_loads_is_not_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, allowed = gateway.publish(5), threading.Event()
    loads: list[int] = []
    monkeypatch.setattr("serve.executor_factory.load_version", held_up(allowed, loads))
    gateway.follow(first)
    await eventually(lambda: loads == [1])
    for entries in ((), (first,), ()):
        gateway.follow(*entries)
    allowed.set()
    await gateway.states({})
    assert (gateway.dispatcher.loaded, loads) == ({}, [1])


async def test_a_version_changed_while_it_loads_is_ready_when_it_is_run_as_the_newest_table_says(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, allowed = gateway.publish(5), threading.Event()
    loads: list[int] = []
    monkeypatch.setattr("serve.executor_factory.load_version", held_up(allowed, loads))
    gateway.follow(first)
    await eventually(lambda: loads == [1])
    changed = run_as(first, "inline", cpus=2)
    gateway.follow(changed, route=1)
    allowed.set()
    await gateway.states({V1: READY})
    assert gateway.dispatcher.loaded[V1].entry == changed
    assert (await gateway.answer(), loads) == (5, [1, 2])


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


# -- another way of running ------------------------------------------------------------------------------------------


class Doors:
    """Model replicas of version 1 that double, at real sockets."""

    def __init__(self) -> None:
        self._open: list[ReplicaFrontDoor] = []

    async def replica(self, name: str = "a") -> Replica:
        door = ReplicaFrontDoor(ReplicaService(dispatcher_of(entry("times")).answer), SECRET)
        (port,) = await door.start(["127.0.0.1:0"])
        self._open.append(door)
        return Replica(name, "here", f"127.0.0.1:{port}", "")

    async def close(self) -> None:
        for door in self._open:
            await door.stop(0)


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    doors = Doors()
    yield doors
    await doors.close()


def run_as(published: VersionEntry, executor: str, *replicas: Replica, cpus: int = 1) -> VersionEntry:
    return msgspec.structs.replace(published, serve=ServeOptions(executor, cpus=cpus), replicas=replicas)


async def test_a_version_that_moves_to_replicas_answers_inline_until_one_answers(
    gateway: Gateway, doors: Doors
) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    inline = loaded.executor

    gateway.follow(run_as(first, "replicas"), route=1)
    assert gateway.loader.states == {V1: LOADING}
    await eventually(lambda: isinstance(loaded.successor, ReplicasExecutor))
    await gateway.loader.reconnect()
    assert (gateway.loader.states, loaded.executor, await gateway.answer()) == ({V1: LOADING}, inline, 5)

    gateway.follow(run_as(first, "replicas", await doors.replica()), route=1)
    await gateway.states({V1: READY})
    assert gateway.dispatcher.loaded[V1] is loaded
    assert isinstance(loaded.executor, ReplicasExecutor)
    assert (loaded.successor, loaded.entry.serve.executor, await gateway.answer()) == (None, "replicas", 2)


async def test_a_replica_that_answers_later_is_found_without_a_new_table(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    door = ReplicaFrontDoor(ReplicaService(dispatcher_of(entry("times")).answer), SECRET)
    late = Replica("late", "here", "unix-abstract:onegate-test-late", "")
    gateway.follow(run_as(first, "replicas", late), route=1)
    await eventually(lambda: gateway.dispatcher.loaded[V1].successor is not None)
    assert (gateway.loader.states, await gateway.answer()) == ({V1: LOADING}, 5)
    await door.start([late.local])
    await gateway.loader.reconnect()
    assert (gateway.loader.states, await gateway.answer()) == ({V1: READY}, 2)
    await gateway.dispatcher.loaded[V1].executor.close()
    await door.stop(0)


async def test_a_version_that_moves_back_inline_answers_from_its_replicas_meanwhile(
    gateway: Gateway, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, allowed = gateway.publish(5), threading.Event()
    replica = await doors.replica()
    gateway.follow(run_as(first, "replicas", replica), route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    monkeypatch.setattr("serve.executor_factory.load_version", held_up(allowed))

    gateway.follow(run_as(first, "inline", replica), route=1)
    await asyncio.sleep(0.02)
    # The old executor has slots all the while; that is not what the new table asks.
    await gateway.loader.reconnect()
    assert (gateway.loader.states, await gateway.answer()) == ({V1: LOADING}, 2)

    allowed.set()
    await gateway.states({V1: READY})
    assert isinstance(loaded.executor, InlineExecutor)
    assert (loaded.successor, await gateway.answer()) == (None, 5)


async def test_batches_under_way_end_in_the_executor_that_is_left(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded, gate = gateway.dispatcher.loaded[V1], ClosingGate()
    loaded.executor = gate
    loaded.replace_executor(gate)
    under_way = asyncio.ensure_future(gateway.answer())
    await eventually(lambda: gate.started == 1)

    gateway.follow(run_as(first, "inline", cpus=2), route=1)
    await gateway.states({V1: READY})
    assert (await gateway.answer(), under_way.done(), gate.closed) == (5, False, False)
    gate.gate.set()
    assert await under_way == 2
    await eventually(lambda: gate.closed)


async def test_a_change_that_is_taken_back_leaves_everything_as_it_was(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    inline = loaded.executor
    gateway.follow(run_as(first, "replicas"), route=1)
    await eventually(lambda: loaded.successor is not None)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    assert (loaded.executor, loaded.successor, loaded.entry) == (inline, None, first)
    assert await gateway.answer() == 5


async def test_a_change_that_is_taken_back_before_it_has_begun_is_not_made(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    inline = loaded.executor
    for each in (run_as(first, "inline", cpus=2), first):
        gateway.follow(each, route=1)
    assert gateway.loader.states == {V1: LOADING}
    await gateway.states({V1: READY})
    assert (loaded.executor, loaded.entry) == (inline, first)


async def test_a_change_that_can_not_be_made_is_the_reason_and_the_version_answers_as_before(
    gateway: Gateway, doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    first, replica = gateway.publish(5), await doors.replica()
    gateway.follow(run_as(first, "replicas", replica), route=1)
    await gateway.states({V1: READY})
    blob = gateway.blob(first)
    content = blob.read_bytes()
    blob.write_bytes(b"?" + content[1:])
    gateway.follow(run_as(first, "inline", replica), route=1)
    await eventually(lambda: gateway.loader.states[V1] != LOADING)
    await gateway.loader.reconnect()
    assert blob.name in gateway.loader.states[V1]
    assert "version 1 of times can't be loaded" in caplog.text
    assert await gateway.answer() == 2

    # The controller falls back.
    gateway.follow(run_as(first, "replicas", replica), route=1)
    await gateway.states({V1: READY})
    assert await gateway.answer() == 2

    blob.write_bytes(content)
    gateway.follow(run_as(first, "inline", replica), route=1)
    await gateway.states({V1: READY})
    assert await gateway.answer() == 5


async def test_a_version_that_leaves_the_table_during_a_change_leaves_whole(gateway: Gateway) -> None:
    first = gateway.publish(5)
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    gateway.follow(run_as(first, "replicas"), route=1)
    gateway.follow()
    await gateway.states({})
    assert gateway.dispatcher.loaded == {}


async def test_a_version_on_replicas_is_ready_when_the_first_one_answers(gateway: Gateway, doors: Doors) -> None:
    first = run_as(gateway.publish(5), "replicas")
    gateway.follow(first)
    await eventually(lambda: V1 in gateway.dispatcher.loaded)
    assert gateway.loader.states == {V1: LOADING}
    gateway.follow(msgspec.structs.replace(first, replicas=(await doors.replica(),)))
    await gateway.states({V1: READY})
    gateway.follow(first)
    await eventually(lambda: gateway.dispatcher.loaded[V1].executor.slots == 0)
    # Once ready it stays so: requests wait while its replicas restart.
    assert gateway.loader.states == {V1: READY}


async def test_a_version_that_is_to_have_no_replica_is_ready_and_its_first_request_is_told_and_answered(
    gateway: Gateway, doors: Doors
) -> None:
    first = run_as(gateway.publish(5), "replicas")
    bounds = Scaling(0, 2, 2, 1.0, 10.0)
    none = msgspec.structs.replace(
        first, serve=msgspec.structs.replace(first.serve, replicas=0, scaling=bounds, deadline_ms=5000)
    )
    gateway.follow(none, route=1)
    await gateway.states({V1: READY})
    assert gateway.loader.loads() == {V1: VersionLoad(0, None, 0.0)}
    news = gateway.news
    waiting = asyncio.ensure_future(gateway.answer())
    await eventually(lambda: gateway.news == news + 1)
    assert gateway.loader.loads() == {V1: VersionLoad(1, None, 0.0)}
    more = asyncio.ensure_future(gateway.answer())
    await eventually(lambda: gateway.loader.loads()[V1].rows == 2)
    # One who waits was told of already: nothing more is to be learnt before the next heartbeat.
    assert gateway.news == news + 1
    one = msgspec.structs.replace(with_replicas(none, 1), replicas=(await doors.replica(),))
    gateway.follow(one, route=1)
    assert (await waiting, await more) == (2, 2)
    load = gateway.loader.loads()[V1]
    assert (load.rows, load.idle_s is not None and load.idle_s < 5, load.busy_s > 0) == (0, True, True)


async def test_loads_are_told_of_versions_whose_number_moves_only(gateway: Gateway) -> None:
    gateway.follow(run_as(gateway.publish(5), "replicas"), gateway.publish(6))
    await eventually(lambda: gateway.dispatcher.loaded.keys() == {V1, V2})
    assert gateway.loader.loads() == {}


async def test_a_new_list_of_replicas_reaches_the_executor_in_place(gateway: Gateway, doors: Doors) -> None:
    first = gateway.publish(5)
    gateway.follow(run_as(first, "replicas", await doors.replica("a")), route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    executor, slots = loaded.executor, loaded.executor.slots
    gateway.follow(run_as(first, "replicas", *loaded.entry.replicas, await doors.replica("b")), route=1)
    await eventually(lambda: loaded.executor.slots == 2 * slots)
    assert loaded.executor is executor
    assert gateway.loader.states == {V1: READY}
    assert await gateway.answer() == 2


async def test_shared_memory_that_is_idle_is_let_go(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.shared_memory.IDLE_S", 0)
    first, second = [gateway.loader.regions.take(300_000).name for _ in range(2)]
    assert first == second
    for _ in range(2):
        await gateway.loader.reconnect()
    assert gateway.loader.regions.take(300_000).name != first


async def test_new_settings_of_hedging_and_cache_take_effect_in_place(gateway: Gateway, doors: Doors) -> None:
    first = run_as(gateway.publish(5), "replicas", await doors.replica())
    gateway.follow(first, route=1)
    await gateway.states({V1: READY})
    loaded = gateway.dispatcher.loaded[V1]
    executor = loaded.executor
    assert isinstance(executor, ReplicasExecutor)
    assert executor.hedge_s is None
    changed = msgspec.structs.replace(first.serve, hedge_ms=250.0, cache_mib=1)
    gateway.follow(msgspec.structs.replace(first, serve=changed), route=1)
    await eventually(lambda: loaded.entry.serve == changed)
    assert loaded.executor is executor
    assert executor.hedge_s == 0.25
    assert [await gateway.answer() for _ in range(2)] == [2, 2]
    assert (loaded.statistics.cache_miss.count, loaded.statistics.cache_hit.count) == (1, 1)
