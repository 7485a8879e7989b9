"""Imputers, and the indicator of what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.distances import dense
from converters.sklearn.ops.graph import TEXT, Graph, Value, floats
from converters.sklearn.ops.neighbors import neighbour_weights
from converters.sklearn.ops.registry import NotTranslated, call, translates
from converters.sklearn.ops.table import Table


def missing(g: Graph, x: Value, marker: Any) -> Value:
    """Where a value is missing, bool like x."""
    if isinstance(marker, float) and np.isnan(marker):
        return x.is_nan()
    if marker is None or isinstance(marker, str):
        raise NotTranslated(f"missing_values={marker!r} among numbers")
    return x.equals(float(marker))


def _with_indicator(g: Graph, est: Any, filled: Value, absent: Value) -> Value:
    if not est.add_indicator:
        return filled
    flags = absent.take(np.asarray(est.indicator_.features_)).double()
    return g.concat([filled, flags.as_narrow(filled.narrow)])


@translates("transform", "SimpleImputer", table=True)
def transform_simple(g: Graph, est: Any, table: Table) -> Any:
    """The column's statistic in place of what is missing; columns without one are left out."""
    if table.is_text():
        return _fill_text(g, est, table)
    x = table.matrix()
    absent = missing(g, x, est.missing_values)
    statistics = floats(est.statistics_)
    filled = g.where(absent, statistics[None], x).as_narrow(x.narrow)
    filled = filled.rounded() if x.narrow else filled
    known = ~np.isnan(statistics)
    if not est.keep_empty_features and not known.all():
        filled = filled.take(np.flatnonzero(known)).as_narrow(x.narrow)
    return _with_indicator(g, est, filled, absent)


def _fill_text(g: Graph, est: Any, table: Table) -> Value:
    """Text is missing where it equals the marker; ONNX has no missing text of its own."""
    if not isinstance(est.missing_values, str) or est.add_indicator:
        raise NotTranslated("SimpleImputer of text with missing_values other than a text, or with add_indicator")
    columns = []
    for place, statistic in enumerate(est.statistics_):
        column = table.column(place)
        marked = g.op(
            "LabelEncoder",
            column,
            dtype=np.int64,
            domain="ai.onnx.ml",
            keys_strings=[est.missing_values],
            values_int64s=[1],
            default_int64=0,
        )
        columns.append(g.where(marked.equals(1), g.constant(np.array([[str(statistic)]], object)), column))
    return g.concat(columns)


@translates("transform", "MissingIndicator", table=True)
def _transform_indicator(g: Graph, est: Any, table: Table) -> Value:
    if any(block.dtype == TEXT for block in table.blocks):
        raise NotTranslated("MissingIndicator of text")
    absent = missing(g, table.matrix(), est.missing_values).double()
    return absent.take(np.asarray(est.features_)) if est.features == "missing-only" else absent


@translates("transform", "KNNImputer")
def transform_neighbours(g: Graph, est: Any, x: Value) -> Value:
    """The (weighted) mean of the nearest training rows that have the value; the column's mean where none is near."""
    if callable(est.metric) or est.metric != "nan_euclidean":
        raise NotTranslated("KNNImputer with a metric other than nan_euclidean")
    absent = missing(g, x, est.missing_values)
    rows = dense(est._fit_X)
    gaps = np.asarray(est._mask_fit_X)
    apart = _distances_with_gaps(g, g.where(absent, 0.0, x), absent, np.where(gaps, 0.0, rows), gaps)
    columns = []
    for place in range(x_columns(est)):
        if not est._valid_mask[place]:
            if est.keep_empty_features:
                columns.append(x.column(place).is_nan().double() * 0.0)
            continue
        donors = np.flatnonzero(~gaps[:, place])
        values = rows[donors, place]
        guess = _mean_of_nearest(g, est, apart.take(donors), values)
        columns.append(g.where(absent.column(place), guess, x.column(place)))
    filled = g.concat(columns).as_narrow(x.narrow)
    return _with_indicator(g, est, filled.rounded() if x.narrow else filled, absent)


def x_columns(est: Any) -> int:
    """Columns that it was fitted on."""
    return int(est.n_features_in_)


def _distances_with_gaps(g: Graph, x: Value, absent: Value, rows: np.ndarray, gaps: np.ndarray) -> Value:
    """Euclid's over the columns that both have, scaled up to all of them; infinite where there are none."""
    here, there = absent.invert().double(), (~gaps).astype(np.float64)
    squares = (x * x) @ there.T + here @ (rows**2).T - 2.0 * (x @ np.ascontiguousarray(rows.T))
    shared = here @ np.ascontiguousarray(there.T)
    none = shared.equals(0.0)
    scaled = g.maximum(squares, 0.0) * float(rows.shape[1]) / g.where(none, 1.0, shared)
    return g.where(none, float("inf"), scaled.sqrt())


def _mean_of_nearest(g: Graph, est: Any, apart: Value, values: np.ndarray) -> Value:
    count = min(int(est.n_neighbors), len(values))
    near, index = g.ops("TopK", apart, np.array([count]), dtypes=[None, np.int64], axis=1, largest=0, sorted=1)
    usable = (near < float("inf")).double()
    if est.weights == "distance":
        weights = neighbour_weights(g, "distance", near)
        assert weights is not None
        usable = usable * weights
    elif est.weights != "uniform":
        raise NotTranslated("weights that are a Python function")
    total = usable.sum()
    none = total.equals(0.0)
    picked = g.constant(values.astype(np.float64)).take(index, axis=0)
    return g.where(none, float(values.mean()), (picked * usable).sum() / g.where(none, 1.0, total))


@translates("transform", "IterativeImputer")
def transform_iterative(g: Graph, est: Any, x: Value) -> Value:
    """Every column guessed from the others, in the order and with the estimators of the fit."""
    if est.sample_posterior:
        raise NotTranslated("IterativeImputer with sample_posterior=True answers at random")
    absent = missing(g, x, est.missing_values)
    start = call(g, est.initial_imputer_, "transform", x)
    known = np.flatnonzero(~np.isnan(floats(est.initial_imputer_.statistics_)))
    if len(known) != x_columns(est):
        raise NotTranslated("IterativeImputer fitted on a column without any value")
    columns = [start.column(place).as_narrow(start.narrow) for place in range(x_columns(est))]
    for feature, neighbours, estimator in est.imputation_sequence_:
        inputs = g.concat([columns[int(place)] for place in neighbours])
        guess = call(g, estimator, "predict", inputs).reshape(-1, 1)
        guess = guess.clip(float(est._min_value[feature]), float(est._max_value[feature]))
        filled = g.where(absent.column(int(feature)), guess, columns[int(feature)])
        columns[int(feature)] = filled.rounded() if start.narrow else filled
    return _with_indicator(g, est, g.concat(columns).as_narrow(x.narrow), absent)
