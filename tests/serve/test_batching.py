"""When a batch starts, what is in it, and where it runs."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from model_store.errors import DeadlineExceeded, ModelNotReady
from tests.serve.batch_queues import Clock, OnLoop, Recorder, queue_of, send, values_of

# -- when a batch starts ---------------------------------------------------------------------------------------------


async def test_a_request_to_an_idle_executor_is_sent_at_once_and_alone(clock: Clock) -> None:
    executor = Recorder()
    request = send(queue_of(executor), 1)
    await clock.settle()
    assert executor.batches == [[1]]
    executor.answer()
    await clock.settle()
    assert values_of(request) == [2]
    assert clock.now == 1000.0


async def test_requests_of_one_loop_turn_share_a_batch(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor)
    requests = [send(queue, 1), send(queue, 2, 3), send(queue, 4)]
    await clock.settle()
    assert executor.batches == [[1, 2, 3, 4]]
    executor.answer()
    await clock.settle()
    assert [values_of(request) for request in requests] == [[2], [4, 6], [8]]


async def test_what_waits_while_a_batch_runs_becomes_the_next_batch(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor)
    send(queue, 1)
    await clock.settle()
    send(queue, 2)
    await clock.settle()
    send(queue, 3)
    await clock.settle()
    assert executor.batches == [[1]]
    assert (queue.waiting_rows, queue.rows) == (2, 3)
    executor.answer()
    await clock.settle()
    assert executor.batches == [[1], [2, 3]]
    assert (queue.waiting_rows, queue.rows) == (0, 2)
    executor.answer()
    await queue.drain()


async def test_two_slots_run_two_batches_at_once(clock: Clock) -> None:
    executor = Recorder(slots=2)
    queue = queue_of(executor)
    for value in (1, 2, 3):
        send(queue, value)
        await clock.settle()
    assert executor.batches == [[1], [2]]
    executor.answer(0)
    await clock.settle()
    assert executor.batches == [[1], [2], [3]]
    executor.answer(1)
    executor.answer(2)
    await queue.drain()


async def test_a_batch_holds_no_more_than_max_batch_size_rows(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=4)
    requests = [send(queue, 1, 2), send(queue, 3), send(queue, 4, 5), send(queue, 6)]
    await clock.settle()
    assert executor.batches == [[1, 2, 3]]
    executor.answer()
    await clock.settle()
    assert executor.batches == [[1, 2, 3], [4, 5, 6]]
    executor.answer()
    await clock.settle()
    assert [values_of(request) for request in requests] == [[2, 4], [6], [8, 10], [12]]


async def test_a_version_that_was_not_proven_row_independent_runs_each_request_alone(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, mergeable=False)
    requests = [send(queue, 1), send(queue, 2), send(queue, 3)]
    await clock.settle()
    assert executor.batches == [[1], [2], [3]]
    assert [values_of(request) for request in requests] == [[2], [4], [6]]


async def test_a_large_request_to_a_version_that_is_not_row_independent_stays_whole(clock: Clock) -> None:
    executor = OnLoop()
    request = send(queue_of(executor, mergeable=False, max_batch_size=2), 1, 2, 3, 4, 5)
    await clock.settle()
    assert executor.batches == [[1, 2, 3, 4, 5]]
    assert values_of(request) == [2, 4, 6, 8, 10]


async def test_ragged_requests_merge_only_with_equal_trailing_shapes(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, ragged=True)
    narrow = [asyncio.ensure_future(queue.run({"x": np.full((1, 2), v)}, 1, 2000.0)) for v in (1, 3)]
    wide = [asyncio.ensure_future(queue.run({"x": np.full((1, 3), v)}, 1, 2000.0)) for v in (2, 4)]
    await clock.settle()
    assert executor.batches == [[1, 1, 3, 3], [2, 2, 2, 4, 4, 4]]
    assert [values_of(request) for request in narrow] == [[2, 2], [6, 6]]
    assert [values_of(request) for request in wide] == [[4, 4, 4], [8, 8, 8]]


async def test_the_oldest_of_several_shapes_goes_first(clock: Clock) -> None:
    executor = Recorder(slots=0)
    queue = queue_of(executor, ragged=True)
    requests = []
    for value, width in ((1, 2), (2, 3), (3, 2), (4, 1)):
        requests.append(asyncio.ensure_future(queue.run({"x": np.full((1, width), value)}, 1, 2000.0)))
        await clock.advance(0.001)
    executor.slots = 3
    queue.wake()
    await clock.settle()
    assert executor.batches == [[1, 1, 3, 3], [2, 2, 2], [4]]
    for index in range(3):
        executor.answer(index)
    await clock.settle()
    assert [values_of(request) for request in requests] == [[2, 2], [4, 4, 4], [6, 6], [8]]


# -- max_delay_ms ----------------------------------------------------------------------------------------------------


async def test_max_delay_waits_for_more_rows(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_delay_ms=5)
    requests = [send(queue, 1)]
    await clock.advance(0.004)
    requests.append(send(queue, 2))
    await clock.settle()
    assert executor.batches == []
    await clock.advance(0.002)
    assert executor.batches == [[1, 2]]
    assert [values_of(request) for request in requests] == [[2], [4]]


async def test_a_full_batch_cuts_the_delay_short(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_delay_ms=5, max_batch_size=2)
    send(queue, 1)
    await clock.settle()
    assert executor.batches == []
    send(queue, 2)
    await clock.settle()
    assert executor.batches == [[1, 2]]
    assert clock.now == 1000.0


async def test_the_delay_counts_from_each_batch_s_oldest_request(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_delay_ms=5, max_batch_size=2)
    for value in (1, 2, 3):
        send(queue, value)
        await clock.advance(0.002)
    assert executor.batches == [[1, 2]]
    await clock.advance(0.002)
    assert executor.batches == [[1, 2]]
    await clock.advance(0.002)
    assert executor.batches == [[1, 2], [3]]


async def test_requests_that_can_not_be_merged_do_not_wait_for_more(clock: Clock) -> None:
    executor = OnLoop()
    request = send(queue_of(executor, mergeable=False, max_delay_ms=5), 1)
    await clock.settle()
    assert values_of(request) == [2]
    assert clock.now == 1000.0


# -- slots, draining, another executor -------------------------------------------------------------------------------


async def test_an_executor_without_slots_gets_requests_when_it_wakes_the_queue(clock: Clock) -> None:
    executor = Recorder(slots=0)
    queue = queue_of(executor)
    request = send(queue, 1)
    await clock.advance(10)
    assert executor.batches == []
    executor.slots = 2
    queue.wake()
    await clock.settle()
    executor.answer()
    await clock.settle()
    assert values_of(request) == [2]


async def test_requests_that_wait_for_an_executor_without_slots_are_told_of_and_refused_by_no_guess(
    clock: Clock,
) -> None:
    executor = Recorder(slots=0)
    queue = queue_of(executor, max_batch_size=1)
    told = []
    queue.on_starved = lambda: told.append(queue.rows)
    requests = [send(queue, 1, deadline=1010.0), send(queue, 2, deadline=1000.001)]
    await clock.settle()
    assert (told, queue.rows) == ([2], 2)
    await clock.advance(5)
    executor.slots = 1
    queue.wake()
    await clock.settle()
    executor.answer()
    await clock.settle()
    assert values_of(requests[0]) == [2]
    with pytest.raises(DeadlineExceeded):
        requests[1].result()
    assert (told, queue.rows) == ([2], 0)


async def test_what_waits_for_an_executor_that_can_not_be_had_fails_with_the_reason(clock: Clock) -> None:
    queue = queue_of(Recorder(slots=0))
    requests = [send(queue, 1), send(queue, 2, 3)]
    await clock.settle()
    queue.fail_waiting(ModelNotReady("the store is away"))
    await queue.drain()
    for request in requests:
        with pytest.raises(ModelNotReady, match="the store is away"):
            await request
    assert queue.rows == 0


async def test_drain_returns_when_nothing_waits_and_nothing_runs(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=1)
    send(queue, 1)
    send(queue, 2)
    await clock.settle()
    drained = asyncio.ensure_future(queue.drain())
    await clock.settle()
    assert not drained.done()
    executor.answer()
    await clock.settle()
    assert executor.batches == [[1], [2]]
    assert not drained.done()
    executor.answer()
    await clock.settle()
    assert drained.done()


async def test_an_idle_queue_is_drained_at_once(clock: Clock) -> None:
    await queue_of(Recorder()).drain()


async def test_another_executor_gets_later_batches_and_running_ones_end_where_they_are(clock: Clock) -> None:
    old, new = Recorder(), Recorder(slots=2)
    queue = queue_of(old, max_batch_size=1)
    running, waiting = send(queue, 1), send(queue, 2)
    await clock.settle()
    queue.replace_executor(new)
    await clock.settle()
    settled = asyncio.ensure_future(queue.settled())
    await clock.settle()
    assert (old.batches, new.batches) == ([[1]], [[2]])
    assert not settled.done()
    old.answer()
    new.answer()
    await clock.settle()
    assert settled.done()
    assert [values_of(running), values_of(waiting)] == [[2], [4]]
