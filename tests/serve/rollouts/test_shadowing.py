"""Copies for versions that answer nobody: compared and counted, never in anybody's way."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from model_store.errors import InvalidInput, ModelNotReady, Overloaded
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, TensorSpec
from serve.executors.inline import InlineExecutor
from serve.executors.parked import ParkedExecutor
from serve.inference import InferenceRequest, Payload, Tensors
from serve.lanes import LoadedVersion
from serve.payloads import answers_to_tensors, requests_of, to_tensors
from serve.rollouts.observations import Observations, VersionCounters, decoded
from serve.rollouts.shadowing import AT_ONCE
from serve.rollouts.sticky import Sticky
from serve.routing import Batching, ModelRoute
from tests.serve.rollouts.shadowed import PAIR, answered, inline, request, seen, shadowed, times
from tests.serve.tiny_versions import GatedExecutor, entry
from tests.serve.waiting import eventually

# -- what is compared ------------------------------------------------------------------------------------------------


async def test_answers_are_the_first_version_s_and_those_of_the_shadow_are_compared() -> None:
    dispatcher = shadowed(inline(lambda inputs: {"y": inputs["x"] * np.float32([3, 2])}))
    for value in range(1, 11):
        response = await dispatcher.infer(request(value))
        assert (response.version, answered(response)) == ("1", [[2 * value, 2 * value]])
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.failures, comparison.dropped) == (10, {}, 0)
    assert comparison.outputs["y"].max_error == pytest.approx(0.5)
    assert (comparison.reference_latency.count, comparison.latency.count) == (10, 10)
    # More than a microsecond: not by the loop's clock, which may have whole milliseconds.
    assert (comparison.reference_latency.quantile(0.0) or 0) > 1_000
    assert (comparison.latency.quantile(0.0) or 0) > 1_000


async def test_20_000_answers_are_never_the_shadow_s() -> None:
    dispatcher = shadowed(inline(times(3)), route=ModelRoute(((1, 100),), shadows=((2, 10.0),)))
    for value in range(20_000):
        response = await dispatcher.infer(request(value))
        assert (response.version, answered(response)) == ("1", [[2 * value, 2 * value]])
    comparison = await seen(dispatcher)
    # Five standard deviations to either side.
    assert abs(comparison.compared + comparison.dropped - 2_000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5
    assert comparison.outputs["y"].max_error == 0.5


async def test_a_canary_that_is_compared_gets_copies_of_the_other_s_calls_only() -> None:
    dispatcher = shadowed(inline(times(2)), route=ModelRoute(((1, 50), (2, 50)), shadows=((2, 100.0),)))
    for _ in range(200):
        await dispatcher.infer(request())
        await dispatcher.observer.shadowing.settled()
    counters = dispatcher.observer.seen.counters
    comparison = await seen(dispatcher)
    assert comparison.compared == comparison.agreeing == counters["m", 1].requests > 0
    assert counters["m", 1].requests + counters["m", 2].requests == 200
    assert dispatcher.observer.seen.comparisons.keys() == {PAIR}


@pytest.mark.parametrize("named", [{"version": "1"}, {"label": "next"}, {"version": "2"}])
async def test_calls_that_name_a_version_are_not_copied(named: dict[str, str]) -> None:
    dispatcher = shadowed(inline(times(2)))
    await dispatcher.infer(request(**named))
    assert (await seen(dispatcher)).compared == 0
    assert dispatcher.observer.seen.counters == {("m", 1): VersionCounters()}


async def test_all_outputs_are_compared_whichever_the_caller_wants() -> None:
    two = (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "FP32", (-1, 2)))
    dispatcher = shadowed(inline(lambda inputs: {"y": inputs["x"], "z": -inputs["x"]}))
    described = entry("m", 1, outputs=two)
    both = inline(lambda inputs: {"y": inputs["x"], "z": inputs["x"]})
    dispatcher.loaded["m", 1] = LoadedVersion(described, both)
    response = await dispatcher.infer(request(wanted_outputs=("y",)))
    assert response.outputs is not None
    assert list(response.outputs) == ["y"]
    comparison = await seen(dispatcher)
    assert {name: output.max_error for name, output in comparison.outputs.items()} == {"y": 0.0, "z": 2.0}


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (ValueError("broken"), {"InternalError": 1}),
        (ModelNotReady("gone"), {"ModelNotReady": 1}),
        (InvalidInput("no such number"), {"InvalidInput": 1}),
    ],
)
async def test_a_shadow_that_fails_is_counted_and_told_nobody(error: Exception, failures: dict[str, int]) -> None:
    def fail(inputs: Tensors) -> Tensors:
        raise error

    dispatcher = shadowed(inline(fail))
    assert answered(await dispatcher.infer(request())) == [[2, 2]]
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.failures) == (0, failures)


async def test_a_shadow_with_another_signature_fails() -> None:
    dispatcher = shadowed(inline(times(2)))
    wider = entry("m", 2, inputs=(TensorSpec("x", "FP32", (-1, 3)),))
    dispatcher.loaded["m", 2] = LoadedVersion(wider, inline(times(2)))
    await dispatcher.infer(request())
    assert (await seen(dispatcher)).failures == {"InvalidInput": 1}


async def test_a_shadow_that_is_not_loaded_yet_gets_no_copies() -> None:
    dispatcher = shadowed(inline(times(2)))
    del dispatcher.loaded["m", 2]
    await dispatcher.infer(request())
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.dropped) == (0, 1)


def replying(body: bytes, status: int = 200) -> InlineExecutor:
    """A handler's stand-in: the body that it is sent, and this one behind it."""

    def answer(inputs: Tensors) -> Tensors:
        return answers_to_tensors(
            [Payload(payload.body + body, "application/json", status=status) for payload in requests_of(inputs)]
        )

    return inline(answer, on_loop=False)


