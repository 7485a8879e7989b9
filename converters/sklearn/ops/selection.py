"""Feature selection: some of the columns, as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph
from converters.sklearn.ops.registry import Translation, call, translates
from converters.sklearn.ops.table import Table

SELECTORS = (
    "GenericUnivariateSelect",
    "RFE",
    "RFECV",
    "SelectFdr",
    "SelectFpr",
    "SelectFromModel",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "SequentialFeatureSelector",
    "VarianceThreshold",
)


@translates("transform", *SELECTORS, table=True)
def _transform_selected(g: Graph, est: Any, table: Table) -> Table:
    return table.select(np.flatnonzero(est.get_support()).tolist())


def _after_selection(method: str) -> Translation:
    def answer(g: Graph, est: Any, table: Table) -> Any:
        """The estimator that was fitted on the selected columns."""
        return call(g, est.estimator_, method, _transform_selected(g, est, table))

    return answer


for _method in ("predict", "predict_proba", "decision_function"):
    translates(_method, "RFE", "RFECV", table=True)(_after_selection(_method))
