"""What fitted scikit-learn estimators say of sensible inputs, and whether their trees and splines are sound.

Works on attributes alone and imports nothing of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from converters.base import Range
from converters.thresholds import PROBE_ROWS, probe_range, probe_rows
from model_store.errors import SourceError

LEAF = -1


def steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, pipelines inside it unfolded; the estimator alone when it is none."""
    inner = getattr(estimator, "steps", None)
    if not isinstance(inner, list):
        return [estimator]
    return [each for _, step in inner if step not in (None, "passthrough") for each in steps(step)]


NOT_NEGATIVE = (
    "AdditiveChi2Sampler",
    "ComplementNB",
    "LatentDirichletAllocation",
    "MiniBatchNMF",
    "MultinomialNB",
    "NMF",
    "TfidfTransformer",
)
"""Estimators that refuse negative numbers."""
COUNTS = (0.0, 6.0)
FORESTS = (
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "IsolationForest",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "RandomTreesEmbedding",
)
"""Estimators that check the width of their input against their first tree alone."""


def input_range(estimator: Any) -> Range | None:
    """Where the first step of the pipeline saw its numbers, or may see them; None when nothing tells."""
    first = (steps(estimator) or [None])[0]
    for tells in (_allowed_range, _scaled_range, _threshold_range, _range_of_rows):
        span = tells(first)
        if span is not None:
            return span
    return None


def _allowed_range(first: Any) -> Range | None:
    """For estimators that refuse other numbers."""
    kind = type(first).__name__
    if kind in NOT_NEGATIVE or getattr(first, "kernel", None) in ("additive_chi2", "chi2"):
        return COUNTS
    if kind == "CategoricalNB":
        return np.zeros(len(first.n_categories_)), np.asarray(first.n_categories_) - 0.01
    if kind == "PowerTransformer" and first.method == "box-cox":
        return 0.1, 6.0
    if kind == "SkewedChi2Sampler":
        return 0.01 - first.skewedness, 6.0
    if kind == "IsotonicRegression":
        aside = 0.0 if first.out_of_bounds == "raise" else 0.2 * (first.X_max_ - first.X_min_)
        return float(first.X_min_) - aside, float(first.X_max_) + aside
    return None


def _scaled_range(first: Any) -> Range | None:
    mean, scale = getattr(first, "mean_", None), getattr(first, "scale_", None)
    if isinstance(mean, np.ndarray) and isinstance(scale, np.ndarray):
        return mean - 3 * scale, mean + 3 * scale
    low, high = getattr(first, "data_min_", None), getattr(first, "data_max_", None)
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray):
        return low, np.maximum(low, high)
    return None


def _threshold_range(first: Any) -> Range | None:
    groups = _thresholds(first)
    return probe_range(groups) if groups else None


def _range_of_rows(first: Any) -> Range | None:
    rows = _training_rows(first)
    return (rows.min(axis=0), rows.max(axis=0)) if rows is not None else None


def _training_rows(first: Any) -> np.ndarray | None:
    """The rows that a neighbours' model keeps, where all numbers are there."""
    rows = getattr(first, "_fit_X", None)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f" or not len(rows):
        return None
    return rows if bool(np.isfinite(rows).all()) else None


def probes(estimator: Any, dtype: Any) -> np.ndarray | None:
    """Rows at the thresholds of the first step of the pipeline, or such as it was trained on, `dtype[rows, features]`;
    None where it has neither."""
    first = (steps(estimator) or [None])[0]
    groups = _thresholds(first)
    if groups:
        # scikit-learn's trees round their input to float32, so values between two of those tell nothing.
        width = np.float32 if dtype is np.float32 or next(trees(first), None) is not None else np.float64
        return probe_rows(groups, width, missing=False).astype(dtype)
    rows = _training_rows(first)
    return rows[:PROBE_ROWS].astype(dtype) if rows is not None else None


def vet_trees(estimator: Any) -> None:
    """Raises `SourceError` when a tree's indexes lead outside of it, or a spline has too few coefficients: what is
    compiled in scikit-learn and SciPy follows them without looking."""
    for item in parts(estimator):
        if _is_tree(item):
            _vet_tree(item)
        elif hasattr(item, "_predictors"):
            _vet_predictors(item)
        elif type(item).__name__ == "BSpline":
            _vet_spline(item)
        else:
            _vet_widths(item)


def _vet_tree(tree: Any) -> None:
    count = int(tree.node_count)
    left, right = tree.children_left[:count], tree.children_right[:count]
    inner = left != LEAF
    if not (inner == (right != LEAF)).all():
        raise SourceError("the file holds a decision tree that asks for columns it does not have; it is damaged")
    _vet_nodes(left[inner], right[inner], np.flatnonzero(inner), count)
    _vet_columns(tree.feature[:count][inner], tree.n_features)


def _vet_nodes(left: np.ndarray, right: np.ndarray, own: np.ndarray, count: int) -> None:
    for children in (left, right):
        # Children come after their parent; this also excludes cycles.
        if not ((children > own) & (children < count)).all():
            raise SourceError("the file holds a decision tree whose nodes lead outside of it; it is damaged")


