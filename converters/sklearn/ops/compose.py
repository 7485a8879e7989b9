"""What puts estimators together without computing anything itself: pipelines, unions, columns, searches."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import TEXT, Graph, Value
from converters.sklearn.ops.registry import Translation, call, translates
from converters.sklearn.ops.table import Table, column_indices, numbers

METHODS = ("predict", "predict_proba", "decision_function", "transform")
SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")


def as_table(value: Any) -> Table:
    """A translation's result as the input of the next step."""
    return value if isinstance(value, Table) else Table.of(value)


def _delegates(attribute: str, method: str) -> Translation:
    """A translation that hands the input on to a fitted estimator below."""

    def delegate(g: Graph, est: Any, table: Table) -> Any:
        return call(g, getattr(est, attribute, None) or est.estimator, method, table)

    return delegate


for _method in METHODS:
    translates(_method, *SEARCHES, table=True)(_delegates("best_estimator_", _method))
    translates(_method, "FrozenEstimator", table=True)(_delegates("estimator", _method))
    translates(_method, "SelfTrainingClassifier", table=True)(_delegates("estimator_", _method))
for _method in ("predict_proba", "decision_function"):
    translates(_method, "FixedThresholdClassifier", "TunedThresholdClassifierCV", table=True)(
        _delegates("estimator_", _method)
    )


def _pipeline_method(method: str) -> Translation:
    def run_pipeline(g: Graph, est: Any, table: Table) -> Any:
        """All steps but the last transform; the last one does what was asked for."""
        *inner, (_, last) = est.steps
        for _, step in inner:
            if step is not None and step != "passthrough":
                table = as_table(call(g, step, "transform", table))
        if last is None or last == "passthrough":
            return table.matrix()
        return call(g, last, method, table)

    return run_pipeline


for _method in METHODS:
    translates(_method, "Pipeline", table=True)(_pipeline_method(_method))


def side_by_side(g: Graph, parts: list[Any]) -> Value:
    """Blocks of one type as one matrix; numbers as float64."""
    blocks = [block for part in parts for block in as_table(part).blocks]
    if all(block.dtype == TEXT for block in blocks):
        return g.concat(blocks)
    return g.concat([numbers(block) for block in blocks])


@translates("transform", "FeatureUnion", table=True)
def transform_union(g: Graph, est: Any, table: Table) -> Value:
    """Every transformer's columns, those with a weight multiplied by it."""
    parts: list[Any] = []
    for name, transformer in est.transformer_list:
        if transformer == "drop":
            continue
        part = table if transformer == "passthrough" else call(g, transformer, "transform", table)
        parts.append(_weighted(est, name, part))
    return side_by_side(g, parts)


def _weighted(est: Any, name: str, part: Any) -> Any:
    weight = (est.transformer_weights or {}).get(name)
    return part if weight is None else as_table(part).matrix() * float(weight)


@translates("transform", "ColumnTransformer", table=True)
def transform_columns(g: Graph, est: Any, table: Table) -> Value:
    """Each transformer gets its columns; the results stand side by side in the order of `transformers_`."""
    names = [str(name) for name in getattr(est, "feature_names_in_", ())]
    parts: list[Any] = []
    for name, transformer, chosen in est.transformers_:
        indices = column_indices(chosen, names, est.n_features_in_)
        if (isinstance(transformer, str) and transformer == "drop") or not indices:
            continue
        part: Any = table.select(indices)
        if not (isinstance(transformer, str) and transformer == "passthrough"):
            part = call(g, transformer, "transform", part)
        parts.append(_weighted(est, name, part))
    return side_by_side(g, parts)


@translates("predict", "TransformedTargetRegressor", table=True)
def predict_transformed_target(g: Graph, est: Any, table: Table) -> Value:
    """The regressor's prediction through the inverse of what its target was put through."""
    from converters.sklearn.ops.scaling import inverse_transform

    return inverse_transform(g, est.transformer_, call(g, est.regressor_, "predict", table))


@translates("predict", "FixedThresholdClassifier", "TunedThresholdClassifierCV", table=True)
def predict_at_threshold(g: Graph, est: Any, table: Table) -> Value:
    """The positive label where the score of the positive label reaches the threshold."""
    inner = getattr(est, "estimator_", None) or est.estimator
    fixed = hasattr(est, "threshold")
    position = _positive(est, inner.classes_)
    uses_probabilities = _uses_probabilities(est, inner)
    if uses_probabilities:
        score = call(g, inner, "predict_proba", table).column(position)
    else:
        score = call(g, inner, "decision_function", table)
        score = score if position == 1 else -score
    threshold = est.threshold if fixed else est.best_threshold_
    if isinstance(threshold, str):
        threshold = 0.5 if uses_probabilities else 0.0
    reached = (score >= float(threshold)).reshape(-1).cast(np.int64)
    return g.labels(np.asarray(inner.classes_)[[1 - position, position]], reached)


def _positive(est: Any, classes: np.ndarray) -> int:
    label = est.pos_label if hasattr(est, "pos_label") else est._curve_scorer._get_pos_label()
    return 1 if label is None else int(np.flatnonzero(classes == label)[0])


def _uses_probabilities(est: Any, inner: Any) -> bool:
    if est.response_method == "auto":
        return hasattr(inner, "predict_proba")
    return bool(est.response_method == "predict_proba")
