"""The sum over gateways of what they have seen, and the report of it."""

from __future__ import annotations

import json

import pytest

from model_store.errors import DeadlineExceeded, InvalidInput, ModelNotFound, Overloaded, PayloadTooLarge
from serve.errors import kind_of
from serve.rollouts.comparison import Comparison, OutputDifference
from serve.rollouts.comparison_report import describe_comparison
from serve.rollouts.histogram import Histogram
from serve.rollouts.observations import (
    MOST_GATEWAYS,
    Observations,
    Observatory,
    VersionCounters,
    decoded,
    is_clients_fault,
)
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from tests.serve.tiny_versions import entry

V1, V2, PAIR = ("m", 1), ("m", 2), ("m", 1, 2)
SHADOWED = {"m": ModelRoute(((1, 100),), shadows=((2, 100.0),))}
SPLIT = {"m": ModelRoute(((1, 90), (2, 10)))}


def seen(requests: int = 1, compared: int = 0) -> Observations:
    found = Observations({V1: VersionCounters(requests)})
    if compared:
        found.comparisons[PAIR] = Comparison(1_000, compared)
    return found


def counts(observatory: Observatory) -> tuple[int, int]:
    total = observatory.total()
    compared = total.comparisons[PAIR].compared if PAIR in total.comparisons else 0
    return sum(counters.requests for counters in total.counters.values()), compared


def test_gateways_are_added_up_each_by_its_newest_report() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    for gateway, requests in (("a", 1), ("b", 10), ("a", 5), ("b", 20), ("a", 7)):
        observatory.hear(gateway, 10, seen(requests, requests))
    assert counts(observatory) == (27, 27)


def test_refused_calls_of_all_gateways_are_added_up() -> None:
    observatory = Observatory()
    observatory.follow(10, SPLIT)
    for gateway, refused in (("a", 3), ("b", 4)):
        found = Observations({V2: VersionCounters(refused=refused)})
        observatory.hear(gateway, 10, decoded(found.encoded()))
    assert observatory.total().counters[V2].refused == 7


def test_a_gateway_that_is_gone_counts_on_and_its_successor_begins_at_nothing() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    observatory.hear("before", 10, seen(100, 50))
    observatory.hear("after", 10, seen(1, 1))
    assert counts(observatory) == (101, 51)


def test_gateways_without_number_are_one_sum() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    for number in range(3 * MOST_GATEWAYS):
        observatory.hear(f"gateway-{number}", 10, seen(2, 1))
    assert counts(observatory) == (6 * MOST_GATEWAYS, 3 * MOST_GATEWAYS)
    assert len(observatory._latest) == MOST_GATEWAYS


def test_what_is_no_longer_watched_is_forgotten_with_what_the_gone_have_seen() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    for number in range(2 * MOST_GATEWAYS):
        observatory.hear(f"gateway-{number}", 10, seen(1, 1))
    observatory.follow(11, {"m": ModelRoute(((1, 100),))})
    assert counts(observatory) == (0, 0)


def test_reports_on_an_earlier_life_do_not_count() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    observatory.hear("a", 10, seen(5, 5))
    observatory.follow(11, {})
    observatory.follow(12, SHADOWED)
    observatory.hear("a", 10, seen(6, 6))
    assert counts(observatory) == (0, 0)
    observatory.hear("a", 12, seen(1, 1))
    assert counts(observatory) == (1, 1)


def test_a_new_table_that_asks_the_same_changes_nothing() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    observatory.hear("a", 10, seen(5, 5))
    observatory.follow(11, SHADOWED)
    assert counts(observatory) == (5, 5)
    observatory.hear("b", 10, seen(1, 1))
    assert counts(observatory) == (6, 6)


def test_a_total_is_nobody_s_own() -> None:
    observatory = Observatory()
    observatory.follow(10, SHADOWED)
    observatory.hear("a", 10, seen(5, 5))
    observatory.total().counters[V1].requests = 99
    assert counts(observatory) == (5, 5)


@pytest.mark.parametrize(
    ("error", "clients", "kind"),
    [
        (InvalidInput(""), True, "InvalidInput"),
        (PayloadTooLarge(""), True, "PayloadTooLarge"),
        (DeadlineExceeded(""), False, "DeadlineExceeded"),
        (Overloaded(""), False, "Overloaded"),
        (ZeroDivisionError(), False, "InternalError"),
    ],
)
def test_only_what_is_not_the_client_s_fault_is_the_version_s(error: Exception, clients: bool, kind: str) -> None:
    assert (is_clients_fault(error), kind_of(error)) == (clients, kind)


# -- the report ------------------------------------------------------------------------------------------------------


def router(routes: dict[str, ModelRoute]) -> Router:
    return Router(RoutingTable(1, "./store", (entry("m", 1), entry("m", 2)), routes, {"n": "it failed"}))


def test_the_report_is_json_with_the_figures_of_versions_and_pairs() -> None:
    latency = Histogram()
    latency.add(1_000_000, times=100)
    errors = Histogram()
    errors.add(2_000_000, times=10)
    output = OutputDifference(10, 9, errors, 0.5, {"shape": 1})
    found = Observations(
        {V1: VersionCounters(102, {"InternalError": 2}, latency, 3)},
        {PAIR: Comparison(1_700_000_000_000, 10, 9, {"ModelNotReady": 1}, 3, {"y": output}, latency, latency)},
    )
    ms = {"p50": 0.9994, "p90": 0.9994, "p99": 0.9994}
    report = describe_comparison("m", router(SHADOWED), found)
    assert json.loads(json.dumps(report)) == {
        "model": "m",
        "unavailable": None,
        "versions": [
            {
                "version": 1,
                "called": "1",
                "traffic": 100,
                "requests": 102,
                "failed": 2,
                "faults": {"InternalError": 2},
                "refused": 3,
                "latency_ms": ms,
            }
        ],
        "comparisons": [
            {
                "reference": 1,
                "version": 2,
                "called": "2",
                "since": "2023-11-14T22:13:20+00:00",
                "compared": 10,
                "agreeing": 9,
                "failures": {"ModelNotReady": 1},
                "dropped": 3,
                "latency_ms": {"reference": ms, "version": ms},
                "outputs": [
                    {
                        "name": "y",
                        "rows": 10,
                        "agreeing_rows": 9,
                        "relative_error": {"p50": 0.001999, "p90": 0.001999, "p99": 0.001999, "max": 0.5},
                        "mismatches": {"shape": 1},
                    }
                ],
            }
        ],
    }


def test_versions_that_share_calls_are_listed_before_any_came() -> None:
    report = describe_comparison("m", router(SPLIT), Observations())
    assert [(row["version"], row["traffic"], row["requests"], row["latency_ms"]) for row in report["versions"]] == [
        (1, 90, 0, None),
        (2, 10, 0, None),
    ]
    assert report["comparisons"] == []


@pytest.mark.parametrize(("model", "unavailable"), [("m", None), ("n", "it failed")])
def test_a_model_with_nothing_to_compare_has_an_empty_report(model: str, unavailable: str | None) -> None:
    report = describe_comparison(model, router({"m": ModelRoute(((1, 100),))}), Observations())
    assert report == {"model": model, "unavailable": unavailable, "versions": [], "comparisons": []}


def test_an_unknown_model_has_no_report() -> None:
    with pytest.raises(ModelNotFound, match="'nobody' is not served here"):
        describe_comparison("nobody", router(SPLIT), Observations())
