"""Requests that are larger than a batch."""

from __future__ import annotations

import pytest

from model_store.errors import DeadlineExceeded, InvalidInput
from tests.serve.batch_queues import Clock, OnLoop, Recorder, queue_of, send, values_of


async def test_a_request_larger_than_the_maximum_is_split_and_joined_in_order(clock: Clock) -> None:
    executor = Recorder(slots=3)
    request = send(queue_of(executor, max_batch_size=2), 1, 2, 3, 4, 5)
    await clock.settle()
    assert executor.batches == [[1, 2], [3, 4], [5]]
    for index in (2, 0, 1):
        executor.answer(index)
    await clock.settle()
    assert values_of(request) == [2, 4, 6, 8, 10]


async def test_the_rest_of_a_large_request_shares_its_batch_with_others(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_batch_size=2)
    requests = [send(queue, 1, 2, 3), send(queue, 9)]
    await clock.settle()
    assert executor.batches == [[1, 2], [9, 3]]
    assert [values_of(request) for request in requests] == [[2, 4, 6], [18]]


async def test_a_large_request_fails_as_a_whole_and_takes_its_parts_out_of_the_queue(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=1)
    request = send(queue, 1, 2, 3)
    await clock.settle()
    executor.fail(InvalidInput("the model refuses these values"))
    await clock.settle()
    with pytest.raises(InvalidInput, match="refuses these values"):
        request.result()
    assert queue.waiting_rows == 0
    await queue.drain()
    assert executor.batches == [[1]]


async def test_a_large_request_whose_client_went_away_leaves_the_queue(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=1)
    request = send(queue, 1, 2, 3)
    await clock.settle()
    request.cancel()
    await clock.settle()
    assert request.cancelled()
    assert queue.waiting_rows == 0
    executor.answer()
    await queue.drain()
    assert executor.batches == [[1]]


async def test_a_large_request_does_not_keep_others_waiting_for_all_of_it(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=2)
    large = send(queue, 1, 2, 3, 4, 5, 6)
    await clock.settle()
    small = [send(queue, 7), send(queue, 8, 9)]
    await clock.settle()
    for _ in range(5):
        executor.answer()
        await clock.settle()
    assert executor.batches == [[1, 2], [3, 4], [7], [8, 9], [5, 6]]
    assert [values_of(request) for request in (large, *small)] == [[2, 4, 6, 8, 10, 12], [14], [16, 18]]


async def test_a_large_request_fills_the_batch_that_another_began(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_batch_size=4)
    requests = [send(queue, 1), send(queue, 2, 3, 4, 5, 6, 7)]
    await clock.settle()
    assert executor.batches == [[1, 2, 3, 4], [5, 6, 7]]
    assert [values_of(request) for request in requests] == [[2], [4, 6, 8, 10, 12, 14]]


async def test_the_deadline_of_a_large_request_takes_its_rest_out_of_the_queue(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=1)
    request = send(queue, 1, 2, 3, deadline=1001.0)
    await clock.advance(1.001)
    with pytest.raises(DeadlineExceeded):
        request.result()
    assert queue.waiting_rows == 0
    executor.answer()
    await queue.drain()
