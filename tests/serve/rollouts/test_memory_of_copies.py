"""What copies for a shadow keep in memory, and for how long."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serve.inference import InferenceRequest, InputsWithRoom, Tensors
from serve.rollouts.shadowing import AT_ONCE, MAX_HELD_BYTES
from serve.routing import Batching
from serve.shared_memory import RegionPool
from tests.serve.rollouts.shadowed import PAIR, inline, request, seen, shadowed, times
from tests.serve.tiny_versions import GatedExecutor
from tests.serve.waiting import eventually


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is let go without it was in no circle."""
    gc.disable()
    yield
    gc.enable()


def placed(pool: RegionPool, rows: int = 64 * 1024) -> np.ndarray:
    """Half a MiB in a region, as the front door receives it."""
    tensor = pool.take(rows * 8).tensor(np.dtype(np.float32), (rows, 2))
    tensor[:] = 1
    return tensor


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("shadow", [times(2), lambda inputs: 1 / 0], ids=["answers", "fails"])
async def test_regions_are_lent_until_the_copy_is_done_and_no_longer(shadow: Any) -> None:
    pool = RegionPool()
    gate = asyncio.Event()

    class Waits(GatedExecutor):
        async def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors:
            self.started += 1
            await gate.wait()
            return shadow(inputs)

    waiting = Waits()
    dispatcher = shadowed(waiting, batching=Batching(max_batch_size=64 * 1024))
    await dispatcher.infer(InferenceRequest("m", inputs={"x": placed(pool)}))
    await eventually(lambda: waiting.started == 1)
    # The call is over, and its region not free: another one is given.
    assert len(pool._lent) == 1
    other = placed(pool)
    assert len(pool._lent) == 2
    other[:] = 5
    gate.set()
    comparison = await seen(dispatcher)
    assert comparison.compared + sum(comparison.failures.values()) == 1
    assert comparison.agreeing == comparison.compared
    del other
    assert len(pool._lent) == 0


@pytest.mark.usefixtures("no_collector")
async def test_nothing_of_10_000_copies_is_left() -> None:
    left: list[weakref.ref[np.ndarray]] = []

    def remembered(inputs: Tensors) -> Tensors:
        outputs = times(2)(inputs)
        left.append(weakref.ref(outputs["y"]))
        if (inputs["x"][:, 0] % 7 == 0).any():
            raise ValueError("seven")
        return outputs

    dispatcher = shadowed(inline(remembered))
    for value in range(10_000):
        await dispatcher.infer(request(value))
        if value % AT_ONCE == AT_ONCE - 1:
            await dispatcher.observer.shadowing.settled()
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.failures) == (8571, {"InternalError": 1429})
    assert len(left) > 10_000 / AT_ONCE
    assert [each for each in left if each() is not None] == []
    assert (dispatcher.observer.shadowing.under_way, dispatcher.observer.shadowing._held_bytes) == (0, 0)


async def test_copies_keep_a_bounded_number_of_bytes() -> None:
    hanging = GatedExecutor(slots=1)
    rows = MAX_HELD_BYTES // 32
    dispatcher = shadowed(hanging, batching=Batching(max_batch_size=rows, max_queue=rows * 8))
    big = InferenceRequest("m", inputs={"x": np.ones((rows, 2), np.float32)})
    for _ in range(4):
        await dispatcher.infer(big)
    await asyncio.sleep(0)
    # A quarter of what may be held, and as much for the answer.
    assert dispatcher.observer.shadowing.under_way == 2
    assert dispatcher.observer.seen.comparisons[PAIR].dropped == 2
    hanging.gate.set()
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.agreeing) == (2, 2)


async def test_the_room_for_a_caller_s_answer_is_not_the_shadow_s() -> None:
    rooms: list[bool] = []

    def look(inputs: Tensors) -> Tensors:
        rooms.append(isinstance(inputs, InputsWithRoom))
        return times(2)(inputs)

    dispatcher = shadowed(inline(look), inline(look))
    inputs = InputsWithRoom({"x": np.ones((1, 2), np.float32)}, {"y": memoryview(bytearray(8))})
    await dispatcher.infer(InferenceRequest("m", inputs=inputs))
    await dispatcher.observer.shadowing.settled()
    assert rooms == [True, False]
