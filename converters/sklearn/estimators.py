"""What fitted scikit-learn estimators say of sensible inputs, and whether their trees are sound.

Works on attributes alone and imports nothing of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from converters.base import Range
from converters.thresholds import group_by_feature, probe_range, probe_rows
from model_store.errors import SourceError

LEAF = -1


def steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, pipelines inside it unfolded; the estimator alone when it is none."""
    inner = getattr(estimator, "steps", None)
    if not isinstance(inner, list):
        return [estimator]
    return [each for _, step in inner if step not in (None, "passthrough") for each in steps(step)]


def input_range(estimator: Any) -> Range | None:
    """Where a fitted scaler or the trees in front of the pipeline saw their data; None when neither is there."""
    first = (steps(estimator) or [None])[0]
    mean, scale = getattr(first, "mean_", None), getattr(first, "scale_", None)
    if isinstance(mean, np.ndarray) and isinstance(scale, np.ndarray):
        return mean - 3 * scale, mean + 3 * scale
    low, high = getattr(first, "data_min_", None), getattr(first, "data_max_", None)
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray):
        return low, np.maximum(low, high)
    groups = _thresholds(first)
    return probe_range(groups) if groups else None


def probes(estimator: Any, dtype: Any) -> np.ndarray | None:
    """Rows at the thresholds of the trees in front of the pipeline, `dtype[rows, features]`; None without trees."""
    groups = _thresholds((steps(estimator) or [None])[0])
    # scikit-learn's trees round their input to float32, so values between two of those tell nothing.
    return probe_rows(groups, np.float32, missing=False).astype(dtype) if groups else None


def vet_trees(estimator: Any) -> None:
    """Raises `SourceError` when a tree's indexes lead outside of it: scikit-learn follows them without looking."""
    for tree in trees(estimator):
        count = int(tree.node_count)
        own = np.arange(count)
        for children in (tree.children_left[:count], tree.children_right[:count]):
            # Children come after their parent; this also excludes cycles.
            if not ((children == LEAF) | ((children > own) & (children < count))).all():
                raise SourceError("the file holds a decision tree whose nodes lead outside of it; it is damaged")
        inner = tree.children_left[:count] != LEAF
        features = tree.feature[:count][inner]
        leaves_agree = (inner == (tree.children_right[:count] != LEAF)).all()
        if not leaves_agree or not ((features >= 0) & (features < tree.n_features)).all():
            raise SourceError("the file holds a decision tree that asks for columns it does not have; it is damaged")


def trees(estimator: Any) -> Iterator[Any]:
    """Every fitted `Tree` below an estimator, wherever it is nested."""
    seen: set[int] = set()
    stack = [estimator]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if hasattr(item, "children_left") and hasattr(item, "threshold"):
            yield item
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple) or (isinstance(item, np.ndarray) and item.dtype == object):
            stack.extend(list(item))
        elif type(item).__module__.startswith("sklearn.") and hasattr(item, "__dict__"):
            stack.extend(vars(item).values())


def _thresholds(estimator: Any) -> list[np.ndarray]:
    pairs = [
        (int(feature), float(threshold))
        for tree in trees(estimator)
        for feature, threshold in zip(tree.feature, tree.threshold, strict=True)
        if feature >= 0
    ]
    columns = getattr(estimator, "n_features_in_", 0)
    if not pairs or any(feature >= columns for feature, _ in pairs):
        return []
    return group_by_feature([pair[0] for pair in pairs], [pair[1] for pair in pairs], columns)
