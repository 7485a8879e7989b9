"""Every estimator of scikit-learn that predicts or transforms, at its defaults and at one unusual setting.

A table of its own beside the other sources, counted apart.
"""

from __future__ import annotations

from collections import Counter

from tests.sources import sklearn_classifiers, sklearn_groups, sklearn_regressors, sklearn_transformers
from tests.sources.table import SourceCase

CASES: list[SourceCase] = [
    *sklearn_classifiers.CASES,
    *sklearn_regressors.CASES,
    *sklearn_transformers.CASES,
    *sklearn_groups.CASES,
]

WITHOUT_ANSWERS = {
    "AgglomerativeClustering": "only labels the rows it was fitted on",
    "ClassicalMDS": "only embeds the rows it was fitted on",
    "DBSCAN": "only labels the rows it was fitted on",
    "EmpiricalCovariance": "estimates a covariance",
    "GraphicalLasso": "estimates a covariance",
    "GraphicalLassoCV": "estimates a covariance",
    "HDBSCAN": "only labels the rows it was fitted on",
    "KernelDensity": "has score_samples alone",
    "LedoitWolf": "estimates a covariance",
    "MDS": "only embeds the rows it was fitted on",
    "MinCovDet": "estimates a covariance",
    "NearestNeighbors": "has kneighbors alone",
    "OAS": "estimates a covariance",
    "OPTICS": "only labels the rows it was fitted on",
    "ShrunkCovariance": "estimates a covariance",
    "SpectralBiclustering": "only labels the rows it was fitted on",
    "SpectralClustering": "only labels the rows it was fitted on",
    "SpectralCoclustering": "only labels the rows it was fitted on",
    "SpectralEmbedding": "only embeds the rows it was fitted on",
    "TSNE": "only embeds the rows it was fitted on",
}
"""Estimators with neither predict nor transform for new rows, and why."""


def rows_of_each() -> Counter[str]:
    """How many rows are about each estimator: its name is the first word of a row's name or, in a pipeline that gives
    it the place it has with users, the second."""
    return Counter(word for case in CASES for word in case.name.split("-")[1:3])
