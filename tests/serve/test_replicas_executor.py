"""Batches that run on replicas behind real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from model_store.errors import (
    ConversionError,
    DeadlineExceeded,
    IntegrityError,
    InternalError,
    InvalidInput,
    ModelNotFound,
    OnegateError,
    OutOfMemory,
    Overloaded,
    PayloadTooLarge,
    Unsupported,
)
from model_store.manifest import TensorSpec
from serve.dialects.open_inference_replica import ReplicaService
from serve.executors.inline import InlineExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.inference import Tensors
from serve.routing import Replica
from serve.shared_memory import RegionPool, block_of
from tests.serve.replica_fleet import DOUBLED, KEY, SECRET, Fleet, open_fleet
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S, eventually


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with open_fleet() as fleet:
        yield fleet


async def test_a_batch_is_answered_by_a_replica(fleet: Fleet) -> None:
    await fleet.know(await fleet.serve("a"))
    assert (await fleet.run())["y"].tolist() == DOUBLED


async def test_every_replica_adds_two_slots_when_it_answers(fleet: Fleet) -> None:
    woken: list[int] = []
    fleet.executor.on_slots = lambda: woken.append(fleet.executor.slots)
    assert fleet.executor.slots == 0
    a, b = await fleet.serve("a"), await fleet.serve("b")
    await fleet.know(a)
    assert fleet.executor.slots == 2
    await fleet.know(a, b)
    assert fleet.executor.slots == 4
    await fleet.know(b)
    assert fleet.executor.slots == 2
    assert woken == [2, 4]


async def test_a_listed_replica_that_does_not_answer_is_not_used(fleet: Fleet, free_port: int) -> None:
    answering = await fleet.serve("a")
    silent = Replica("b", "here", f"127.0.0.1:{free_port}", "")
    await fleet.executor.update([answering.listed(), silent])
    assert fleet.executor.slots == 2


async def test_a_replica_of_another_version_is_not_used(fleet: Fleet) -> None:
    executor = ReplicasExecutor(("double", 2), "here", SECRET, RegionPool())
    await executor.update([(await fleet.serve("a")).listed()])
    assert executor.slots == 0
    await executor.close()


async def test_a_replica_of_another_cluster_is_not_used(fleet: Fleet) -> None:
    executor = ReplicasExecutor(KEY, "here", "another secret", RegionPool())
    await executor.update([(await fleet.serve("a")).listed()])
    assert executor.slots == 0
    await executor.close()


async def test_batches_go_to_the_less_busy_replica(fleet: Fleet) -> None:
    gates = [GatedExecutor(), GatedExecutor()]
    await fleet.know(*[await fleet.serve(f"r{index}", gate) for index, gate in enumerate(gates)])
    batches = []
    for expected in (1, 2, 3, 4):
        batches.append(fleet.run())
        await eventually(lambda expected=expected: sum(gate.started for gate in gates) == expected)
    assert [gate.started for gate in gates] == [2, 2]
    for gate in gates:
        gate.gate.set()
    assert [answer["y"].tolist() for answer in await asyncio.gather(*batches)] == [DOUBLED] * 4


async def test_a_replica_of_the_same_node_goes_first(fleet: Fleet) -> None:
    near, far = GatedExecutor(), GatedExecutor()
    near.gate.set()
    here, there = await fleet.serve("near", near), await fleet.serve("far", far)
    await fleet.executor.update([here.listed("here"), there.listed("there")])
    for _ in range(3):
        await fleet.run()
    assert (near.started, far.started) == (3, 0)


async def test_a_batch_whose_replica_stops_is_answered_by_the_other_one(fleet: Fleet) -> None:
    gate = GatedExecutor()
    dying, other = await fleet.serve("a", gate), await fleet.serve("b")
    await fleet.know(dying)
    batch = fleet.run()
    await eventually(lambda: gate.started == 1)
    await fleet.know(dying, other)
    await dying.stop()
    assert (await batch)["y"].tolist() == DOUBLED
    assert fleet.executor.slots == 2


async def test_a_batch_waits_while_the_only_replica_is_replaced(fleet: Fleet) -> None:
    gate = GatedExecutor()
    dying = await fleet.serve("a", gate)
    await fleet.know(dying)
    batch = fleet.run()
    await eventually(lambda: gate.started == 1)
    await dying.stop()
    await eventually(lambda: fleet.executor.slots == 0)
    await fleet.know()
    assert not batch.done()
    await fleet.know(await fleet.serve("b"))
    assert (await batch)["y"].tolist() == DOUBLED


async def test_a_replica_that_comes_back_at_its_address_is_used_again(fleet: Fleet) -> None:
    gate = GatedExecutor()
    first = await fleet.serve("a", gate)
    await fleet.know(first)
    batch = fleet.run()
    await eventually(lambda: gate.started == 1)
    await first.stop()
    await eventually(lambda: fleet.executor.slots == 0)
    await fleet.serve("a", port=first.port)
    async with asyncio.timeout(PATIENCE_S):
        while not fleet.executor.slots:
            await fleet.executor.reconnect()
            await asyncio.sleep(0.05)
    assert (await batch)["y"].tolist() == DOUBLED


async def test_a_replica_that_left_the_list_ends_what_it_has(fleet: Fleet) -> None:
    gate = GatedExecutor()
    await fleet.know(await fleet.serve("a", gate))
    batch = fleet.run()
    await eventually(lambda: gate.started == 1)
    await fleet.know()
    assert fleet.executor.slots == 0
    gate.gate.set()
    assert (await batch)["y"].tolist() == DOUBLED


async def test_without_a_replica_the_deadline_passes(fleet: Fleet) -> None:
    with pytest.raises(DeadlineExceeded, match=r"^no replica of 'double' answered before the deadline$"):
        await fleet.run(within_s=0.05)


async def test_a_replica_that_hangs_lets_the_deadline_pass_and_stays_in_use(fleet: Fleet) -> None:
    gate = GatedExecutor(slots=0)
    await fleet.know(await fleet.serve("a", gate))
    with pytest.raises(DeadlineExceeded):
        await fleet.run(within_s=0.1)
    assert fleet.executor.slots == 2


async def test_an_idle_replica_gets_the_batch_before_one_that_runs_another(fleet: Fleet) -> None:
    gates = [GatedExecutor() for _ in range(4)]
    servers = [await fleet.serve(name, gate) for name, gate in zip("abcd", gates, strict=True)]
    await fleet.know(*servers)
    requests = []
    for number in range(1, 5):
        assert fleet.executor.idle
        requests.append(fleet.run())
        await eventually(lambda number=number: sum(gate.started for gate in gates) == number)
    assert [gate.started for gate in gates] == [1, 1, 1, 1]
    assert not fleet.executor.idle
    for gate in gates:
        gate.gate.set()
    for request in requests:
        assert (await request)["y"].tolist() == DOUBLED
    assert fleet.executor.idle


@pytest.mark.parametrize(
    "kind",
    [
        InvalidInput,
        ModelNotFound,
        Overloaded,
        OutOfMemory,
        DeadlineExceeded,
        Unsupported,
        InternalError,
        IntegrityError,
        ConversionError,
        PayloadTooLarge,
    ],
)
async def test_a_replica_s_error_comes_back_as_its_kind(fleet: Fleet, kind: type[OnegateError]) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise kind("expected 1, got 2")

    await fleet.know(await fleet.serve("a", InlineExecutor(FunctionRuntime(refuse), on_loop=True)))
    with pytest.raises(OnegateError, match=r"^expected 1, got 2$") as refused:
        await fleet.run()
    assert type(refused.value) is kind


async def test_when_to_come_again_is_what_the_replica_says(fleet: Fleet) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise Overloaded("busy", retry_after_s=6.2)

    await fleet.know(await fleet.serve("a", InlineExecutor(FunctionRuntime(refuse), on_loop=True)))
    with pytest.raises(Overloaded, match=r"^busy$") as refused:
        await fleet.run()
    assert refused.value.details["retry_after_s"] == 6.2


async def test_a_replica_s_defect_is_told_with_its_id(fleet: Fleet) -> None:
    def broken(inputs: Tensors) -> Tensors:
        raise ZeroDivisionError

    await fleet.know(await fleet.serve("a", InlineExecutor(FunctionRuntime(broken), on_loop=True)))
    with pytest.raises(InternalError, match=r"^internal error [0-9a-f]{12}; the server's log has the details$"):
        await fleet.run()


BIG = {"x": np.ones((40_000, 2), np.float32)}


async def test_a_region_of_shared_memory_is_given_back_after_each_batch(fleet: Fleet) -> None:
    await fleet.know(await fleet.serve("a"))
    for _ in range(3):
        assert (await fleet.executor.run(BIG, asyncio.get_running_loop().time() + 10))["y"].sum() == 160_000
    # The number of the region among all that were made.
    assert fleet.pool.take(BIG["x"].nbytes).name.split("-")[3] == "1"


async def test_large_answers_come_in_shared_memory_from_the_second_on(fleet: Fleet) -> None:
    await fleet.know(await fleet.serve("a"))
    deadline = asyncio.get_running_loop().time() + 10
    first, second = [await fleet.executor.run(BIG, deadline) for _ in range(2)]
    assert first["y"].tolist() == second["y"].tolist() == (BIG["x"] * 2).tolist()
    assert block_of(first["y"]) is None
    assert block_of(second["y"]) is not None


async def test_a_replica_of_another_node_is_sent_the_tensors_themselves(fleet: Fleet) -> None:
    there = await fleet.serve("there")
    fleet.pool.take = None  # type: ignore[method-assign,assignment]
    await fleet.executor.update([there.listed("there")])
    assert (await fleet.executor.run(BIG, asyncio.get_running_loop().time() + 10))["y"].sum() == 160_000


async def test_bytes_that_are_no_text_travel_to_a_replica_and_back(fleet: Fleet) -> None:
    # Too many for a message, were they numbers: text has no place in shared memory.
    text = np.array([b"", b"\xff", "grün".encode()] * 20_000, object)
    echo: Callable[[Tensors], Tensors] = lambda inputs: {"y": inputs["x"]}  # noqa: E731 - an echo in one line
    described = entry(inputs=(TensorSpec("x", "BYTES", (-1,)),), outputs=(TensorSpec("y", "BYTES", (-1,)),))
    dispatcher = dispatcher_of(described, executor=InlineExecutor(FunctionRuntime(echo), on_loop=True))
    door = ReplicaFrontDoor(ReplicaService(dispatcher.answer), SECRET)
    (port,) = await door.start(["127.0.0.1:0"])
    await fleet.executor.update([Replica("a", "here", f"127.0.0.1:{port}", "")])
    answer = await fleet.executor.run({"x": text}, asyncio.get_running_loop().time() + 5)
    assert answer["y"].tolist() == text.tolist()
    await door.stop(0)
