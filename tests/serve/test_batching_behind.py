"""A batch that would only be ready behind a running one: held open, and handed over when it is time."""

from __future__ import annotations

import pytest

from model_store.errors import Overloaded
from serve.batching import AHEAD_S, BatchQueue
from tests.serve.batch_queues import Clock, Recorder, queue_of, send


async def running_after(executor: Recorder, queue: BatchQueue, clock: Clock, took_s: float, rows: int) -> None:
    """A batch of `rows` rows that has just begun, after one that took `took_s`."""
    for _ in range(2):
        send(queue, *range(rows))
        await clock.settle()
        if len(executor.batches) == 1:
            await clock.advance(took_s)
            executor.answer()
            await clock.settle()
    executor.batches.clear()


async def test_a_batch_behind_the_running_one_is_closed_shortly_before_that_ends(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    send(queue, 1)
    await clock.advance(0.09)
    assert executor.batches == []
    send(queue, 2)
    await clock.advance(0.01 - AHEAD_S)
    assert executor.batches == [[1, 2]]
    # There is no third place.
    send(queue, 3)
    await clock.advance(1)
    assert executor.batches == [[1, 2]]


async def test_a_full_batch_goes_behind_the_running_one_at_once(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor, max_batch_size=4)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    send(queue, 1, 2, 3)
    await clock.settle()
    assert executor.batches == []
    send(queue, 4)
    await clock.settle()
    assert executor.batches == [[1, 2, 3, 4]]


async def test_nobody_is_refused_while_there_is_a_place_behind_the_running_batch(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor, max_queue=4)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    send(queue, 1, 2, 3)
    await clock.settle()
    send(queue, 4, 5)
    await clock.settle()
    assert executor.batches == [[1, 2, 3]]
    assert queue.waiting_rows == 2
    with pytest.raises(Overloaded):
        await send(queue, 6, 7, 8)


async def test_a_batch_is_held_only_while_every_worker_has_one(clock: Clock) -> None:
    executor = Recorder(slots=4, workers=2)
    queue = queue_of(executor)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    send(queue, 1)
    await clock.settle()
    assert executor.batches == [[1]]
    send(queue, 2)
    await clock.settle()
    assert executor.batches == [[1]]
    # The smaller one of those that run is expected to end first.
    await clock.advance(0.1 / 4)
    assert executor.batches == [[1], [2]]


async def test_a_batch_that_ends_early_lets_the_next_one_begin(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    send(queue, 1)
    await clock.advance(0.01)
    executor.answer()
    await clock.settle()
    assert executor.batches == [[1]]


async def test_max_delay_does_not_wait_for_an_end_that_came_early(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor, max_delay_ms=5, max_batch_size=4)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    send(queue, 1)
    await clock.advance(0.01)
    for _ in range(2):
        executor.answer()
        await clock.settle()
    assert executor.batches == [[1]]
    send(queue, 2)
    await clock.advance(0.005)
    assert executor.batches == [[1], [2]]


async def test_nothing_is_held_behind_batches_that_are_over_at_once_or_of_unknown_length(clock: Clock) -> None:
    for took_s in (AHEAD_S, 0.0):
        executor = Recorder(slots=2, workers=1)
        queue = queue_of(executor)
        await running_after(executor, queue, clock, took_s, rows=4)
        send(queue, 1)
        await clock.settle()
        assert executor.batches == [[1]]
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor)
    send(queue, 1)
    await clock.settle()
    send(queue, 2)
    await clock.settle()
    assert executor.batches == [[1], [2]]


async def test_a_small_batch_that_runs_is_expected_to_end_sooner(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor)
    await running_after(executor, queue, clock, took_s=0.1, rows=4)
    executor.answer()
    await clock.settle()
    send(queue, 1)
    await clock.settle()
    send(queue, 2)
    await clock.advance(0.1 / 4)
    assert executor.batches == [[1], [2]]


async def test_what_can_not_be_merged_is_not_held(clock: Clock) -> None:
    executor = Recorder(slots=2, workers=1)
    queue = queue_of(executor, mergeable=False)
    await running_after(executor, queue, clock, took_s=0.1, rows=1)
    send(queue, 7)
    await clock.settle()
    assert executor.batches == [[7]]
