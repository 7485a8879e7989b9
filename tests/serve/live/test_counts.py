"""Rates, quantiles and fill from two readings of the counters."""

from __future__ import annotations

import math

import pytest

from serve.live.counts import VersionCounts, between, quantile, read_counts
from tests.serve.live.recorded import metrics


def test_counts_are_summed_over_dialects() -> None:
    counts = read_counts(metrics(digits=100, slow=40, errors=4, unknown=5))
    assert counts.gateways == 2
    assert counts.of(("digits", "1")).requests == 200
    ranker = counts.of(("ranker", "b"))
    assert (ranker.requests, ranker.errors, ranker.in_flight, ranker.queue_rows) == (40, 4, 7, 21)
    assert ranker.latency == {0.01: 0, 0.02: 40, math.inf: 40}
    assert counts.of(("", "")).errors == 5
    assert counts.of(("nobody", "1")) == VersionCounts()


def test_figures_are_those_between_two_readings() -> None:
    before = read_counts(metrics(digits=100, slow=40, errors=4, unknown=5))
    after = read_counts(metrics(digits=600, slow=80, errors=14, unknown=5))
    digits = between(before.of(("digits", "1")), after.of(("digits", "1")), 5.0)
    assert (digits.requests_per_s, digits.errors_per_s, digits.batch_rows, digits.batch_fill) == (200, 0, None, None)
    ranker = between(before.of(("ranker", "b")), after.of(("ranker", "b")), 5.0)
    assert (ranker.requests_per_s, ranker.errors_per_s) == (8, 2)
    assert ranker.p50_ms == pytest.approx(15)
    assert ranker.p99_ms == pytest.approx(19.9)
    assert (ranker.batch_rows, ranker.batch_fill, ranker.in_flight, ranker.queue_rows) == (4, 0.5, 7, 21)


def test_where_nothing_happened_there_is_no_latency() -> None:
    counts = read_counts(metrics(digits=100, slow=40, errors=4, unknown=5)).of(("ranker", "b"))
    figures = between(counts, counts, 5.0)
    assert (figures.requests_per_s, figures.p50_ms, figures.p99_ms, figures.batch_fill) == (0, None, None, None)


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    assert between(VersionCounts(requests=100), VersionCounts(requests=10), 5.0).requests_per_s == 2


@pytest.mark.parametrize(
    ("cumulative", "share", "expected"),
    [
        ({}, 0.5, None),
        ({1.0: 0, math.inf: 0}, 0.5, None),
        ({1.0: 10, math.inf: 10}, 0.5, 0.5),
        ({1.0: 5, 3.0: 10, math.inf: 10}, 0.75, 2.0),
        ({1.0: 0, 2.0: 0, 4.0: 8}, 0.5, 3.0),
        ({1.0: 5, math.inf: 10}, 0.99, 1.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(
    cumulative: dict[float, float], share: float, expected: float | None
) -> None:
    assert quantile(cumulative, share) == expected
