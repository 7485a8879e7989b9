"""Boosted trees of all three libraries."""

from tests.sources import boosting_catboost, boosting_lightgbm, boosting_xgboost
from tests.sources.table import SourceCase

CASES: list[SourceCase] = [*boosting_xgboost.CASES, *boosting_lightgbm.CASES, *boosting_catboost.CASES]
