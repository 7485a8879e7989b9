"""scikit-learn's clusterers, mixtures and outlier detectors."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.sources.sklearn_cases import case
from tests.sources.sklearn_data import plain
from tests.sources.table import SourceCase

clusters = partial(case, "clusterer")
outliers = partial(case, "outlier detector")

CASES: list[SourceCase] = [
    clusters("cluster.AffinityPropagation", plain),
    clusters("cluster.AffinityPropagation", plain, "preference", preference=-40.0, damping=0.8, random_state=0),
    clusters("cluster.Birch", plain, joblib=True),
    clusters("cluster.Birch", plain, "subclusters", n_clusters=None, threshold=1.2, branching_factor=5, joblib=True),
    clusters("cluster.BisectingKMeans", plain, n_clusters=5, random_state=0, wide=True),
    clusters(
        "cluster.BisectingKMeans",
        plain,
        "largest-cluster",
        n_clusters=4,
        bisecting_strategy="largest_cluster",
        random_state=1,
        wide=True,
    ),
    clusters("cluster.FeatureAgglomeration", plain),
    clusters("cluster.FeatureAgglomeration", plain, "max", n_clusters=3, pooling_func=np.max),
    clusters("cluster.KMeans", plain, n_clusters=4, random_state=0, wide=True),
    clusters(
        "cluster.KMeans", plain, "elkan", n_clusters=6, algorithm="elkan", init="random", random_state=0, wide=True
    ),
    clusters("cluster.MeanShift", plain),
    clusters("cluster.MeanShift", plain, "seeds", bandwidth=1.5, bin_seeding=True, cluster_all=False),
    clusters("cluster.MiniBatchKMeans", plain, n_clusters=4, random_state=0, wide=True),
    clusters("cluster.MiniBatchKMeans", plain, "batches", n_clusters=3, batch_size=20, random_state=0, wide=True),
    clusters("mixture.BayesianGaussianMixture", plain, n_components=3, random_state=0),
    clusters(
        "mixture.BayesianGaussianMixture",
        plain,
        "diagonal",
        n_components=3,
        covariance_type="diag",
        weight_concentration_prior_type="dirichlet_distribution",
        random_state=0,
    ),
    clusters("mixture.GaussianMixture", plain, n_components=3, random_state=0),
    clusters("mixture.GaussianMixture", plain, "tied", n_components=3, covariance_type="tied", random_state=0),
    clusters(
        "mixture.GaussianMixture", plain, "spherical", n_components=2, covariance_type="spherical", random_state=0
    ),
    outliers("covariance.EllipticEnvelope", plain, random_state=0),
    outliers(
        "covariance.EllipticEnvelope", plain, "contamination", contamination=0.3, support_fraction=0.9, random_state=0
    ),
    outliers("ensemble.IsolationForest", plain, n_estimators=30, random_state=0),
    outliers(
        "ensemble.IsolationForest",
        plain,
        "some-columns",
        n_estimators=15,
        max_samples=20,
        max_features=3,
        contamination=0.2,
        random_state=0,
    ),
    outliers("neighbors.LocalOutlierFactor", plain, novelty=True),
    outliers(
        "neighbors.LocalOutlierFactor",
        plain,
        "manhattan",
        novelty=True,
        n_neighbors=5,
        metric="manhattan",
        contamination=0.1,
    ),
    outliers("svm.OneClassSVM", plain),
    outliers("svm.OneClassSVM", plain, "poly", kernel="poly", degree=2, nu=0.2, coef0=1.0),
    outliers("linear_model.SGDOneClassSVM", plain, random_state=0),
    outliers(
        "linear_model.SGDOneClassSVM",
        plain,
        "average",
        nu=0.2,
        average=True,
        learning_rate="constant",
        eta0=0.01,
        random_state=0,
    ),
]
