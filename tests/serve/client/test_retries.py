"""How long a call waits before it is tried again, and when it is not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from model_store.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    ModelNotReady,
    OnegateError,
    Overloaded,
    RateLimited,
)
from serve.client.retries import Exchange, Pause, Retries, Send, attempts, new_budget

FAST = Retries(tries=4, first_s=0.5, most_s=1.5)


def run(errors: list[OnegateError], within_s: float = 60.0, overslept_s: float = 0.0) -> tuple[str, list[float]]:
    """The outcome of a call that gets these errors and then an answer, and its pauses, of which each takes
    `overslept_s`."""
    exchange: Exchange[str] = Exchange(lambda left_s: b"asked", lambda answer: f"read {answer}")
    steps = attempts(exchange, time.monotonic() + within_s, FAST, new_budget())
    pauses: list[float] = []
    left = list(errors)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                time.sleep(overslept_s)
                step = steps.send(None)
                continue
            assert isinstance(step, Send)
            assert step.message == b"asked"
            assert 0 < step.timeout_s <= within_s
            step = steps.throw(left.pop(0)) if left else steps.send("answer")
    except StopIteration as end:
        return end.value, pauses
    except OnegateError as error:
        return type(error).__name__, pauses


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (ModelNotReady("away"), [(0.25, 0.5), (0.5, 1), (0.75, 1.5)]),
        (Overloaded("full", retry_after_s=3.0), [(3, 3.5), (3, 4), (3, 4.5)]),
        (RateLimited("often", retry_after_s=3.0), [(3, 3.5), (3, 4), (3, 4.5)]),
    ],
)
def test_pauses_grow_and_are_never_shorter_than_told(error: OnegateError, pauses: list[tuple[float, float]]) -> None:
    outcome, waited = run([error] * 3)
    assert outcome == "read answer"
    for pause, (least, most) in zip(waited, pauses, strict=True):
        assert least <= pause <= most


def test_tries_end() -> None:
    outcome, waited = run([ModelNotReady("away")] * 10)
    assert (outcome, len(waited)) == ("ModelNotReady", 3)


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("no"),
        DeadlineExceeded("late"),
        RateLimited("often, and who knows until when"),
        ModelNotReady("not trusted", again=False),
    ],
)
def test_what_another_try_does_not_change_is_told_at_once(error: OnegateError) -> None:
    assert run([error]) == (type(error).__name__, [])


def test_nobody_waits_beyond_the_deadline() -> None:
    assert run([Overloaded("full", retry_after_s=3.0)], within_s=2.9) == ("Overloaded", [])


def test_who_sleeps_beyond_the_deadline_is_told_the_error_from_before() -> None:
    outcome, waited = run([ModelNotReady("away")], within_s=0.6, overslept_s=0.7)
    assert (outcome, len(waited)) == ("ModelNotReady", 1)


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    assert run([], within_s=0) == ("DeadlineExceeded", [])


@pytest.mark.parametrize("given", [{"tries": 0}, {"first_s": -1}, {"first_s": 3, "most_s": 2}])
def test_retries_that_can_t_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^expected tries of 1 or more and 0 <= first_s <= most_s, got Retries\("):
        Retries(**given)
