"""Encoders of categories: numbers or text, one column after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import TEXT, Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.table import Table

UNKNOWN = -1


def category_index(g: Graph, column: Value, categories: np.ndarray) -> Value:
    """Place of each value among the categories, int64[N, 1]; `UNKNOWN` for one that is none of them."""
    categories = np.asarray(categories)
    if column.dtype == TEXT:
        if not all(isinstance(each, str) for each in categories):
            raise NotTranslated("categories of text that are partly missing or no text")
        keys = [str(each) for each in categories]
        return g.op(
            "LabelEncoder",
            column,
            dtype=np.int64,
            domain="ai.onnx.ml",
            keys_strings=keys,
            values_int64s=list(range(len(keys))),
            default_int64=UNKNOWN,
        )
    try:
        known = categories.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise NotTranslated("categories of text in a column of numbers") from error
    same = column.double().equals(known[None])
    if np.isnan(known).any():
        same = same.either(column.double().is_nan().both(g.constant(np.isnan(known)[None])))
    same = same.double()
    return g.where(same.max() > 0.0, same.argmax().reshape(-1, 1), np.int64(UNKNOWN))


def _refuse_unknown(g: Graph, index: Value, count: int) -> Value:
    """Makes ONNX Runtime fail on an unknown category, as scikit-learn does: Gather takes no index beyond the end."""
    place = g.where(index.equals(UNKNOWN), np.int64(count), index)
    return g.constant(np.arange(count)).take(place, axis=0)


def _grouped(est: Any, place: int) -> np.ndarray | None:
    """Category -> place after the rare ones were put together; None where none were."""
    if not getattr(est, "_infrequent_enabled", False):
        return None
    mapping = est._default_to_infrequent_mappings[place]
    return None if mapping is None else np.asarray(mapping, np.int64)


@translates("transform", "OneHotEncoder", table=True)
def transform_one_hot(g: Graph, est: Any, table: Table) -> Value:
    """One column a category; unknown ones are zeros, the rare ones' column, or an error, as the encoder says."""
    blocks = []
    dropped = est._drop_idx_after_grouping
    for place, categories in enumerate(est.categories_):
        index = category_index(g, table.column(place), categories)
        count = len(categories)
        if est.handle_unknown == "error":
            index = _refuse_unknown(g, index, count)
        mapping = _grouped(est, place)
        if mapping is not None:
            rare = int(mapping[est._infrequent_indices[place][0]])
            unknown = rare if est.handle_unknown in ("infrequent_if_exist", "warn") else UNKNOWN
            index = g.constant(np.append(mapping, unknown)).take(
                g.where(index.equals(UNKNOWN), np.int64(count), index), axis=0
            )
            count = int(mapping.max()) + 1
        columns = [each for each in range(count) if dropped is None or dropped[place] is None or each != dropped[place]]
        blocks.append(index.equals(np.array([columns], np.int64)).double())
    return g.concat(blocks)


@translates("transform", "OrdinalEncoder", table=True)
def _transform_ordinal(g: Graph, est: Any, table: Table) -> Value:
    blocks = []
    for place, categories in enumerate(est.categories_):
        index = category_index(g, table.column(place), categories)
        count = len(categories)
        values = np.arange(count, dtype=np.float64)
        mapping = _grouped(est, place)
        if mapping is not None:
            values = mapping.astype(np.float64)
        if place in est._missing_indices:
            values[est._missing_indices[place]] = est.encoded_missing_value
        if est.handle_unknown == "error":
            index = _refuse_unknown(g, index, count)
        else:
            values = np.append(values, float(est.unknown_value))
            index = g.where(index.equals(UNKNOWN), np.int64(count), index)
        blocks.append(g.constant(values).take(index, axis=0))
    return g.concat(blocks)


@translates("transform", "TargetEncoder", table=True)
def transform_target_means(g: Graph, est: Any, table: Table) -> Value:
    """The shrunk mean of the target for each category; the overall mean for an unknown one."""
    several = len(est.classes_) if est.target_type_ == "multiclass" else 1
    means = np.ravel(floats(est.target_mean_))
    blocks = []
    for place, encoding in enumerate(est.encodings_):
        column, target = divmod(place, several)
        index = category_index(g, table.column(column), est.categories_[column])
        values = np.append(floats(encoding), means[target if several > 1 else 0])
        index = g.where(index.equals(UNKNOWN), np.int64(len(encoding)), index)
        blocks.append(g.constant(values).take(index, axis=0))
    return g.concat(blocks)
