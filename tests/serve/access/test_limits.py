"""A key's rate and places, on a clock that the test moves."""

from __future__ import annotations

import pytest

from model_store.errors import RateLimited
from serve.access.limits import Limits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(limits: Limits, most: int = 100) -> int:
    """How many calls are taken one after the other."""
    for count in range(most):
        try:
            with limits:
                pass
        except RateLimited:
            return count
    return most


def test_a_second_s_calls_are_taken_at_once_and_no_more() -> None:
    clock = Clock()
    limits = Limits(rate_per_s=4, clock=clock)

    assert taken(limits) == 4
    clock.now += 0.5
    assert taken(limits) == 2
    clock.now += 3600
    assert taken(limits) == 4


def test_less_than_one_a_second_is_one_now_and_then() -> None:
    clock = Clock()
    limits = Limits(rate_per_s=0.25, clock=clock)

    assert taken(limits) == 1
    with pytest.raises(RateLimited, match=r"the key admits 0\.25 calls a second; try again later") as refused:
        limits.check()
    assert refused.value.details == {"retry_after_s": 4.0}
    clock.now += 4
    assert taken(limits) == 1


def test_a_look_takes_nothing() -> None:
    limits = Limits(rate_per_s=1, clock=Clock())
    for _ in range(10):
        limits.check()

    assert taken(limits) == 1


def test_as_many_calls_as_there_are_places_are_under_way() -> None:
    limits = Limits(concurrency=2)
    with limits, limits:
        with pytest.raises(RateLimited, match="2 calls of the key are under way, as many as it admits"), limits:
            pass
        assert limits.under_way == 2

    assert limits.under_way == 0
    assert taken(limits) == 100


def test_a_call_that_is_refused_takes_no_place_and_one_that_fails_leaves_its_own() -> None:
    limits = Limits(rate_per_s=1, concurrency=1, clock=Clock())
    with pytest.raises(ValueError, match="failed"), limits:
        raise ValueError("failed")
    with pytest.raises(RateLimited), limits:
        pass

    assert limits.under_way == 0


def test_no_limit_is_none() -> None:
    assert taken(Limits(), 1000) == 1000
