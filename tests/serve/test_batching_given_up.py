"""Requests that nobody waits for any more: their deadline has passed, or their client has gone."""

from __future__ import annotations

import pytest

from model_store.errors import DeadlineExceeded
from tests.serve.batch_queues import Clock, OnLoop, Recorder, column, queue_of, send, values_of

# -- deadlines -------------------------------------------------------------------------------------------------------


async def test_a_deadline_that_passes_in_the_queue_is_exceeded_then(clock: Clock) -> None:
    executor = Recorder(slots=0)
    queue = queue_of(executor)
    late, patient = send(queue, 1, deadline=1001.0), send(queue, 2, deadline=1060.0)
    await clock.advance(0.999)
    assert not late.done()
    await clock.advance(0.002)
    with pytest.raises(DeadlineExceeded, match="the deadline passed before the model could answer"):
        late.result()
    assert queue.waiting_rows == 1
    executor.slots = 1
    queue.wake()
    await clock.settle()
    assert executor.batches == [[2]]
    executor.answer()
    await clock.settle()
    assert values_of(patient) == [4]


async def test_an_earlier_deadline_that_comes_later_is_kept(clock: Clock) -> None:
    queue = queue_of(Recorder(slots=0))
    send(queue, 1, deadline=1060.0)
    await clock.settle()
    late = send(queue, 2, deadline=1001.0)
    await clock.advance(1.001)
    with pytest.raises(DeadlineExceeded):
        late.result()


async def test_a_deadline_that_passes_while_the_executor_hangs_is_exceeded_then(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor)
    late, patient = send(queue, 1, deadline=1001.0), send(queue, 2, deadline=1060.0)
    await clock.settle()
    assert executor.batches == [[1, 2]]
    assert executor.deadlines == [1060.0]
    await clock.advance(1.001)
    with pytest.raises(DeadlineExceeded):
        late.result()
    executor.answer()
    await clock.settle()
    assert values_of(patient) == [4]


async def test_a_deadline_that_has_passed_already_reaches_no_executor(clock: Clock) -> None:
    executor = OnLoop()
    with pytest.raises(DeadlineExceeded):
        await queue_of(executor).run(column(1), 1, 999.0)
    assert executor.batches == []


async def test_deadlines_are_kept_after_the_queue_was_idle(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor)
    first = send(queue, 1, deadline=1001.0)
    await clock.settle()
    executor.answer()
    await clock.advance(5)
    assert values_of(first) == [2]
    second = send(queue, 2, deadline=1006.0)
    await clock.advance(1.001)
    with pytest.raises(DeadlineExceeded):
        second.result()


# -- clients that go away --------------------------------------------------------------------------------------------


async def test_a_cancelled_client_takes_its_rows_out_of_the_queue(clock: Clock) -> None:
    executor = Recorder(slots=0)
    queue = queue_of(executor)
    gone, stays = send(queue, 1), send(queue, 2)
    await clock.settle()
    gone.cancel()
    await clock.settle()
    assert queue.waiting_rows == 1
    executor.slots = 1
    queue.wake()
    await clock.settle()
    assert executor.batches == [[2]]
    executor.answer()
    await clock.settle()
    assert values_of(stays) == [4]


async def test_a_client_that_goes_while_its_batch_runs_leaves_the_others_their_rows(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor)
    gone, stays = send(queue, 1), send(queue, 2)
    await clock.settle()
    gone.cancel()
    await clock.settle()
    executor.answer()
    await clock.settle()
    assert gone.cancelled()
    assert values_of(stays) == [4]