@pytest.mark.parametrize(
    ("shadow", "counted"),
    [
        (replying, (1, 1, {})),
        (lambda body: replying(b" " + body), (1, 1, {})),
        (lambda body: replying(b"0" + body), (1, 0, {})),
        (lambda body: replying(body, 404), (1, 0, {})),
        (lambda body: replying(body, 503), (0, 0, {"status 503": 1})),
    ],
    ids=["equal", "equal_json", "different", "other_status", "server_error"],
)
async def test_bodies_are_compared(shadow: Any, counted: tuple[int, int, dict[str, int]]) -> None:
    dispatcher = shadowed(shadow(b"]"), replying(b"]"))
    body = Payload(b"[1", "application/json")
    response = await dispatcher.infer(InferenceRequest("m", signature=PAYLOAD, payload=body))
    assert response.payload is not None
    assert (response.payload.body, response.payload.status) == (b"[1]", 200)
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.agreeing, comparison.failures) == counted


# -- what is counted -------------------------------------------------------------------------------------------------


async def test_calls_of_a_split_are_counted_by_version() -> None:
    def refuse_twos(inputs: Tensors) -> Tensors:
        if (inputs["x"] == 2).any():
            raise InvalidInput("not 2")
        if (inputs["x"] == 3).any():
            raise ValueError("broken by 3")
        return times(2)(inputs)

    dispatcher = shadowed(inline(refuse_twos), inline(refuse_twos), ModelRoute(((1, 50), (2, 50))))
    failed = 0
    for value in [1, 2, 3] * 100:
        try:
            await dispatcher.infer(request(value))
        except (InvalidInput, ValueError):
            failed += 1
    await asyncio.sleep(0)
    counters = dispatcher.observer.seen.counters
    assert failed == 200
    assert sum(each.requests for each in counters.values()) == 200
    assert sum(each.failed for each in counters.values()) == 100
    assert all(each.requests == each.latency.count + each.failed for each in counters.values())
    assert all(each.faults.keys() == {"InternalError"} for each in counters.values())
    assert sum(each.refused for each in counters.values()) == 100
    assert counters.keys() == {("m", 1), ("m", 2)}


