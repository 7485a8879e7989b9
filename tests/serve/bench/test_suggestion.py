"""Where the knee is, when the client is the limit, and which values are worth a try."""

from __future__ import annotations

from typing import Any

import pytest

from serve.bench.steps import Step, connection_counts
from serve.bench.suggestion import Serving, Value, Verdict, judge

INLINE = Serving("inline", 1, None, 64, 0.0, batches=True, cpus=4)
REPLICAS = Serving("replicas", 2, None, 64, 0.0, batches=True, cpus=4)


def step(connections: int, rate: float, **measured: Any) -> Step:
    keys: dict[str, Any] = {
        "p50_ms": 1000 * connections / rate,
        "p90_ms": 1.0,
        "p99_ms": 1.0,
        "errors": {},
        "batch_rows": connections * 0.9,
        "queue_ms": 0.1,
        "batch_ms": 1.0,
        "machine_percent": 50.0,
        "client_percent": 20.0,
    }
    return Step(connections, int(rate), rate, rate, **(keys | measured))


CURVE = [step(1, 100), step(2, 190), step(4, 360), step(8, 400), step(16, 402), step(32, 399)]


def verdict(steps: list[Step], serving: Serving = INLINE, ceiling: float = 10_000, rows: int = 1) -> Verdict:
    return judge(steps, ceiling, rows, serving)


def value_of(found: Verdict, key: str) -> Value:
    (value,) = (value for value in found.values if value.key == key)
    return value


@pytest.mark.parametrize(
    ("most", "counts"),
    [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (10, [1, 2, 4, 8, 10]), (64, [1, 2, 4, 8, 16, 32, 64])],
)
def test_steps_double_up_to_the_most(most: int, counts: list[int]) -> None:
    assert connection_counts(most) == counts


def test_the_knee_is_where_nine_tenths_of_the_most_are_reached() -> None:
    found = verdict(CURVE)
    assert (found.knee, found.still_growing, found.client_limits, found.notes) == (8, False, False, [])


@pytest.mark.parametrize(
    ("rates", "knee", "growing"),
    [((100, 190, 360), None, True), ((100, 190, 200), 2, False), ((100,), 1, False), ((100, 60), 1, False)],
    ids=["doubles", "a tenth more", "one step", "falls"],
)
def test_there_is_a_knee_or_the_curve_still_grows(rates: tuple[int, ...], knee: int | None, growing: bool) -> None:
    found = verdict([step(2**position, rate) for position, rate in enumerate(rates)])
    assert (found.knee, found.still_growing) == (knee, growing)


@pytest.mark.parametrize(
    ("steps", "ceiling"),
    [(CURVE, 500.0), ([*CURVE[:-1], step(32, 399, client_percent=97.0)], 10_000.0)],
    ids=["near its ceiling", "its CPU is busy"],
)
def test_a_client_that_is_the_limit_is_told(steps: list[Step], ceiling: float) -> None:
    found = verdict(steps, ceiling=ceiling)
    assert found.client_limits
    assert found.notes[0].startswith(f"the client is the limit: it got 402 of at most {ceiling:.0f} requests/s")


def test_a_step_that_fails_is_no_knee_and_is_told() -> None:
    failing = step(16, 900, errors={503: 100, 0: 1}, trouble="reset")
    found = verdict([*CURVE[:4], failing])
    assert found.knee == 4
    assert found.notes == ["16 connections: 10.1% failed: 1 without an answer, 100 of status 503 (reset)"]


def test_when_nothing_went_well_there_is_no_knee() -> None:
    found = verdict([Step(1, 0, 0.0, 0.0, None, None, None, {500: 3}, None, None, None, 5.0, 5.0)])
    assert (found.knee, found.notes, found.values) == (None, ["no step went well: 3 of status 500"], [])


def test_a_busy_machine_is_told() -> None:
    found = verdict([*CURVE[:4], step(16, 402, machine_percent=97.0), CURVE[5]])
    assert found.notes == [
        "this machine's CPUs were 97% busy at 16 connections, with the client's own work and everything else that ran "
        "here"
    ]


def test_full_batches_ask_for_larger_ones() -> None:
    full = [*CURVE[:3], step(8, 400, batch_rows=60.0), CURVE[4]]
    size = value_of(verdict(full, rows=16), "serve.batching.max_batch_size")
    assert (size.now, size.value) == (64, 128)
    assert size.reason == "batches were full: 60 rows of 64, with 128 rows under way"


