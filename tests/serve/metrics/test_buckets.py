"""Fixed buckets: which one takes a value, and sums of them."""

from __future__ import annotations

import pytest

from serve.metrics.buckets import DURATION_BOUNDS_S, FILL_BOUNDS, ROW_BOUNDS, Durations, Sizes


@pytest.mark.parametrize(
    ("ns", "bucket"),
    [(0, 0), (100_000, 0), (100_001, 1), (1_000_000, 3), (60 * 10**9, 17), (60 * 10**9 + 1, 18)],
)
def test_a_duration_goes_to_the_bucket_whose_bound_it_does_not_exceed(ns: int, bucket: int) -> None:
    durations = Durations()
    durations.add(ns)
    assert durations.counts == [int(place == bucket) for place in range(len(DURATION_BOUNDS_S) + 1)]
    assert (durations.count, durations.ns) == (1, ns)


@pytest.mark.parametrize(("rows", "bucket"), [(1, 0), (2, 1), (3, 2), (4, 2), (1024, 10), (1025, 11)])
def test_rows_go_to_the_next_power_of_two(rows: int, bucket: int) -> None:
    sizes = Sizes.within(ROW_BOUNDS)
    sizes.add(rows, ROW_BOUNDS, times=3)
    assert sizes.counts == [3 * (place == bucket) for place in range(12)]
    assert sizes.total == 3 * rows


def test_a_full_batch_is_in_the_last_bucket_that_has_a_bound() -> None:
    sizes = Sizes.within(FILL_BOUNDS)
    sizes.add(1.0, FILL_BOUNDS)
    assert sizes.counts == [0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_sums_leave_what_they_are_made_of_as_it_was() -> None:
    first, second = Durations(), Durations()
    first.add(10)
    second.add(10**9)
    first.merge(second)
    second.add(10)
    assert (first.count, first.ns) == (2, 10**9 + 10)
    assert (second.count, second.ns) == (2, 10**9 + 10)
    first.add(5)
    assert second.count == 2


def test_every_histogram_begins_empty() -> None:
    Durations().add(1)
    assert Durations().count == 0
