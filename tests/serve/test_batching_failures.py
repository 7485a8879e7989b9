"""Batches that fail, and which of their requests do."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import DeadlineExceeded, InternalError, InvalidInput, ModelNotReady, Overloaded
from serve.inference import Tensors
from tests.serve.batch_queues import Clock, OnLoop, Recorder, queue_of, send, values_of
from tests.serve.tiny_versions import double


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
