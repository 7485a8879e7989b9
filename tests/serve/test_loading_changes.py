"""A loaded version is to run in another way: in another executor, on other replicas, with other limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from serve.dialects.open_inference_replica import ReplicaService
from serve.executors.inline import InlineExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.reports import LOADING, READY, VersionLoad
from serve.routing import Replica, Scaling, with_replicas
from tests.serve.loading_gateways import SECRET, V1, V2, Gateway, blob_of, following, held_up, run_as
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import eventually


class ClosingGate(GatedExecutor):
    """Tells when it is closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with following(tmp_path) as gateway:
        yield gateway


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
    blob = blob_of(gateway.store, first)
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
