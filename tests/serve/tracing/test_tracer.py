"""Which requests are kept: drawn ones, sampled ones, failures and the slowest, each within its bounds."""

from __future__ import annotations

import pytest

from serve.asking import Asked
from serve.request_record import ANSWERED, CANCELLED, RequestRecord
from serve.statistics import VersionStatistics
from serve.tracing.tracer import MAX_KEPT, Tracer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ended(tracer: Tracer, *, outcome: str = ANSWERED, ms: int = 1, model: str = "m", **headers: str) -> RequestRecord:
    """A request that has ended, after `ms`."""
    asked = Asked(headers.get)
    tracer.begin(asked)
    record = RequestRecord("plain", 5 * MS, outcome=outcome, asked=asked)
    record.encoded_ns = (5 + ms) * MS
    record.statistics = VersionStatistics(model, "1")
    tracer.note(record)
    return record


def whys(tracer: Tracer, *, last: bool = False) -> list[str]:
    return [kept.why for kept in tracer.take(10_000, last=last)]


def test_the_share_that_is_drawn_is_kept() -> None:
    draws = iter([0.2, 0.3, 0.29, 0.9])
    tracer = Tracer(0.3, 60_000, draw=lambda: next(draws))
    records = [ended(tracer) for _ in range(4)]
    assert [kept.record for kept in tracer.take(10)] == [records[0], records[2]]
    assert records[1].asked.trace is None


@pytest.mark.parametrize(("flags", "kept"), [("01", ["sampled"]), ("00", [])])
def test_a_callers_decision_stands_whatever_is_drawn(flags: str, kept: list[str]) -> None:
    tracer = Tracer(1.0 if flags == "00" else 0.0, 60_000)
    ended(tracer, traceparent=f"00-{TRACE}-00f067aa0ba902b7-{flags}")
    assert whys(tracer) == kept


@pytest.mark.parametrize("outcome", ["InternalError", "Overloaded", "DeadlineExceeded", "status 503", "OnesOwn"])
def test_what_we_fail_at_is_kept_up_to_100_in_a_second(outcome: str) -> None:
    clock = Clock()
    tracer = Tracer(0.0, 60_000, clock=clock)
    for _ in range(150):
        ended(tracer, outcome=outcome)
    assert whys(tracer) == ["failed"] * 100
    clock.now += 1
    ended(tracer, outcome=outcome)
    assert whys(tracer) == ["failed"]


@pytest.mark.parametrize("outcome", ["InvalidInput", "ModelNotFound", "Unauthenticated", "RateLimited", "status 418"])
def test_of_what_clients_do_wrong_10_in_a_second_are_kept_and_take_nobodys_place(outcome: str) -> None:
    tracer = Tracer(0.0, 60_000, clock=Clock())
    for _ in range(150):
        ended(tracer, outcome=outcome)
    ended(tracer, outcome="InternalError")
    assert whys(tracer) == ["failed"] * 11


def test_a_client_that_leaves_is_no_failure() -> None:
    tracer = Tracer(0.0)
    ended(tracer, outcome=CANCELLED)
    assert whys(tracer, last=True) == []


def test_the_slowest_of_each_model_is_kept_every_10_s() -> None:
    clock = Clock()
    tracer = Tracer(0.0, clock=clock)
    records = [ended(tracer, ms=ms, model=model) for ms, model in ((3, "a"), (9, "a"), (4, "a"), (1, "b"))]
    assert tracer.take(10) == []
    clock.now += 10
    assert [kept.record for kept in tracer.take(10)] == [records[1], records[3]]
    clock.now += 10
    assert tracer.take(10) == []


def test_at_the_end_the_slowest_so_far_are_kept() -> None:
    tracer = Tracer(0.0, clock=Clock())
    ended(tracer)
    assert whys(tracer, last=True) == ["slow"]


def test_with_a_limit_all_that_take_as_long_are_slow() -> None:
    tracer = Tracer(0.0, 2.5)
    for ms in (2, 3, 4):
        ended(tracer, ms=ms)
    assert whys(tracer, last=True) == ["slow", "slow"]


def test_requests_that_find_the_queue_full_are_dropped_and_counted() -> None:
    tracer = Tracer(1.0)
    for _ in range(MAX_KEPT + 5):
        ended(tracer)
    assert tracer.dropped == 5
    assert len(tracer.take(100)) == 100
    ended(tracer)
    assert tracer.dropped == 5