def _vet_columns(features: np.ndarray, count: int) -> None:
    if not ((features >= 0) & (features < count)).all():
        raise SourceError("the file holds a decision tree that asks for columns it does not have; it is damaged")


def _vet_predictors(estimator: Any) -> None:
    """The trees of HistGradientBoosting."""
    columns = int(getattr(estimator, "n_features_in_", 0))
    mapper = getattr(estimator, "_bin_mapper", None)
    categorical = np.asarray(getattr(mapper, "is_categorical_", np.zeros(columns)), bool)
    for predictor in (each for stage in estimator._predictors for each in stage):
        nodes = predictor.nodes
        inner = nodes["is_leaf"] == 0
        split = nodes[inner]
        _vet_nodes(split["left"].astype(int), split["right"].astype(int), np.flatnonzero(inner), len(nodes))
        _vet_columns(split["feature_idx"].astype(int), columns)
        sets = split[split["is_categorical"] != 0]
        if len(categorical) != columns or not categorical[sets["feature_idx"].astype(int)].all():
            raise SourceError("the file holds a decision tree that asks for columns it does not have; it is damaged")
        _vet_columns(sets["bitset_idx"].astype(int), len(predictor.raw_left_cat_bitsets))


def _vet_widths(estimator: Any) -> None:
    """A tree must take as many columns as the estimator that hands them over, which forests do without looking."""
    tree, columns = getattr(estimator, "tree_", None), getattr(estimator, "n_features_in_", None)
    if tree is not None and columns != tree.n_features:
        raise SourceError("the file holds a decision tree that asks for columns it does not have; it is damaged")
    if type(estimator).__name__ not in FORESTS:
        return
    members = np.ravel(np.asarray(getattr(estimator, "estimators_", []), dtype=object))
    chosen = getattr(estimator, "estimators_features_", None)
    widths = [columns] * len(members) if chosen is None else [len(each) for each in chosen]
    if len(widths) != len(members) or any(
        member.n_features_in_ != width for member, width in zip(members, widths, strict=True)
    ):
        raise SourceError("the file holds a decision tree that asks for columns it does not have; it is damaged")


def _vet_spline(spline: Any) -> None:
    knots, coefficients, order = np.asarray(spline.t), np.asarray(spline.c), int(spline.k)
    enough = (
        knots.ndim == 1 and coefficients.ndim >= 1 and order >= 0 and len(coefficients) >= len(knots) - order - 1 > 0
    )
    if not enough or not bool((np.diff(knots) >= 0).all()):
        raise SourceError("the file holds a spline whose knots and coefficients do not fit; it is damaged")


def trees(estimator: Any) -> Iterator[Any]:
    """Every fitted `Tree` below an estimator, wherever it is nested."""
    return (item for item in parts(estimator) if _is_tree(item))


def _is_tree(item: Any) -> bool:
    return hasattr(item, "children_left") and hasattr(item, "threshold")


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and all objects below it, wherever they are nested."""
    seen: set[int] = set()
    stack = [estimator]
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple) or (isinstance(item, np.ndarray) and item.dtype == object):
            stack.extend(list(item))
        else:
            yield item
            if type(item).__module__.startswith("sklearn.") and hasattr(item, "__dict__"):
                stack.extend(vars(item).values())


def _thresholds(estimator: Any) -> list[np.ndarray]:
    """Numbers at which the estimator decides, for each of its columns; an empty list when there are none."""
    columns = getattr(estimator, "n_features_in_", 0)
    found = [*_tree_thresholds(estimator), *_edges(estimator)]
    features = np.concatenate([each for each, _ in found] or [np.zeros(0, int)]).astype(int)
    values = np.concatenate([each for _, each in found] or [np.zeros(0)]).astype(np.float64)
    features, values = features[np.isfinite(values)], values[np.isfinite(values)]
    if not len(features) or features.max() >= columns:
        return []
    # Forests have millions of nodes: sorted once instead of searched for each column.
    order = np.argsort(features, kind="stable")
    bounds = np.searchsorted(features[order], np.arange(columns + 1))
    return [np.unique(values[order[start:end]]) for start, end in pairwise(bounds)]


def _tree_thresholds(estimator: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for tree in trees(estimator):
        inner = np.asarray(tree.feature) >= 0
        yield tree.feature[inner], tree.threshold[inner]
    if getattr(estimator, "_preprocessor", None) is not None:
        return  # its columns are in another order
    for predictor in (each for stage in getattr(estimator, "_predictors", ()) for each in stage):
        nodes = predictor.nodes[(predictor.nodes["is_leaf"] == 0) & (predictor.nodes["is_categorical"] == 0)]
        yield nodes["feature_idx"], nodes["num_threshold"]


def _edges(estimator: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of bins and quantiles."""
    columns: Any = getattr(estimator, "bin_edges_", None)
    if columns is None and isinstance(getattr(estimator, "quantiles_", None), np.ndarray):
        columns = estimator.quantiles_.T
    for feature, edges in enumerate(columns if columns is not None else ()):
        yield np.full(len(edges), feature), np.asarray(edges)
