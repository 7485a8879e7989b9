"""Whose rows go next and with whom: priorities, preferred sizes, turns between models. The clock stands still."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from serve.batching import BatchQueue
from serve.inference import Tensors
from tests.serve.batch_queues import Clock, OnLoop, Recorder, column, queue_of, send, values_of

# -- priorities ------------------------------------------------------------------------------------------------------


def urgent(queue: BatchQueue, priority: int, *values: float) -> asyncio.Task[Tensors]:
    return asyncio.ensure_future(queue.run(column(*values), len(values), 2000.0, priority))


async def test_priority_one_goes_first_and_none_goes_last(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_batch_size=1)
    for priority, value in ((0, 1), (7, 2), (1, 3), (0, 4), (1, 5), (10**9, 6)):
        urgent(queue, priority, value)
    await clock.settle()
    assert executor.batches == [[3], [5], [2], [6], [1], [4]]


async def test_a_batch_is_filled_from_the_most_urgent_on(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, max_batch_size=4)
    requests = [urgent(queue, priority, *values) for priority, values in ((0, (1, 2)), (2, (3,)), (1, (4, 5)))]
    await clock.settle()
    assert executor.batches == [[4, 5, 3], [1, 2]]
    assert [values_of(request) for request in requests] == [[2, 4], [6], [8, 10]]


RANKS_AND_WIDTHS = [(0, 2), (0, 3), (1, 3), (0, 2)]


async def test_a_batch_of_an_urgent_shape_takes_that_shape_only(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, ragged=True)
    cases = [(priority, {"x": np.full((1, width), 10 * priority + width)}) for priority, width in RANKS_AND_WIDTHS]
    await asyncio.gather(*(queue.run(inputs, 1, 2000.0, priority) for priority, inputs in cases))
    assert executor.batches == [[13, 13, 13, 3, 3, 3], [2, 2, 2, 2]]


async def test_a_large_request_yields_to_an_urgent_one(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor, max_batch_size=1)
    send(queue, 1, 2, 3)
    await clock.settle()
    urgent(queue, 1, 9)
    await clock.settle()
    for _ in range(4):
        executor.answer()
        await clock.settle()
    assert executor.batches == [[1], [9], [2], [3]]


# -- preferred sizes -------------------------------------------------------------------------------------------------


async def test_a_batch_is_filled_up_to_the_next_preferred_size(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, preferred=(8, 4), max_batch_size=8)
    for values, batch in (
        ((1, 2, 3), [1, 2, 3, 3]),
        ((1, 2, 3, 4), [1, 2, 3, 4]),
        ((1, 2, 3, 4, 5), [1, 2, 3, 4, 5] + [5] * 3),
    ):
        request = send(queue, *values)
        await clock.settle()
        assert executor.batches.pop() == batch
        assert values_of(request) == [2 * value for value in values]


async def test_merged_requests_are_filled_up_together(clock: Clock) -> None:
    executor = OnLoop()
    queue = queue_of(executor, preferred=(4,))
    requests = [send(queue, 1), send(queue, 2, 3)]
    await clock.settle()
    assert executor.batches == [[1, 2, 3, 3]]
    assert [values_of(request) for request in requests] == [[2], [4, 6]]


async def test_text_is_filled_up_too(clock: Clock) -> None:
    taken: list[list[bytes]] = []

    class Echo(OnLoop):
        def run(self, inputs: Tensors, deadline: float) -> Tensors:
            taken.append(inputs["x"].tolist())
            return {"y": inputs["x"]}

    queue = queue_of(Echo(), preferred=(2,))
    assert (await queue.run({"x": np.array([b"a"], object)}, 1, 2000.0))["y"].tolist() == [b"a"]
    assert taken == [[b"a", b"a"]]


@pytest.mark.parametrize("more", [{"mergeable": False}, {"max_batch_size": 3}, {"preferred": (1, 2)}])
async def test_what_can_not_be_filled_up_stays_as_it_is(clock: Clock, more: dict[str, Any]) -> None:
    executor = OnLoop()
    request = send(queue_of(executor, **{"preferred": (4,)} | more), 1, 2, 3)
    await clock.settle()
    assert executor.batches == [[1, 2, 3]]
    assert values_of(request) == [2, 4, 6]


# -- fairness between models -----------------------------------------------------------------------------------------


async def test_models_on_the_loop_take_turns_however_long_their_queues_are(clock: Clock) -> None:
    turns: list[str] = []

    class Named(OnLoop):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def run(self, inputs: Tensors, deadline: float) -> Tensors:
            turns.append(self.name)
            return super().run(inputs, deadline)

    long, *short = (queue_of(Named(name), max_batch_size=1) for name in ("a", "b", "c"))
    for value in range(6):
        send(long, value)
    await asyncio.sleep(0)
    for queue in short:
        for value in range(2):
            send(queue, value)
    await clock.settle()
    assert turns == ["a", "a", "b", "c", "a", "b", "c", "a", "a", "a"]


async def test_a_slow_model_in_its_thread_lets_models_on_the_loop_run(clock: Clock) -> None:
    slow, fast = Recorder(slots=2), OnLoop()
    slow_queue, fast_queue = queue_of(slow, max_batch_size=1), queue_of(fast, max_batch_size=1)
    for value in range(50):
        send(slow_queue, value)
    requests = [send(fast_queue, value) for value in range(20)]
    for _ in range(2):
        await clock.settle()
    assert [values_of(request) for request in requests] == [[2 * value] for value in range(20)]
    assert len(slow.batches) == 2
