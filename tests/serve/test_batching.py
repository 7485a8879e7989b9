"""The batch queue, on a clock that the test moves. Requests are rows of a column `x`; the model doubles them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest

from model_store.errors import DeadlineExceeded, InternalError, InvalidInput, ModelNotReady, Overloaded
from serve.batching import BatchQueue
from serve.inference import Tensors
from serve.routing import Batching
from serve.statistics import VersionStatistics
from tests.serve.tiny_versions import double


class Clock(Protocol):
    now: float

    async def advance(self, seconds: float) -> None: ...

    async def settle(self) -> None: ...


class Recorder:
    """An executor that holds every batch until the test answers or fails it."""

    join = staticmethod(np.concatenate)

    def __init__(self, slots: int = 1, workers: int | None = None) -> None:
        self.slots = slots
        self._workers = workers
        self.batches: list[list[float]] = []
        self.deadlines: list[float] = []
        self._inputs: list[Tensors] = []
        self._futures: list[asyncio.Future[Tensors]] = []

    @property
    def idle(self) -> bool:
        return sum(not future.done() for future in self._futures) < (self._workers or self.slots)

    def run(self, inputs: Tensors, deadline: float) -> asyncio.Future[Tensors]:
        self.batches.append(inputs["x"].ravel().tolist())
        self.deadlines.append(deadline)
        self._inputs.append(inputs)
        self._futures.append(asyncio.get_running_loop().create_future())
        return self._futures[-1]

    def answer(self, index: int = -1) -> None:
        self._futures[index].set_result(double(self._inputs[index]))

    def fail(self, error: Exception, index: int = -1) -> None:
        self._futures[index].set_exception(error)


class OnLoop:
    """An executor that answers at once, or raises what `refuses` returns."""

    slots = 1
    idle = True
    join = staticmethod(np.concatenate)

    def __init__(self, refuses: Callable[[Tensors], Exception | None] = lambda inputs: None) -> None:
        self._refuses = refuses
        self.batches: list[list[float]] = []

    def run(self, inputs: Tensors, deadline: float) -> Tensors:
        self.batches.append(inputs["x"].ravel().tolist())
        if (error := self._refuses(inputs)) is not None:
            raise error
        return double(inputs)


def column(*values: float) -> Tensors:
    return {"x": np.array(values, dtype=np.float32).reshape(-1, 1)}


def queue_of(executor: Any, *, mergeable: bool = True, ragged: bool = False, **batching: Any) -> BatchQueue:
    counted = VersionStatistics("double", "1")
    return BatchQueue(executor, Batching(**batching), counted, mergeable=mergeable, ragged=ragged)


def send(queue: BatchQueue, *values: float, deadline: float = 2000.0) -> asyncio.Task[Tensors]:
    return asyncio.ensure_future(queue.run(column(*values), len(values), deadline))


def values_of(request: asyncio.Task[Tensors]) -> list[float]:
    values: list[float] = request.result()["y"].ravel().tolist()
    return values


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
    assert (queue.waiting_rows, queue.running_batches) == (2, 1)
    executor.answer()
    await clock.settle()
    assert executor.batches == [[1], [2, 3]]
    assert (queue.waiting_rows, queue.running_batches) == (0, 1)
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


# -- large requests --------------------------------------------------------------------------------------------------


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


# -- overload --------------------------------------------------------------------------------------------------------


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


# -- failures --------------------------------------------------------------------------------------------------------


def _negative(inputs: Tensors) -> Exception | None:
    return InvalidInput("a negative value") if (inputs["x"] < 0).any() else None


async def test_a_failed_batch_is_run_request_by_request_on_the_loop(clock: Clock) -> None:
    executor = OnLoop(refuses=_negative)
    queue = queue_of(executor)
    innocent, guilty, another = send(queue, 1), send(queue, -2), send(queue, 3)
    await clock.settle()
    assert executor.batches == [[1, -2, 3], [1], [-2], [3]]
    assert values_of(innocent) == [2]
    assert values_of(another) == [6]
    with pytest.raises(InvalidInput, match="a negative value"):
        guilty.result()


async def test_a_failed_batch_is_run_request_by_request_when_awaited(clock: Clock) -> None:
    executor = Recorder()
    queue = queue_of(executor)
    innocent, guilty = send(queue, 1), send(queue, -2)
    await clock.settle()
    executor.fail(InternalError("internal error 1"))
    await clock.settle()
    assert executor.batches == [[1, -2], [1], [-2]]
    executor.answer(1)
    executor.fail(InternalError("internal error 2"), 2)
    await clock.settle()
    assert values_of(innocent) == [2]
    with pytest.raises(InternalError, match="internal error 2"):
        guilty.result()
    await queue.drain()


@pytest.mark.parametrize("kind", [ModelNotReady, Overloaded, DeadlineExceeded])
async def test_a_batch_that_failed_for_no_request_s_values_is_not_repeated(clock: Clock, kind: type) -> None:
    executor = OnLoop(refuses=lambda inputs: kind("not now"))
    queue = queue_of(executor)
    requests = [send(queue, 1), send(queue, 2)]
    await clock.settle()
    assert executor.batches == [[1, 2]]
    for request in requests:
        with pytest.raises(kind, match="not now"):
            request.result()


async def test_an_answer_that_can_not_be_split_fails_its_requests_and_not_the_queue(clock: Clock) -> None:
    class Scalar(OnLoop):
        def run(self, inputs: Tensors, deadline: float) -> Tensors:
            return {"y": np.float32(1)} if len(inputs["x"]) > 1 else double(inputs)  # type: ignore[dict-item]

    queue = queue_of(Scalar())
    requests = [send(queue, 1), send(queue, 2)]
    await clock.settle()
    assert [values_of(request) for request in requests] == [[2], [4]]


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