async def test_refused_calls_of_a_sticky_split_count_for_no_version() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise InvalidInput("no")

    dispatcher = shadowed(inline(refuse), inline(refuse), ModelRoute(((1, 50), (2, 50)), sticky=Sticky("x-user")))
    for _ in range(20):
        with pytest.raises(InvalidInput):
            await dispatcher.infer(request(1))
    assert [each.refused for each in dispatcher.observer.seen.counters.values()] == [0, 0]


async def test_a_handler_s_own_server_error_is_a_fault() -> None:
    dispatcher = shadowed(replying(b""), replying(b"", 503))
    body = Payload(b"{}", "application/json")
    for named in ({}, {"version": "1"}):
        await dispatcher.infer(InferenceRequest("m", signature=PAYLOAD, payload=body, **named))
    await asyncio.sleep(0)
    counters = dispatcher.observer.seen.counters["m", 1]
    assert (counters.requests, counters.faults, counters.latency.count) == (1, {"status 503": 1}, 0)


async def test_a_model_that_is_not_watched_is_not_counted() -> None:
    dispatcher = shadowed(inline(times(2)), route=ModelRoute(((1, 100),)))
    await dispatcher.infer(request())
    observer = dispatcher.observer
    assert (observer.seen, observer.report(), observer.shadowing.under_way) == (Observations(), b"", 0)


async def test_a_report_is_what_was_seen_when_it_was_made() -> None:
    dispatcher = shadowed(inline(times(2)))
    await dispatcher.infer(request())
    await seen(dispatcher)
    report = dispatcher.observer.report()
    assert decoded(report) == dispatcher.observer.seen
    await dispatcher.infer(request())
    assert decoded(report).comparisons[PAIR].compared == 1
    assert decoded(b"") == Observations()


async def test_rows_of_bodies_are_compared_one_by_one() -> None:
    dispatcher = shadowed(replying(b"]"), replying(b" ]"))
    rows = {name: np.concatenate([t, t]) for name, t in to_tensors(Payload(b"[1", "application/json")).items()}
    await dispatcher.infer(InferenceRequest("m", signature=PAYLOAD, inputs=rows))
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.agreeing, comparison.outputs["body"].rows) == (1, 1, 2)


async def test_a_payload_model_s_default_signature_is_compared_as_bodies() -> None:
    dispatcher = shadowed(replying(b"]", 503), replying(b"]"))
    for number in (1, 2):
        version = dispatcher.loaded["m", number]
        described = msgspec.structs.replace(version.entry.manifest, default_signature=PAYLOAD)
        described = msgspec.structs.replace(described, signatures={PAYLOAD: PAYLOAD_SIGNATURE})
        dispatcher.loaded["m", number] = LoadedVersion(
            msgspec.structs.replace(version.entry, manifest=described), version.executor
        )
    await dispatcher.infer(InferenceRequest("m", payload=Payload(b"[1", "application/json")))
    assert (await seen(dispatcher)).failures == {"status 503": 1}


async def test_large_answers_are_compared_off_the_loop() -> None:
    dispatcher = shadowed(inline(times(3)), batching=Batching(max_batch_size=64 * 1024, max_queue=128 * 1024))
    for _ in range(3):
        await dispatcher.infer(InferenceRequest("m", inputs={"x": np.ones((64 * 1024, 2), np.float32)}))
        # With two of them waiting it would have enough to do.
        await dispatcher.observer.shadowing.settled()
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.outputs["y"].rows) == (3, 3 * 64 * 1024)


async def test_figures_begin_anew_when_a_version_becomes_a_shadow_again() -> None:
    dispatcher = shadowed(inline(times(2)))
    await dispatcher.infer(request())
    assert (await seen(dispatcher)).compared == 1
    table = dispatcher.router.table
    alone = {"m": ModelRoute(((1, 100),))}
    for number, routes in enumerate((alone, table.routes), 2):
        dispatcher.router.update(msgspec.structs.replace(table, number=number, routes=routes))
        dispatcher.observer.follow()
    assert (await seen(dispatcher)).compared == 0


# -- nobody is held up -----------------------------------------------------------------------------------------------


