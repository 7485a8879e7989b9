"""Batches that run in this process, on the loop or in a thread."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from model_store.errors import DeadlineExceeded, InvalidInput
from model_store.manifest import Signature, TensorSpec
from serve.executors.inline import InlineExecutor, build_inline_executor, zero_inputs
from serve.inference import Tensors
from tests.serve.replica_fleet import DOUBLED, FLOATS
from tests.serve.tiny_versions import FunctionRuntime, double, manifest

IN_TIME = float("inf")


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