def test_batches_that_are_not_full_are_large_enough() -> None:
    size = value_of(verdict(CURVE), "serve.batching.max_batch_size")
    assert (size.now, size.value) == (64, 64)
    assert size.reason == (
        "enough: batches held 7.2 rows on average at 8 connections, with 8 rows under way, for 4 times the requests/s "
        "of one connection"
    )


def test_a_model_that_is_not_batched_has_nothing_to_set() -> None:
    alone = verdict(CURVE, Serving("inline", 1, None, 0, 0.0, batches=False, cpus=4))
    size = value_of(alone, "serve.batching.max_batch_size")
    assert size.reason == "has no effect: the model has no batch dimension"
    apart = verdict(CURVE, Serving("inline", 1, None, 64, 0.0, batches=False, cpus=4))
    assert "do not share its batches" in apart.values[0].reason


def test_without_figures_of_the_gateway_nothing_is_made_up() -> None:
    blind = [step(count, 400, batch_rows=None, queue_ms=None, batch_ms=None) for count in (1, 2, 4)]
    found = verdict(blind)
    assert value_of(found, "serve.batching.max_batch_size").reason.startswith("nothing to say")
    assert [value.key for value in found.values] == ["serve.batching.max_batch_size", "serve.executor"]
    assert (
        verdict(blind, Serving("inline", 1, None, None, 0.0, batches=False, cpus=4)).values[0].key == "serve.executor"
    )


def test_small_batches_of_slow_replicas_may_wait_a_little() -> None:
    small = [*CURVE[:3], step(8, 400, batch_rows=2.0, batch_ms=20.0), CURVE[4]]
    delay = value_of(verdict(small, REPLICAS), "serve.batching.max_delay_ms")
    assert (delay.now, delay.value) == (0.0, 5.0)
    assert value_of(verdict(small, INLINE), "serve.batching.max_delay_ms").value == 0.0


def test_a_delay_that_fills_nothing_goes() -> None:
    waiting = Serving("replicas", 2, None, 64, 5.0, batches=True, cpus=4)
    delay = value_of(verdict(CURVE, waiting), "serve.batching.max_delay_ms")
    assert (delay.now, delay.value) == (5.0, 0.0)


@pytest.mark.parametrize(
    ("measured", "value", "reason"),
    [
        ({"queue_ms": 0.5, "batch_ms": 1.0}, 2, "replicas keep up: calls wait less than they are computed"),
        ({"queue_ms": 9.0, "batch_ms": 1.0, "machine_percent": 25.0}, 5, "and 3.0 CPUs are idle"),
        ({"queue_ms": 9.0, "batch_ms": 1.0, "machine_percent": 95.0}, 2, "more replicas help on another node only"),
    ],
)
def test_replicas_follow_waiting_calls_and_idle_cpus(measured: dict[str, float], value: int, reason: str) -> None:
    replicas = value_of(verdict([*CURVE[:3], step(8, 400, **measured), CURVE[4]], REPLICAS), "serve.replicas")
    assert (replicas.now, replicas.value) == (2, value)
    assert replicas.reason.endswith(reason)


@pytest.mark.parametrize(
    ("asked_for", "measured", "value", "reason"),
    [
        (1, {"queue_ms": 0.5}, 2, "replicas keep up: calls wait less than they are computed"),
        (1, {"queue_ms": 9.0}, 2, "calls wait 9 ms, and 1 of 2 replicas were asked for: a smaller `target_queue` "),
        (2, {"queue_ms": 9.0, "machine_percent": 95.0}, 2, "calls wait 9 ms, but CPUs are busy"),
        (2, {"queue_ms": 9.0, "machine_percent": 25.0}, 5, "calls wait 9 ms for 1 ms of work, and 3.0 CPUs are idle"),
    ],
)
def test_of_a_model_with_bounds_the_most_is_what_may_move(
    asked_for: int, measured: dict[str, float], value: int, reason: str
) -> None:
    scaled = Serving("replicas", asked_for, (0, 2), 64, 0.0, batches=True, cpus=4)
    found = value_of(verdict([*CURVE[:3], step(8, 400, **measured), CURVE[4]], scaled), "serve.replicas.max")
    assert (found.now, found.value) == (2, value)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(("batch_ms", "executor"), [(0.2, "inline"), (12.0, "replicas")])
def test_a_slow_inline_model_goes_to_replicas(batch_ms: float, executor: str) -> None:
    found = value_of(verdict([step(1, 100, batch_ms=batch_ms), *CURVE[1:]]), "serve.executor")
    assert (found.now, found.value) == ("inline", executor)
