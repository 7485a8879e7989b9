"""Sums over gateways: no less is told while gateways and controllers come and go, and what is removed is forgotten."""

from __future__ import annotations

import pytest

from serve.metrics.counts import GatewayCounts, Present
from serve.metrics.ledger import FORGOTTEN_AFTER_S, GATHERING_S, MOST_GONE, Ledger
from tests.serve.metrics.counting import gateway_counts, requests_of

V1, V2 = ("m", 1), ("m", 2)
NAMES = {V1: "1", V2: "2"}


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger_of(time: Time | None = None) -> Ledger:
    numbers = iter(range(1, 1000))
    return Ledger(time or Time(), lambda: next(numbers))


def test_what_gateways_tell_is_added_up() -> None:
    ledger = ledger_of()
    ledger.hear("a", gateway_counts({V1: 3, V2: 1}, refusals={("", "plain", "ModelNotFound"): 2}))
    ledger.hear("b", gateway_counts({V1: 4}, refusals={("", "plain", "ModelNotFound"): 5}))
    assert (requests_of(ledger, V1), requests_of(ledger, V2)) == (7, 1)
    assert ledger.parts().total().refusals == {("", "plain", "ModelNotFound"): 7}


def test_a_report_takes_the_place_of_the_gateway_s_earlier_one() -> None:
    ledger = ledger_of()
    for count in (3, 5):
        ledger.hear("a", gateway_counts({V1: count}))
    assert requests_of(ledger) == 5


def test_what_a_report_leaves_out_is_as_it_was() -> None:
    ledger = ledger_of()
    ledger.hear("a", gateway_counts({V1: 3}, refusals={("", "plain", "InvalidInput"): 1}))
    ledger.hear("a", gateway_counts({V2: 1}))
    assert (requests_of(ledger, V1), requests_of(ledger, V2)) == (3, 1)
    assert ledger.parts().total().refusals == {("", "plain", "InvalidInput"): 1}


def test_a_gateway_that_restarts_takes_nothing_away() -> None:
    ledger = ledger_of()
    ledger.hear("a-1", gateway_counts({V1: 100}))
    ledger.follow({"a-1"}, NAMES)
    ledger.follow((), NAMES)
    assert requests_of(ledger) == 100
    ledger.hear("a-2", gateway_counts({V1: 1}))
    ledger.follow({"a-2"}, NAMES)
    assert requests_of(ledger) == 101


def test_a_gateway_that_was_only_silent_counts_once() -> None:
    ledger = ledger_of()
    ledger.hear("a", gateway_counts({V1: 100}))
    for living in ({"a"}, set(), {"a"}):
        ledger.follow(living, NAMES)
        assert requests_of(ledger) == 100
    ledger.hear("a", gateway_counts({V1: 102}))
    assert requests_of(ledger) == 102


def test_a_version_that_begins_anew_in_a_gateway_takes_nothing_away() -> None:
    ledger = ledger_of()
    for life, count in ((1, 10), (2, 1), (2, 4), (3, 2)):
        ledger.hear("a", gateway_counts({V1: count}, life))
    assert requests_of(ledger) == 10 + 4 + 2


def test_gateways_that_have_long_gone_are_one_sum() -> None:
    ledger = ledger_of()
    for number in range(10 * MOST_GONE):
        ledger.hear(f"g{number}", gateway_counts({V1: 1}))
        ledger.follow({f"g{number}"}, NAMES)
    assert requests_of(ledger) == 10 * MOST_GONE
    assert len(ledger.parts().versions) <= MOST_GONE + 2


# -- a new controller --------------------------------------------------------------------------------------------------


def test_a_new_controller_inherits_what_gone_gateways_had_counted() -> None:
    ledger = ledger_of()
    ledger.hear("gone", gateway_counts({V1: 100}, refusals={("", "plain", "InvalidInput"): 1}))
    ledger.hear("here", gateway_counts({V1: 10}))
    ledger.follow({"gone", "here"}, NAMES)
    ledger.follow({"here"}, NAMES)

    heir = ledger_of()
    heir.inherit(ledger.estate)
    heir.hear("here", gateway_counts({V1: 10}))
    heir.follow({"here"}, NAMES)
    assert requests_of(heir) == 110
    assert heir.parts().total().refusals == {("", "plain", "InvalidInput"): 1}


