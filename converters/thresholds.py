"""Where tree models decide: the rows that the parity gate must try for them.

Random numbers seldom meet a threshold, and that is where conversions of trees go wrong: a double threshold
rounded to float32 sends equal values down the other branch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from converters.base import Range

PROBE_ROWS = 96
MISSING_SHARE = 0.1
ZERO = 1e-30
"""LightGBM takes values within 1e-35 for zero before it looks at thresholds, which it puts at that very place."""


def float32_not_above(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 not above each threshold (float64[N]): for every float32 x, `x <= t` stays the same."""
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(np.float32)
    down = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > thresholds, down, rounded)


def group_by_feature(features: Iterable[int], thresholds: Iterable[float], count: int) -> list[np.ndarray]:
    """Finite thresholds of each of `count` features."""
    groups: list[list[float]] = [[] for _ in range(count)]
    for feature, threshold in zip(features, thresholds, strict=True):
        if np.isfinite(threshold):
            groups[feature].append(threshold)
    return [np.unique(np.array(group, dtype=np.float64)) for group in groups]


def probe_range(groups: list[np.ndarray]) -> Range:
    """For each feature somewhat more than its thresholds span; -1 to 1 for one that is never asked for."""
    low = np.array([group.min() if len(group) else -1.0 for group in groups])
    high = np.array([group.max() if len(group) else 1.0 for group in groups])
    margin = np.maximum((high - low) * 0.25, np.maximum(np.abs(high), 1) * 0.05)
    limit = float(np.finfo(np.float32).max) / 4
    return np.clip(low - margin, -limit, limit), np.clip(high + margin, -limit, limit)


def probe_rows(groups: list[np.ndarray], dtype: type[np.floating], *, missing: bool) -> np.ndarray:
    """`dtype[PROBE_ROWS, features]` of values at the thresholds and next to them; with `missing`, every second
    row has some NaN."""
    generator = np.random.default_rng(0)
    rows = np.zeros((PROBE_ROWS, len(groups)), dtype=dtype)
    for feature, group in enumerate(groups):
        if len(group):
            with np.errstate(over="ignore"):
                rows[:, feature] = generator.choice(group, PROBE_ROWS).astype(dtype)
    aside = generator.integers(0, 3, rows.shape)
    rows = np.where(aside == 1, np.nextafter(rows, dtype(np.inf)), rows)
    rows = np.where(aside == 2, np.nextafter(rows, dtype(-np.inf)), rows)
    if missing:
        holes = generator.random(rows.shape) < MISSING_SHARE
        holes[::2] = False
        rows[holes] = np.nan
    return np.where(np.isinf(rows) | (np.abs(rows) < ZERO), dtype(0), rows)
