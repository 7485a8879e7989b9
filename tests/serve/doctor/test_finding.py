"""Checks run side by side, within a time, whatever happens inside."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from model_store.errors import StoreError
from serve.doctor.finding import Finding, ok, run_checks


def refusing() -> Iterator[Finding]:
    yield ok("store", "lost with what follows")
    raise StoreError("store 'x' can't be read")


def broken() -> Iterator[Finding]:
    raise KeyError("cpu.max")


def test_findings_come_in_the_order_of_the_checks() -> None:
    second = threading.Event()

    def first_check() -> list[Finding]:
        assert second.wait(10)
        return [ok("a", "1")]

    def second_check() -> list[Finding]:
        second.set()
        return [ok("b", "2"), ok("b", "3")]

    found = run_checks([("a", first_check), ("b", second_check)])
    assert found == [ok("a", "1"), ok("b", "2"), ok("b", "3")]


def test_a_check_that_fails_is_a_problem_and_the_others_go_on() -> None:
    store, other, fine = run_checks([("store", refusing), ("cpus", broken), ("c", lambda: [ok("c", "3")])])
    assert (store.check, store.level, store.text) == ("store", "problem", "store 'x' can't be read")
    assert (other.level, other.text) == ("problem", "can't be checked: KeyError: 'cpu.max'")
    assert fine == ok("c", "3")


def test_a_check_that_hangs_is_a_problem() -> None:
    ended = threading.Event()
    (found,) = run_checks([("store", lambda: [ok("store", str(ended.wait(20)))])], timeout_s=0.05)
    ended.set()
    assert (found.level, found.text) == ("problem", "no answer within 0.05 s")
