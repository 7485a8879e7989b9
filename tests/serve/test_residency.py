"""More versions than may be loaded: who goes, who stays, and that requests do not notice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from model_store.errors import IntegrityError, OutOfMemory
from model_store.manifest import TensorSpec
from model_store.store import Store
from serve.dispatcher import Dispatcher
from serve.executors.parked import ParkedExecutor
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.reports import IDLE, LOADING, READY
from serve.residency import BESIDE_FILES_BYTES, is_parked, resident_bytes
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry, VersionKey
from serve.runtime_loading import load_version
from serve.runtimes.base import Runtime
from serve.store_policy import StorePolicy
from tests.e2e.models import write_large
from tests.serve.loading_gateways import blob_of, held_up
from tests.serve.test_idle_models import memory_bytes
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import eventually

MIB = 2**20
WEIGHTS_BYTES = 4 * MIB
ROOM = 5 * (WEIGHTS_BYTES + MIB)
"""For five versions, and not for six."""


class Gateway:
    """A store of models that multiply by their number, and a loader with room for five of them."""

    def __init__(self, folder: Path, room_bytes: int) -> None:
        self.folder = folder
        self.store = Store.open(str(folder / "store"))
        self.dispatcher = Dispatcher(Router())
        self.told = 0
        self.loader = VersionLoader(self.dispatcher, folder / "loaded", "here", "secret", self._note, room_bytes)
        self._number = 0

    def _note(self) -> None:
        self.told += 1

    def publish(self, number: int, **options: int) -> VersionEntry:
        x, y = TensorSpec("x", "FP32", (-1, 2)), TensorSpec("y", "FP32", (-1, 2))
        described = msgspec.structs.replace(manifest(f"m{number}", 0, [x], [y]), key=str(number))
        file = self.folder / f"{number}.onnx"
        write_large(file, number, WEIGHTS_BYTES)
        return VersionEntry(
            self.store.publish(described, {"model.onnx": file}), ServeOptions("inline", deadline_ms=5000, **options)
        )

    def follow(self, *entries: VersionEntry) -> None:
        self._number += 1
        routes = {entry.key[0]: ModelRoute(((entry.key[1], 100),)) for entry in entries}
        self.loader.follow(RoutingTable(self._number, self.store.url, entries, routes))

    async def hold(self, *entries: VersionEntry) -> None:
        """Returns when each of these was loaded, and may be unloaded again."""
        self.follow(*entries)
        keys = {entry.key for entry in entries}
        await eventually(
            lambda: self.loader.states.keys() == keys and set(self.loader.states.values()) <= {READY, IDLE}, 20
        )
        await eventually(lambda: not self.loader._tasks)

    async def hold_six(self) -> tuple[list[VersionEntry], int]:
        """Six versions, and which of them had to be unloaded."""
        entries = [self.publish(number) for number in range(6)]
        await self.hold(*entries)
        (parked,) = set(range(6)) - set(self.in_memory())
        return entries, parked

    async def answer(self, number: int) -> float:
        request = InferenceRequest(f"m{number}", inputs={"x": np.ones((1, 2), np.float32)})
        response = await self.dispatcher.infer(request)
        assert response.outputs is not None
        return float(response.outputs["y"][0, 0])

    def in_memory(self) -> list[int]:
        return sorted(int(key[0][1:]) for key, version in self.dispatcher.loaded.items() if not is_parked(version))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path, ROOM)
    yield gateway
    await gateway.hold()


def key_of(number: int) -> VersionKey:
    return (f"m{number}", 1)


async def test_twenty_models_in_the_memory_of_five_all_answer(gateway: Gateway) -> None:
    entries = [gateway.publish(number) for number in range(20)]
    await gateway.hold(*entries[:5])
    assert len(gateway.in_memory()) == 5
    before = memory_bytes()
    await gateway.hold(*entries)
    for _ in range(2):
        for number in range(20):
            assert await gateway.answer(number) == number
            assert len(gateway.in_memory()) <= 5
    assert gateway.in_memory() == [15, 16, 17, 18, 19]
    # Five are in it already; the other fifteen would be 60 MiB.
    assert memory_bytes() - before < 15 * MIB
    assert sum(resident_bytes(entry.manifest) for entry in entries[:5]) <= ROOM
    assert gateway.loader.states == {key_of(n): READY if n >= 15 else IDLE for n in range(20)}


async def test_the_least_recently_used_goes(gateway: Gateway) -> None:
    entries = [gateway.publish(number) for number in range(7)]
    await gateway.hold(*entries[:5])
    for number in (3, 0, 4, 1, 2):
        assert await gateway.answer(number) == number
        await asyncio.sleep(0.002)  # of the clock that tells when a version was used
    await gateway.hold(*entries[:6])
    assert gateway.in_memory() == [0, 1, 2, 4, 5]
    await gateway.hold(*entries)
    assert gateway.in_memory() == [1, 2, 4, 5, 6]
    assert await gateway.answer(3) == 3
    assert gateway.in_memory() == [2, 3, 4, 5, 6] or gateway.in_memory() == [1, 2, 3, 5, 6]


async def test_what_is_asked_of_an_unloaded_version_beside_inference_does_not_load_it(gateway: Gateway) -> None:
    _, parked = await gateway.hold_six()
    assert gateway.dispatcher.describe_server().ready
    assert len(gateway.dispatcher.describe_all().models) == 6
    assert parked not in gateway.in_memory()


async def test_counters_outlive_an_unloading(gateway: Gateway) -> None:
    entries = [gateway.publish(number) for number in range(6)]
    await gateway.hold(*entries[:5])
    for number in (0, 1, 2, 3, 4):
        await gateway.answer(number)
        await asyncio.sleep(0.002)
    await gateway.hold(*entries)
    assert 0 not in gateway.in_memory()
    await gateway.answer(0)
    assert gateway.dispatcher.loaded[key_of(0)].statistics.success.count == 2


async def test_many_requests_for_an_unloaded_version_load_it_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parked = await gateway.hold_six()
    loads: list[str] = []

    def counted(store_url: str, entry: VersionEntry, folder: Path, policy: StorePolicy) -> Runtime:
        loads.append(entry.key[0])
        return load_version(store_url, entry, folder, policy=policy)

    monkeypatch.setattr("serve.executor_factory.load_version", counted)
    assert await asyncio.gather(*(gateway.answer(parked) for _ in range(100))) == [parked] * 100
    assert loads == [f"m{parked}"]


async def test_a_version_in_use_is_not_taken(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    _, parked = await gateway.hold_six()
    loaded = gateway.in_memory()
    for number in loaded:
        monkeypatch.setattr(type(gateway.dispatcher.loaded[key_of(number)]), "rows", property(_in_use(loaded)))
    waiting = asyncio.ensure_future(gateway.answer(parked))
    await asyncio.sleep(0.1)
    assert gateway.in_memory() == loaded
    monkeypatch.undo()
    assert await waiting == parked
    assert len(gateway.in_memory()) == 5


def _in_use(numbers: list[int]) -> Callable[[object], int]:
    return lambda version: int(int(version.name[1:]) in numbers)  # type: ignore[attr-defined]


async def test_a_version_that_can_not_come_back_answers_with_the_reason_and_is_tried_again(gateway: Gateway) -> None:
    entries, parked = await gateway.hold_six()
    blob = blob_of(gateway.store, entries[parked])
    right = blob.read_bytes()
    blob.write_bytes(b"\0" + right[1:])
    with pytest.raises(IntegrityError):
        await gateway.answer(parked)
    assert gateway.loader.states[key_of(parked)] == IDLE
    blob.write_bytes(right)
    assert await gateway.answer(parked) == parked


async def test_a_version_larger_than_the_budget_fails_with_what_to_do(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, MIB)
    gateway.follow(gateway.publish(1))
    await eventually(lambda: gateway.loader.states.get(key_of(1), LOADING) != LOADING)
    assert gateway.loader.states[key_of(1)] == (
        f"{OutOfMemory.__name__}: model 'm1' version 1 takes about 5 MiB, `gateway.model_memory_mib` is 1; raise that, "
        "or run the model on replicas"
    )


async def test_an_unloaded_version_whose_limits_change_stays_unloaded(gateway: Gateway) -> None:
    entries, parked = await gateway.hold_six()
    entry = entries[parked]
    entries[parked] = VersionEntry(entry.manifest, msgspec.structs.replace(entry.serve, deadline_ms=1234))
    await gateway.hold(*entries)
    assert parked not in gateway.in_memory()
    assert gateway.dispatcher.loaded[key_of(parked)].deadline_s == 1.234


async def test_an_unloaded_version_that_is_run_differently_is_proven_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, parked = await gateway.hold_six()
    allowed = threading.Event()
    monkeypatch.setattr("serve.executor_factory.load_version", held_up(allowed))
    entry = entries[parked]
    entries[parked] = VersionEntry(entry.manifest, msgspec.structs.replace(entry.serve, cpus=2))
    gateway.follow(*entries)
    await eventually(lambda: gateway.loader.states[key_of(parked)] == LOADING)
    waiting = asyncio.ensure_future(gateway.answer(parked))
    allowed.set()
    assert await waiting == parked
    await eventually(lambda: gateway.loader.states[key_of(parked)] == READY)
    assert gateway.dispatcher.loaded[key_of(parked)].entry.serve.cpus == 2
    assert len(gateway.in_memory()) <= 5


async def test_an_unloaded_version_that_leaves_the_table_is_forgotten(gateway: Gateway) -> None:
    entries, parked = await gateway.hold_six()
    await gateway.hold(*(entry for number, entry in enumerate(entries) if number != parked))
    assert key_of(parked) not in gateway.dispatcher.loaded


async def test_without_a_budget_all_stay(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, 0)
    await gateway.hold(*(gateway.publish(number) for number in range(7)))
    assert gateway.in_memory() == list(range(7))
    await gateway.hold()


async def test_a_parked_executor_takes_no_batch() -> None:
    parked = ParkedExecutor()
    assert (parked.slots, parked.idle) == (0, False)
    with pytest.raises(AssertionError):
        parked.run({}, 1.0)
    await parked.close()


def test_a_version_takes_its_files_and_a_little_more() -> None:
    assert resident_bytes(manifest()) == BESIDE_FILES_BYTES