@pytest.mark.parametrize(("heard", "passed_s", "whole"), [
    ((), GATHERING_S, False), (("a",), GATHERING_S, False), (("a", "b"), 0.0, True), (("a",), GATHERING_S + 1, True),
])  # fmt: skip
def test_an_heir_waits_for_all_that_lived_but_not_for_ever(
    heard: tuple[str, ...], passed_s: float, whole: bool
) -> None:
    ledger = ledger_of()
    for name in ("a", "b"):
        ledger.hear(name, gateway_counts({V1: 1}))
    ledger.follow({"a", "b"}, NAMES)
    assert ledger.is_whole

    time = Time()
    heir = ledger_of(time)
    assert heir.is_whole
    heir.inherit(ledger.estate)
    for name in heard:
        heir.hear(name, gateway_counts({V1: 1}))
    time.now = passed_s
    assert heir.is_whole == whole


def test_what_is_new_says_nothing_before_everything_was_told() -> None:
    ledger = ledger_of()
    ledger.hear("a", gateway_counts({V2: 1}), everything=False)
    assert ledger.parts().versions == []
    ledger.hear("a", gateway_counts({V1: 5, V2: 1}))
    ledger.hear("a", gateway_counts({V1: 6}), everything=False)
    assert (requests_of(ledger, V1), requests_of(ledger, V2)) == (6, 1)


def test_of_several_estates_the_newest_counts_and_once() -> None:
    ledger = ledger_of()
    estates = []
    for name in ("a", "b"):
        ledger.hear(name, gateway_counts({V1: 100}))
        ledger.follow({name}, NAMES)
        ledger.follow((), NAMES)
        estates.append(ledger.estate)
    assert estates[0].number < estates[1].number

    heir = ledger_of()
    for estate in (estates[0], estates[1], estates[0], estates[1]):
        heir.inherit(estate)
    assert requests_of(heir) == 200


def test_what_was_inherited_is_passed_on_with_what_came_since() -> None:
    ledger = ledger_of()
    ledger.hear("a", gateway_counts({V1: 1}))
    ledger.follow((), NAMES)
    ledger.follow({"x"}, NAMES)
    for name in ("b", "c", "d"):
        heir = ledger_of()
        heir.inherit(ledger.estate)
        heir.hear(name, gateway_counts({V1: 1}))
        heir.follow({name}, NAMES)
        heir.follow((), NAMES)
        assert heir.estate.number > ledger.estate.number
        ledger = heir
    assert requests_of(ledger) == 4


# -- versions that are removed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("passed_s", "count"), [(FORGOTTEN_AFTER_S, 3), (FORGOTTEN_AFTER_S + 1, 0)])
def test_a_removed_version_stays_long_enough_to_be_seen_and_is_then_forgotten(passed_s: float, count: int) -> None:
    time = Time()
    ledger = ledger_of(time)
    ledger.hear("a", gateway_counts({V1: 3, V2: 1}))
    ledger.hear("gone", gateway_counts({V1: 0}))
    ledger.follow({"a"}, NAMES)
    time.now = passed_s
    ledger.follow({"a"}, {V2: "2"})
    assert (requests_of(ledger, V1), requests_of(ledger, V2)) == (count, 1)
    assert ledger.called([V2]) == ({V1: "1"} if count else {}) | {V2: "2"}


def test_a_name_that_passes_to_another_version_is_told_of_that_one_only() -> None:
    ledger = ledger_of()
    ledger.follow((), {V1: "stable-text"})
    ledger.follow((), {V2: "stable-text"})
    assert ledger.called([V2]) == {V2: "stable-text"}


def test_what_is_there_now_is_that_of_gateways_that_live() -> None:
    ledger = ledger_of()
    ledger.hear("a", GatewayCounts(present=[Present("m", 1, 2, 30)], memory_bytes=5))
    ledger.hear("b", GatewayCounts(present=[Present("m", 1, 1, 4)], memory_bytes=6))
    ledger.hear("gone", GatewayCounts(present=[Present("m", 1, 100, 100)], memory_bytes=7))
    ledger.follow({"a", "b"}, NAMES)
    assert ledger.present() == {V1: Present("m", 1, 3, 34)}
    assert ledger.memory_bytes() == {"a": 5, "b": 6}
