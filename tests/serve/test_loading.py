"""A gateway follows its tables: versions of a real store are loaded, changed and taken out behind the dispatcher."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from model_store.errors import ModelNotFound
from serve.reports import LOADING, READY
from serve.routing import Batching, ServeOptions
from tests.serve.loading_gateways import V1, V2, Gateway, blob_of, following, held_up, run_as
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor
from tests.serve.waiting import eventually


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with following(tmp_path) as gateway:
        yield gateway


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
    blob_of(gateway.store, second).write_bytes(b"")
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
    blob = blob_of(gateway.store, second)
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
