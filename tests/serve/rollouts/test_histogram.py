"""Histograms: every number has its bucket, quantiles are within a bucket, sums are sums."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serve.rollouts.histogram import LARGEST, Histogram, bucket_bounds, bucket_of


def of(*values: int) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (0, (0, 1)),
        (15, (15, 16)),
        (16, (16, 17)),
        (31, (31, 32)),
        (32, (32, 34)),
        (33, (32, 34)),
        (1_000_000, (983_040, 1_015_808)),
        (-5, (0, 1)),
        (LARGEST, (31 << 57, 1 << 62)),
        (10 * LARGEST, (31 << 57, 1 << 62)),
    ],
)
def test_a_number_lies_between_the_bounds_of_its_bucket(value: int, bounds: tuple[int, int]) -> None:
    assert bucket_bounds(bucket_of(value)) == bounds


def test_buckets_follow_each_other_without_gaps() -> None:
    buckets = range(bucket_of(LARGEST) + 1)
    assert len(buckets) == 944
    assert all(bucket_bounds(bucket)[1] == bucket_bounds(bucket + 1)[0] for bucket in buckets[:-1])
    assert max(high / low for low, high in map(bucket_bounds, buckets[16:])) == 1 + 1 / 16


def test_quantiles_are_the_middles_of_their_buckets() -> None:
    histogram = of(*range(1, 1001))
    assert [histogram.quantile(share) for share in (0.0, 0.5, 0.9, 0.99, 1.0)] == [1.5, 504.0, 912.0, 976.0, 1008.0]
    assert Histogram().quantile(0.5) is None


def test_the_interval_holds_the_true_quantile() -> None:
    random = np.random.default_rng(7)
    outside = 0
    for _ in range(300):
        interval = of(*random.lognormal(13, 0.5, 400).astype(int).tolist()).interval(0.5, 3)
        assert interval is not None
        outside += not interval[0] <= math.exp(13) <= interval[1]
    assert outside <= 3


def test_few_values_bound_nothing() -> None:
    assert Histogram().interval(0.5, 3) is None
    assert of(100).interval(0.5, 3) == (0.0, math.inf)
    low, high = of(*[100] * 100).interval(0.95, 3) or (0, 0)
    assert (low, high) == (100, math.inf)


def test_histograms_add_up_and_come_apart() -> None:
    early = of(5, 5, 100)
    late = of(5, 5, 100, 5, 7)
    assert late.since(early) == of(5, 7)
    early.merge(of(5, 7))
    assert early == late
    assert (late.count, Histogram().count) == (5, 0)
