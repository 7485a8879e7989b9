"""Calibrated probabilities, and isotonic regression, which is one of the calibrators."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.interpolation import interpolate
from converters.sklearn.ops.registry import NotTranslated, call, has_method, remembers, translates
from converters.sklearn.ops.table import Table


@translates("predict", "IsotonicRegression")
@translates("transform", "IsotonicRegression")
def predict_isotonic(g: Graph, est: Any, x: Value) -> Value:
    """Piecewise linear between the thresholds; outside them held, or NaN."""
    if est.out_of_bounds == "raise":
        raise NotTranslated(
            "IsotonicRegression with out_of_bounds='raise' refuses some inputs; 'clip' and 'nan' convert"
        )
    xs = floats(est.X_thresholds_)
    ys = floats(est.y_thresholds_)
    x = x.reshape(-1, 1)
    inside = interpolate(g, x.clip(float(est.X_min_), float(est.X_max_)) if len(xs) > 1 else x, xs, ys)
    if est.out_of_bounds == "clip" or len(xs) == 1:
        return inside
    return g.where((x < float(xs[0])).either(x > float(xs[-1])), float("nan"), inside)


@translates("predict", "_SigmoidCalibration")
def _predict_sigmoid(g: Graph, est: Any, x: Value) -> Value:
    return g.sigmoid(-(x * float(est.a_) + float(est.b_)))


@translates("predict_proba", "CalibratedClassifierCV", table=True)
@remembers
def calibrated_probabilities(g: Graph, est: Any, table: Table) -> Value:
    """Mean over the calibrated classifiers of the folds."""
    total: Any = None
    for each in est.calibrated_classifiers_:
        part = _calibrated(g, each, table)
        total = part if total is None else total + part
    result: Value = total / float(len(est.calibrated_classifiers_))
    return result


@translates("predict", "CalibratedClassifierCV", table=True)
def _predict_calibrated(g: Graph, est: Any, table: Table) -> Value:
    return g.labels(est.classes_, calibrated_probabilities(g, est, table).argmax())


def _calibrated(g: Graph, fold: Any, table: Table) -> Value:
    count = len(fold.classes)
    by_decision = has_method(fold.estimator, "decision_function")
    scores = call(g, fold.estimator, "decision_function" if by_decision else "predict_proba", table)
    if not by_decision and count == 2:
        scores = scores.column(1)
    if fold.method == "temperature":
        return _by_temperature(g, fold.calibrators[0], scores, count, by_decision)
    places = np.searchsorted(fold.classes, fold.estimator.classes_)
    columns: list[Any] = [None] * count
    for index, (place, calibrator) in enumerate(zip(places, fold.calibrators, strict=False)):
        columns[place + 1 if count == 2 else place] = call(g, calibrator, "predict", scores.column(index))
    if count == 2:
        shares = g.concat([1.0 - columns[1], columns[1]])
    else:
        zero = scores.column(0) * 0.0
        shares = g.concat([zero if column is None else column for column in columns])
        total = shares.sum()
        none = total.equals(0.0)
        shares = g.where(none, np.full((1, count), 1.0 / count), shares / g.where(none, 1.0, total))
    return g.where((shares > 1.0).both(shares <= 1.0 + 1e-5), 1.0, shares)


def _by_temperature(g: Graph, calibrator: Any, scores: Value, count: int, by_decision: bool) -> Value:
    """Softmax of the logits times one factor; probabilities become logits first."""
    if count == 2:
        scores = g.concat([-scores, scores]) if by_decision else g.concat([1.0 - scores, scores])
    if not by_decision:
        scores = (scores + 1e-12).log()
    return g.softmax(scores * float(calibrator.beta_))
