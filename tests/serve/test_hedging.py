"""Batches that go to a second replica when the first is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from model_store.errors import DeadlineExceeded
from serve.executors.breaker import ERRORS_IN_A_ROW
from serve.executors.hedging import hedge_budget
from tests.serve.left_over import left_to_the_collector
from tests.serve.replica_fleet import DOUBLED, KEY, Fleet, open_fleet
from tests.serve.tiny_versions import GatedExecutor
from tests.serve.waiting import eventually


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with open_fleet() as fleet:
        yield fleet


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
