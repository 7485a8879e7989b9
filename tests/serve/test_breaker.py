"""Which servers are left out for the errors that they answer, and until when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serve.executors.breaker import CircuitBreaker
from serve.executors.budget import Budget


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def fail(breaker: CircuitBreaker, server: str, *, servers: int, times: int = 1) -> list[bool]:
    return [breaker.note_error(server, servers) for _ in range(times)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Callable[[], float]) -> CircuitBreaker:
    return CircuitBreaker(clock)


def test_five_errors_in_a_row_while_another_answers_leave_a_server_out(breaker: CircuitBreaker) -> None:
    assert fail(breaker, "a", servers=2, times=4) == [False] * 4
    breaker.note_answer("b")
    assert fail(breaker, "a", servers=2) == [True]
    assert (breaker.is_out("a"), breaker.is_out("b"), breaker.quiet) == (True, False, False)


def test_errors_while_nobody_answers_leave_nobody_out(breaker: CircuitBreaker) -> None:
    breaker.note_answer("b")
    assert fail(breaker, "a", servers=2, times=50) == [False] * 50
    assert not breaker.is_out("a")


def test_an_answer_in_between_begins_the_count_again(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        assert fail(breaker, "a", servers=2, times=4) == [False] * 4
        breaker.note_answer("b")
        breaker.note_answer("a")
    assert breaker.quiet


def test_a_server_left_out_is_asked_by_one_probe_after_growing_pauses(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, "a", servers=2, times=4)
    breaker.note_answer("b")
    fail(breaker, "a", servers=2)
    pauses = []
    for _ in range(7):
        begun = clock.now_s
        while breaker.is_out("a"):
            assert not breaker.is_on_probe("a")
            clock.now_s += 0.5
        assert breaker.is_on_probe("a")
        pauses.append(clock.now_s - begun)
        assert fail(breaker, "a", servers=2) == [True]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_a_probe_that_is_answered_brings_the_server_back(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, "a", servers=2, times=4)
    breaker.note_answer("b")
    fail(breaker, "a", servers=2)
    clock.now_s += 1
    assert breaker.note_answer("a") is True
    assert (breaker.quiet, breaker.is_on_probe("a")) == (True, False)
    assert breaker.note_answer("a") is False


def test_errors_of_what_was_sent_before_do_not_make_the_pause_longer(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, "a", servers=2, times=4)
    breaker.note_answer("b")
    assert fail(breaker, "a", servers=2, times=4) == [True, False, False, False]
    clock.now_s += 1
    assert breaker.is_on_probe("a")


@pytest.mark.parametrize(("servers", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_are_left_out(breaker: CircuitBreaker, servers: int, most: int) -> None:
    names = [f"s{number}" for number in range(servers)]
    for _ in range(20):
        for name in names:
            breaker.note_error(name, servers)
        breaker.note_answer("another")
    assert sum(breaker.is_out(name) for name in names) == most


def test_a_server_that_left_is_forgotten(breaker: CircuitBreaker) -> None:
    fail(breaker, "a", servers=2)
    breaker.forget("a")
    assert breaker.quiet


def test_a_budget_is_earned_by_batches_and_by_time_up_to_its_most(clock: Clock) -> None:
    budget = Budget(0.25, 3, begin=1, per_s=0.5, clock=clock)
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(4):
        budget.note_batch()
    assert [budget.take(), budget.take()] == [True, False]
    clock.now_s += 2
    assert [budget.take(), budget.take()] == [True, False]
    clock.now_s += 1000
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
    assert (budget.batches, budget.taken) == (4, 6)
