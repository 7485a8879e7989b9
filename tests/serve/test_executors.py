"""Where batches run: in this process, on the loop or in a thread, and on replicas behind real sockets."""

from __future__ import annotations

import asyncio
import threading
import time
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
from model_store.manifest import Signature, TensorSpec
from serve.dialects.open_inference_replica import ReplicaService
from serve.executors.breaker import ERRORS_IN_A_ROW
from serve.executors.hedging import hedge_budget
from serve.executors.inline import InlineExecutor, build_inline_executor, zero_inputs
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.inference import Tensors
from serve.routing import Replica
from serve.shared_memory import RegionPool, block_of
from tests.serve.left_over import left_to_the_collector
from tests.serve.replica_fleet import DOUBLED, FLOATS, KEY, SECRET, Fleet
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, double, entry, manifest
from tests.serve.waiting import eventually

IN_TIME = float("inf")


# -- inline ----------------------------------------------------------------------------------------------------------


class Witness:
    """A runtime that remembers in which thread it ran."""

    def __init__(self) -> None:
        self.thread = ""

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        self.thread = threading.current_thread().name
        return double(inputs)


async def test_on_the_loop_a_batch_is_answered_at_once() -> None:
    runtime = Witness()
    executor = InlineExecutor(runtime, on_loop=True)
    outputs = executor.run(FLOATS, IN_TIME)
    assert isinstance(outputs, dict)
    assert outputs["y"].tolist() == DOUBLED
    assert runtime.thread == threading.main_thread().name
    assert executor.slots == 1
    await executor.close()


async def test_in_a_thread_a_batch_leaves_the_loop_free() -> None:
    runtime = Witness()
    executor = InlineExecutor(runtime, on_loop=False)
    outcome = executor.run(FLOATS, IN_TIME)
    assert not isinstance(outcome, dict)
    assert not executor.idle
    assert (await outcome)["y"].tolist() == DOUBLED
    assert executor.idle
    assert runtime.thread.startswith("runtime")
    assert executor.slots == 2
    await executor.close()


async def test_a_batch_whose_turn_in_the_thread_comes_after_its_deadline_does_not_run() -> None:
    first_may_end = threading.Event()

    def slow(inputs: Tensors) -> Tensors:
        first_may_end.wait(10)
        return double(inputs)

    runtime = FunctionRuntime(slow)
    executor = InlineExecutor(runtime, on_loop=False)
    deadline = asyncio.get_running_loop().time() + 0.05
    batches = [executor.run(FLOATS, limit) for limit in (IN_TIME, deadline, IN_TIME)]
    await asyncio.sleep(0.1)
    first_may_end.set()
    first, late, last = await asyncio.gather(*batches, return_exceptions=True)  # type: ignore[arg-type]
    assert (first["y"].tolist(), last["y"].tolist()) == (DOUBLED, DOUBLED)
    assert isinstance(late, DeadlineExceeded)
    assert runtime.batches == [1, 1]
    await executor.close()


@pytest.mark.parametrize("on_loop", [True, False])
async def test_what_the_runtime_raises_is_raised(on_loop: bool) -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise InvalidInput("the model refuses these values")

    executor = InlineExecutor(FunctionRuntime(refuse), on_loop=on_loop)
    with pytest.raises(InvalidInput, match="refuses these values"):
        await executor.run(FLOATS, IN_TIME)  # type: ignore[misc]
    await executor.close()


async def test_a_batch_shorter_than_a_thread_hop_runs_on_the_loop() -> None:
    runtime = FunctionRuntime()
    assert build_inline_executor(runtime, manifest(), 64).slots == 1
    assert set(runtime.batches) == {1, 64}


async def test_a_version_is_warmed_up_at_the_sizes_that_its_batches_will_have() -> None:
    runtime = FunctionRuntime()
    build_inline_executor(runtime, manifest(), 32, (8, 16, 64))
    assert set(runtime.batches) == {1, 8, 16, 32}


async def test_a_longer_batch_runs_in_a_thread() -> None:
    def slow(inputs: Tensors) -> Tensors:
        time.sleep(0.001 * len(inputs["x"]))
        return double(inputs)

    executor = build_inline_executor(FunctionRuntime(slow), manifest(), 8)
    assert executor.slots == 2
    await executor.close()


async def test_a_version_that_is_not_row_independent_is_warmed_up_with_one_row() -> None:
    runtime = FunctionRuntime()
    await build_inline_executor(runtime, manifest(row_independent=False), 64).close()
    assert set(runtime.batches) == {1}


async def test_a_model_that_refuses_zeros_runs_in_a_thread() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise InvalidInput("zeros")

    executor = build_inline_executor(FunctionRuntime(refuse), manifest(), 64)
    assert executor.slots == 2
    await executor.close()


def test_inputs_of_zeros_fill_the_signature() -> None:
    signature = Signature(
        (
            TensorSpec("x", "FP32", (-1, 2)),
            TensorSpec("s", "BYTES", (-1,)),
            TensorSpec("free", "INT64", (-1, -1, 3)),
            TensorSpec("fixed", "BOOL", (2,)),
        ),
        (),
    )
    zeros = zero_inputs(signature, 4)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in zeros.items()} == {
        "x": (np.float32, (4, 2)),
        "s": (np.object_, (4,)),
        "free": (np.int64, (4, 1, 3)),
        "fixed": (np.bool_, (2,)),
    }
    assert zeros["s"].tolist() == [b""] * 4


