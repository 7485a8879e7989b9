"""Intervals of rates against published figures, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from serve.rollouts.intervals import excess, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval_is_the_published_one(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials, 1.959964) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("hits", "trials", "other_hits", "other_trials", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, table II, method 10.
    [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (10, 10, 0, 20, 0.6791, 1.0)],
)
def test_the_excess_is_the_published_one(
    hits: int, trials: int, other_hits: int, other_trials: int, low: float, high: float
) -> None:
    assert excess(hits, trials, other_hits, other_trials, 1.959964) == pytest.approx((low, high), abs=5e-5)


def test_without_trials_nothing_is_known() -> None:
    assert wilson(0, 0, 3) == (0.0, 1.0)
    low, high = excess(0, 0, 0, 0, 3)
    assert low <= -0.5
    assert high >= 0.5


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.3])
def test_three_deviations_hold_the_truth_in_all_but_eight_of_a_thousand(rate: float) -> None:
    hits = np.random.default_rng(5).binomial(2_000, rate, 5_000).tolist()
    outside = [count for count in hits if not wilson(count, 2_000, 3)[0] <= rate <= wilson(count, 2_000, 3)[1]]
    assert len(outside) <= 40
