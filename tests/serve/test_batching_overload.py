"""Requests that are refused at once, because the queue is full or their turn would come too late, and what is counted
of the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from model_store.errors import Overloaded
from serve.batching import BatchQueue
from serve.routing import Batching
from serve.statistics import VersionStatistics
from tests.serve.batch_queues import Clock, OnLoop, Recorder, column, queue_of, send, values_of
from tests.serve.test_batching_behind import running_after


async def test_a_full_queue_refuses_as_overloaded(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_queue=2)
    running = send(queue, 0)
    await clock.settle()
    waiting = [send(queue, 1), send(queue, 2)]
    await clock.settle()
    with pytest.raises(Overloaded) as refused:
        await queue.run(column(3), 1, 2000.0)
    assert str(refused.value) == "2 rows wait already and at most 2 may; try again later"
    assert refused.value.details == {"waiting": 2, "retry_after_s": 1.0}
    executor.answer()
    await clock.settle()
    executor.answer()
    await clock.settle()
    assert [values_of(request) for request in (running, *waiting)] == [[0], [2], [4]]


async def test_a_request_larger_than_max_queue_is_taken_when_nothing_waits(clock: Clock) -> None:
    request = send(queue_of(OnLoop(), max_queue=2), 1, 2, 3)
    await clock.settle()
    assert values_of(request) == [2, 4, 6]


async def test_new_limits_hold_for_what_comes_from_now_on(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_batch_size=1)
    queue.configure(Batching(max_batch_size=3))
    for value in (1, 2, 3):
        send(queue, value)
    await clock.settle()
    assert executor.batches == [[1, 2, 3]]


async def test_a_full_queue_says_when_there_is_room(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_queue=4, mergeable=False)
    send(queue, 0)
    await clock.advance(0.5)
    executor.answer()
    await clock.settle()
    send(queue, 0)
    await clock.settle()
    for value in range(4):
        send(queue, value)
    await clock.settle()
    with pytest.raises(Overloaded) as refused:
        await queue.run(column(1, 2), 2, 2000.0)
    assert refused.value.details == {"waiting": 4, "retry_after_s": 1.0}


async def busy(clock: Clock, **more: Any) -> tuple[Recorder, BatchQueue]:
    """A queue whose batches are known to take a second each, with one running since now."""
    executor = Recorder()
    queue = queue_of(executor, **more)
    send(queue, 0)
    await clock.advance(1)
    executor.answer()
    await clock.settle()
    send(queue, 0)
    await clock.settle()
    return executor, queue


async def test_a_request_whose_turn_comes_after_its_deadline_is_refused_at_once(clock: Clock) -> None:
    executor, queue = await busy(clock, mergeable=False)
    waiting = send(queue, 1)
    await clock.settle()
    with pytest.raises(Overloaded) as refused:
        await queue.run(column(2), 1, clock.now + 1.5)
    assert str(refused.value) == ("the model is busy for about 2 s, longer than the request may wait; try again later")
    assert refused.value.details == {"waiting": 1, "retry_after_s": 0.5}
    assert not waiting.done()
    patient = send(queue, 3, deadline=clock.now + 2.5)
    await clock.settle()
    assert queue.waiting_rows == 2
    for _ in range(3):
        executor.answer()
        await clock.settle()
    assert values_of(patient) == [6]


async def test_a_place_behind_the_running_batch_lets_nobody_wait_in_vain(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor)
    await running_after(executor, queue, clock, took_s=10, rows=1)
    with pytest.raises(Overloaded):
        await queue.run(column(1), 1, clock.now + 1)
    patient = send(queue, 2, deadline=clock.now + 11)
    await clock.settle()
    assert not patient.done()


async def test_what_the_running_batch_has_behind_it_counts(clock: Clock) -> None:
    _, queue = await busy(clock, mergeable=False)
    await clock.advance(0.75)
    request = send(queue, 1, deadline=clock.now + 0.5)
    await clock.settle()
    assert not request.done()
    assert queue.waiting_rows == 1


async def test_rows_that_share_a_batch_are_not_waited_for_one_by_one(clock: Clock) -> None:
    _, queue = await busy(clock)
    requests = [send(queue, value, deadline=clock.now + 2.5) for value in range(60)]
    await clock.settle()
    assert not any(request.done() for request in requests)


async def test_an_idle_or_unknown_executor_refuses_nobody(clock: Clock) -> None:
    executor, queue = await busy(clock, mergeable=False)
    executor.answer()
    await clock.settle()
    idle = send(queue, 1, deadline=clock.now + 0.001)
    unknown_executor = Recorder()
    unknown_queue = queue_of(unknown_executor, mergeable=False)
    unknown = [send(unknown_queue, value, deadline=clock.now + 0.001) for value in range(3)]
    gone_queue = queue_of(Recorder(slots=0))
    gone = send(gone_queue, 1, deadline=clock.now + 0.001)
    await clock.settle()
    assert not any(request.done() for request in (idle, *unknown, gone))


async def test_an_urgent_request_is_not_refused_for_those_behind_it(clock: Clock) -> None:
    _, queue = await busy(clock, mergeable=False)
    for value in range(5):
        send(queue, value)
    await clock.settle()
    first = asyncio.ensure_future(queue.run(column(1), 1, clock.now + 1.5, 1))
    await clock.settle()
    assert not first.done()
    with pytest.raises(Overloaded):
        await queue.run(column(1), 1, clock.now + 1.5, 2)


async def test_a_large_request_is_one_turn_for_those_behind_it(clock: Clock) -> None:
    _, queue = await busy(clock, max_batch_size=1)
    send(queue, *range(100))
    await clock.settle()
    request = send(queue, 1, deadline=clock.now + 2.5)
    await clock.settle()
    assert not request.done()


async def test_another_executor_begins_without_a_history(clock: Clock) -> None:
    _, queue = await busy(clock, mergeable=False)
    replacement = Recorder()
    queue.replace_executor(replacement)
    for value in range(3):
        send(queue, value, deadline=clock.now + 0.001)
    await clock.settle()
    assert (len(replacement.batches), queue.waiting_rows) == (1, 2)


# -- counters --------------------------------------------------------------------------------------------------------


async def test_batches_and_waits_are_counted(clock: Clock) -> None:
    executor = Recorder()
    counted = VersionStatistics("double", "1")
    queue = BatchQueue(executor, Batching(max_batch_size=2), counted, mergeable=True, ragged=False)
    for values in ((1,), (2, 3, 4, 5), (6,)):
        send(queue, *values)
        await clock.settle()
    for _ in range(4):
        await clock.advance(1)
        if len(executor.batches) > counted.batches:
            executor.answer()
            await clock.settle()
    await queue.drain()
    assert executor.batches == [[1], [2, 3], [6], [4, 5]]
    assert counted.rows == 6
    assert counted.batches == 4
    assert {rows: (each.count, each.ns) for rows, each in counted.compute.items()} == {
        1: (2, 2 * 10**9),
        2: (2, 2 * 10**9),
    }
    assert (counted.queue.count, counted.queue.ns) == (3, 3 * 10**9)


def test_sizes_that_clients_choose_do_not_add_up_without_end() -> None:
    counted = VersionStatistics("double", "1")
    for rows in range(1, 2000):
        counted.count_batch(rows, 1, 64)
    assert len(counted.compute) <= 256 + 12
    assert (counted.batches, counted.compute[2048].count) == (1999, 1999 - 1024)