# -- replicas --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    await fleet.executor.close()
    for server in fleet.servers:
        await server.stop()


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
    async with asyncio.timeout(10):
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


# -- hedging ---------------------------------------------------------------------------------------------------------


async def hedged_pair(fleet: Fleet, hedge_s: float, *, batches: int) -> tuple[GatedExecutor, GatedExecutor]:
    """Two replicas with gates, after `batches` batches that both answered at once."""
    gates = (GatedExecutor(), GatedExecutor())
    await fleet.know(*[await fleet.serve(f"r{index}", gate) for index, gate in enumerate(gates)])
    for gate in gates:
        gate.gate.set()
    fleet.executor.hedge_s = 10.0
    await asyncio.gather(*(fleet.run() for _ in range(batches)))
    fleet.executor.hedge_s = hedge_s
    for gate in gates:
        gate.started = 0
        gate.gate.clear()
    return gates


async def test_a_batch_that_waits_too_long_goes_to_a_second_replica_and_the_first_answer_wins(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 0.02, batches=20)
    batch = fleet.run()
    await eventually(lambda: [gate.started for gate in gates] == [1, 1])
    gates[1].gate.set()
    assert (await batch)["y"].tolist() == DOUBLED
    # The other one is told that nobody waits for it any more.
    loser = fleet.servers[0].dispatcher.loaded[KEY].statistics
    await eventually(lambda: loser.cancelled.count == 1)
    assert (fleet.executor.budget.taken, fleet.executor.budget.batches) == (1, 21)


async def test_a_batch_that_is_answered_in_time_goes_to_one_replica(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 5.0, batches=20)
    for gate in gates:
        gate.gate.set()
    for _ in range(4):
        await fleet.run()
    assert sum(gate.started for gate in gates) == 4
    assert fleet.executor.budget.taken == 0


async def test_nothing_is_hedged_to_a_replica_that_is_left_out_for_its_errors(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 0.01, batches=20)
    for _ in range(ERRORS_IN_A_ROW):
        fleet.executor.breaker.note_error("r1", 2)
    fleet.executor.breaker.note_answer("r0")
    assert fleet.executor.breaker.note_error("r1", 2)
    fleet.executor._note_slots()
    batch = fleet.run()
    await asyncio.sleep(0.1)
    assert [gate.started for gate in gates] == [1, 0]
    gates[0].gate.set()
    assert (await batch)["y"].tolist() == DOUBLED


async def test_one_batch_in_twenty_may_be_hedged(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 0.01, batches=19)
    batches = [fleet.run() for _ in range(2)]
    await eventually(lambda: sum(gate.started for gate in gates) == 3)
    await asyncio.sleep(0.1)
    assert sum(gate.started for gate in gates) == 3
    for gate in gates:
        gate.gate.set()
    await asyncio.gather(*batches)
    assert fleet.executor.budget.taken == 1


async def test_nothing_is_hedged_to_a_replica_without_a_free_slot(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 0.3, batches=40)
    batches = []
    for expected in (1, 2, 3, 4):
        batches.append(fleet.run())
        await eventually(lambda expected=expected: sum(gate.started for gate in gates) == expected)
    assert [gate.started for gate in gates] == [2, 2]
    await asyncio.sleep(0.5)
    assert fleet.executor.budget.taken == 0
    for gate in gates:
        gate.gate.set()
    await asyncio.gather(*batches)


async def test_a_single_replica_is_never_asked_twice(fleet: Fleet) -> None:
    gate = GatedExecutor()
    await fleet.know(await fleet.serve("a", gate))
    fleet.executor.hedge_s = 0.01
    gate.gate.set()
    for _ in range(21):
        await fleet.run()
    gate.gate.clear()
    batch = fleet.run()
    await eventually(lambda: gate.started == 22)
    await asyncio.sleep(0.1)
    assert gate.started == 22
    gate.gate.set()
    await batch


async def test_a_replica_that_dies_leaves_a_hedged_batch_to_the_other(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 0.01, batches=20)
    batch = fleet.run()
    await eventually(lambda: [gate.started for gate in gates] == [1, 1])
    await fleet.servers[0].stop()
    await eventually(lambda: fleet.executor.slots == 2)
    assert not batch.done()
    gates[1].gate.set()
    assert (await batch)["y"].tolist() == DOUBLED


async def test_an_error_of_the_model_ends_a_hedged_batch(fleet: Fleet) -> None:
    gates = await hedged_pair(fleet, 0.01, batches=20)
    batch = fleet.run(within_s=0.3)
    await eventually(lambda: [gate.started for gate in gates] == [1, 1])
    with pytest.raises(DeadlineExceeded):
        await batch


async def test_a_hedged_batch_that_is_given_up_leaves_nothing_to_the_collector(fleet: Fleet) -> None:
    await hedged_pair(fleet, 0.01, batches=40)

    async def give_up() -> None:
        with pytest.raises(DeadlineExceeded):
            await fleet.run(within_s=0.1)

    await give_up()  # what is made once and stays
    with left_to_the_collector() as left:
        await give_up()
        await asyncio.sleep(0)
    assert (left, fleet.executor.budget.taken) == ({}, 2)


def test_second_tries_are_saved_up_for_ten_only() -> None:
    budget = hedge_budget()
    assert budget.take() is False
    for _ in range(1000):
        budget.note_batch()
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    assert (budget.batches, budget.taken) == (1000, 10)
