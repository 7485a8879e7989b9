"""Encoders of labels: one column of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.encoders import UNKNOWN, category_index
from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.table import Table


def _classes_given(table: Table) -> Value:
    """Of [N] or [N, 1], as one column."""
    return table.text().reshape(-1, 1)


@translates("transform", "LabelEncoder", table=True)
def transform_label(g: Graph, est: Any, table: Table) -> Value:
    """The class's number; an unknown class is an error, as Gather takes no index beyond the end."""
    index = category_index(g, _classes_given(table), est.classes_).reshape(-1)
    count = len(est.classes_)
    place = g.where(index.equals(UNKNOWN), np.int64(count), index)
    return g.constant(np.arange(count)).take(place, axis=0)


@translates("transform", "LabelBinarizer", table=True)
def transform_binarized(g: Graph, est: Any, table: Table) -> Value:
    """One column a class, one alone for two; an unknown class has none."""
    if est.y_type_.startswith("multilabel"):
        raise NotTranslated("LabelBinarizer of several labels at once")
    index = category_index(g, _classes_given(table), est.classes_)
    count = len(est.classes_)
    columns = np.array([[1]]) if count == 2 else np.arange(count)[None]
    return g.where(index.equals(columns), float(est.pos_label), float(est.neg_label))
