"""What a gateway tells of its counts: what is new, until it has arrived."""

from __future__ import annotations

from serve.metrics.counts import Present, Refusals, decoded
from serve.metrics.ledger import Ledger
from serve.metrics.requests import RequestCounter
from serve.metrics.tally import KEPT_S, Tally
from serve.request_record import RequestRecord
from serve.statistics import VersionStatistics
from tests.serve.conftest import ManualClock as Clock
from tests.serve.metrics.counting import requests_of
from tests.serve.tiny_versions import dispatcher_of, entry

V1, V2 = ("m", 1), ("m", 2)


def statistics(*keys: tuple[str, int]) -> dict[tuple[str, int], VersionStatistics]:
    return {key: VersionStatistics(key[0], str(key[1]), life=number) for number, key in enumerate(keys, 1)}


def count(counted: VersionStatistics, times: int = 1) -> None:
    counter = RequestCounter()
    for _ in range(times):
        counted.begun += 1
        counter.end(RequestRecord("plain", 0, statistics=counted))


def told(tally: Tally) -> dict[tuple[str, int], int]:
    """Requests by version in a report."""
    found = {}
    for report in decoded(tally.report()).versions:
        found[report.model, report.version] = sum(each.took.count for each in report.counts.requests.values())
    return found


def test_only_versions_that_counted_since_are_in_a_report() -> None:
    counted = statistics(V1, V2)
    tally = Tally(counted, {}, {})
    assert told(tally) == {V1: 0, V2: 0}
    tally.arrived()
    assert told(tally) == {}
    tally.arrived()
    count(counted[V2], 3)
    assert told(tally) == {V2: 3}


def test_what_did_not_arrive_is_told_again() -> None:
    counted, refusals = statistics(V1), Refusals()
    tally = Tally(counted, {}, refusals)
    refusals["", "plain", "InvalidInput"] = 1
    count(counted[V1])
    assert told(tally) == {V1: 1}
    count(counted[V1])
    again = decoded(tally.report())
    assert (again.versions[0].counts.requests["plain"].took.count, again.refusals) == (2, refusals)
    tally.arrived()
    assert decoded(tally.report()).refusals is None


def test_a_new_controller_is_told_everything() -> None:
    counted, refusals = statistics(V1, V2), {("", "plain", "InvalidInput"): 1}
    tally = Tally(counted, {}, refusals)
    count(counted[V1], 2)
    tally.report()
    tally.arrived()
    tally.start_over()
    everything = decoded(tally.report())
    assert [report.version for report in everything.versions] == [1, 2]
    assert everything.refusals == refusals


async def test_a_version_that_is_loaded_again_goes_on_where_it_was(clock: Clock) -> None:
    dispatcher = dispatcher_of()
    first = dispatcher.statistics_of(V1)
    count(first, 2)
    assert dispatcher.statistics_of(V1) is first


def test_a_version_that_is_long_gone_is_forgotten_and_begins_a_new_life() -> None:
    now = [0.0]
    counted, ledger = statistics(V1), Ledger()
    tally = Tally(counted, {}, {}, lambda: now[0])
    count(counted[V1], 5)
    ledger.hear("a", decoded(tally.report()))
    tally.arrived()
    now[0] = KEPT_S + 1
    tally.report()
    assert counted == {}
    counted[V1] = VersionStatistics("m", "1", life=2)
    count(counted[V1], 2)
    ledger.hear("a", decoded(tally.report()))
    assert requests_of(ledger, V1) == 7


async def test_a_version_whose_requests_have_not_ended_is_not_forgotten(clock: Clock) -> None:
    now = [0.0]
    counted = statistics(V1)
    tally = Tally(counted, {}, {}, lambda: now[0])
    counted[V1].begun = 1
    tally.report()
    now[0] = KEPT_S + 1
    tally.report()
    assert V1 in counted


async def test_requests_under_way_and_memory_are_in_every_report(clock: Clock) -> None:
    dispatcher = dispatcher_of(entry("m", 1), entry("m", 2))
    dispatcher.loaded[V1].statistics.begun = 3
    report = decoded(Tally({}, dispatcher.loaded, {}).report())
    assert report.present == [Present("m", 1, 3, 0)]
    assert report.memory_bytes > 2**20