async def test_the_answer_is_given_before_the_copy_is_made() -> None:
    begun: list[str] = []

    def slowly(inputs: Tensors) -> Tensors:
        begun.append("shadow")
        return times(2)(inputs)

    dispatcher = shadowed(inline(slowly))
    await dispatcher.infer(request())
    # What follows the answer in the same turn of the loop is what encodes and writes it.
    begun.append("written")
    assert dispatcher.observer.shadowing.under_way == 0
    await dispatcher.observer.shadowing.settled()
    assert begun == ["written", "shadow"]


async def test_a_shadow_that_hangs_holds_up_nobody_and_little_is_kept() -> None:
    hanging = GatedExecutor(slots=1)
    dispatcher = shadowed(hanging)
    for value in range(200):
        assert answered(await dispatcher.infer(request(value))) == [[2 * value, 2 * value]]
        await asyncio.sleep(0)
    shadowing = dispatcher.observer.shadowing
    assert shadowing.under_way == AT_ONCE
    assert dispatcher.observer.seen.comparisons[PAIR].dropped == 200 - AT_ONCE
    hanging.gate.set()
    assert (await seen(dispatcher)).compared == AT_ONCE


async def test_copies_wait_behind_calls_and_leave_them_half_of_the_queue() -> None:
    hanging = GatedExecutor(slots=1)
    dispatcher = shadowed(hanging, batching=Batching(max_batch_size=1, max_queue=8))
    queue = dispatcher.loaded["m", 2].default.queue
    running = asyncio.ensure_future(dispatcher.infer(request(7, version="2")))
    await eventually(lambda: (queue.rows, queue.waiting_rows) == (1, 0))
    for _ in range(AT_ONCE):
        await dispatcher.infer(request())
    told = dispatcher.observer.seen.comparisons[PAIR]
    # Half of the eight that may wait.
    await eventually(lambda: (told.dropped, queue.waiting_rows) == (AT_ONCE - 4, 4))
    order: list[str] = []
    calls = [asyncio.ensure_future(dispatcher.infer(request(7, version="2"))) for _ in range(4)]
    for call in calls:
        call.add_done_callback(lambda _: order.append(f"call, {dispatcher.observer.shadowing.under_way} copies left"))
    await asyncio.sleep(0)
    assert queue.waiting_rows == 8
    hanging.gate.set()
    await asyncio.gather(running, *calls)
    comparison = await seen(dispatcher)
    assert order == ["call, 4 copies left"] * 4
    assert (comparison.compared, comparison.dropped) == (4, AT_ONCE - 4)


async def test_a_shadow_that_can_run_nothing_is_not_woken_for_a_copy() -> None:
    dispatcher = shadowed(ParkedExecutor())
    starved: list[str] = []
    dispatcher.loaded["m", 2].on_starved(lambda: starved.append("m"))
    await dispatcher.infer(request())
    comparison = await seen(dispatcher)
    assert (comparison.dropped, comparison.failures, starved) == (1, {}, [])


async def test_copies_are_neither_load_nor_use() -> None:
    hanging = GatedExecutor(slots=1)
    dispatcher = shadowed(hanging)
    shadow = dispatcher.loaded["m", 2]
    used_ms = shadow.used_ms
    await dispatcher.infer(request())
    await dispatcher.infer(request())
    await eventually(lambda: shadow.rows == 2)
    assert shadow.load().rows == 0
    call = asyncio.ensure_future(dispatcher.infer(request(version="2")))
    await eventually(lambda: shadow.rows == 3)
    assert shadow.load().rows == 1
    call.cancel()
    hanging.gate.set()
    assert (await seen(dispatcher)).compared == 2
    assert (shadow.load().idle_s, shadow.used_ms) == (None, used_ms)
    await dispatcher.infer(request(version="2"))
    assert shadow.load().idle_s is not None


async def test_a_full_queue_drops_the_copy() -> None:
    class Full(GatedExecutor):
        async def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors:
            raise Overloaded("no")

    dispatcher = shadowed(Full())
    await dispatcher.infer(request())
    comparison = await seen(dispatcher)
    assert (comparison.compared, comparison.dropped, comparison.failures) == (0, 1, {})
