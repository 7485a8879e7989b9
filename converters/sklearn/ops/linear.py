"""Linear models: x W + b, and what their links and classes make of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import NotTranslated, call, translates

REGRESSORS = (
    "ARDRegression",
    "BayesianRidge",
    "ElasticNet",
    "ElasticNetCV",
    "HuberRegressor",
    "Lars",
    "LarsCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "LinearRegression",
    "LinearSVR",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "SGDRegressor",
    "TheilSenRegressor",
)
CLASSIFIERS = ("LinearSVC", "PassiveAggressiveClassifier", "Perceptron", "SGDClassifier")
LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")
RIDGE = ("RidgeClassifier", "RidgeClassifierCV")


def affine(x: Value, coef: np.ndarray, intercept: Any) -> Value:
    """x coef' + intercept, [N, targets]. coef: [targets, columns] or [columns]."""
    matrix = np.atleast_2d(floats(coef))
    return x @ np.ascontiguousarray(matrix.T) + np.ravel(floats(intercept))


def unlinked(est: Any, loss: Any, raw: Value) -> Value:
    """What an estimator's raw sums mean under the link of scikit-learn's `loss`: the inverse of that."""
    link = type(loss.link).__name__
    if link == "IdentityLink":
        return raw
    if link != "LogLink":
        raise NotTranslated(f"{type(est).__name__} with link {link}")
    return raw.exp()


def binary_labels(g: Graph, classes: Any, positive: Value) -> Value:
    """The second class where `positive` (bool[N, 1]) holds."""
    return g.labels(classes, positive.reshape(-1).cast(np.int64))


def labels_of_scores(g: Graph, classes: Any, scores: Value) -> Value:
    """The class of the largest score; with one column, whether it is above zero. scores: float64[N, K]."""
    if len(classes) == 2:
        return binary_labels(g, classes, scores > 0.0)
    return g.labels(classes, scores.argmax())


@translates("predict", *REGRESSORS)
def _predict_linear(g: Graph, est: Any, x: Value) -> Value:
    return affine(x, est.coef_, est.intercept_)


@translates("predict", "GammaRegressor", "PoissonRegressor", "TweedieRegressor")
def predict_glm(g: Graph, est: Any, x: Value) -> Value:
    """The inverse link of the linear predictor."""
    return unlinked(est, est._base_loss, affine(x, est.coef_, est.intercept_))


@translates("predict", "RANSACRegressor")
def _predict_ransac(g: Graph, est: Any, x: Value) -> Value:
    result: Value = call(g, est.estimator_, "predict", x)
    return result


@translates("decision_function", *CLASSIFIERS, *LOGISTIC, *RIDGE, "LinearDiscriminantAnalysis")
def linear_scores(g: Graph, est: Any, x: Value) -> Value:
    """float64[N, K], one column for two classes."""
    return affine(x, est.coef_, est.intercept_)


@translates("predict", *CLASSIFIERS, *LOGISTIC, "LinearDiscriminantAnalysis")
def _predict_linear_class(g: Graph, est: Any, x: Value) -> Value:
    return labels_of_scores(g, est.classes_, linear_scores(g, est, x))


@translates("predict", *RIDGE)
def predict_ridge_class(g: Graph, est: Any, x: Value) -> Value:
    """Several labels at once (y was a matrix of 0 and 1) are those with a positive score."""
    scores = linear_scores(g, est, x)
    if est._label_binarizer.y_type_.startswith("multilabel"):
        return (scores > 0.0).cast(np.int64)
    return labels_of_scores(g, est.classes_, scores)


@translates("predict_proba", *LOGISTIC)
def logistic_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """Softmax of the scores; for two classes the sigmoid of their one score."""
    scores = linear_scores(g, est, x)
    if len(est.classes_) == 2:
        return two_columns(g, g.sigmoid(scores))
    return g.softmax(scores)


def two_columns(g: Graph, positive: Value) -> Value:
    """[1 - p, p] of p: float64[N, 1]."""
    return g.concat([1.0 - positive, positive])


def normalised_sigmoids(g: Graph, scores: Value) -> Value:
    """Sigmoids of one score for each class, divided by their sum; of one column, both sides of it."""
    shares = g.sigmoid(scores)
    return shares / shares.sum()


@translates("predict_proba", "LinearDiscriminantAnalysis")
def _lda_probabilities(g: Graph, est: Any, x: Value) -> Value:
    scores = linear_scores(g, est, x)
    return two_columns(g, g.sigmoid(scores)) if len(est.classes_) == 2 else g.softmax(scores)


@translates("predict_proba", "SGDClassifier")
def sgd_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """Logistic loss: sigmoids, normalised. Modified Huber: (clip(s, -1, 1) + 1) / 2, normalised, and equal shares
    where all are zero (Zadrozny and Elkan, 2002)."""
    scores = linear_scores(g, est, x)
    binary = len(est.classes_) == 2
    if est.loss == "log_loss":
        return two_columns(g, g.sigmoid(scores)) if binary else normalised_sigmoids(g, scores)
    shares = (scores.clip(-1.0, 1.0) + 1.0) / 2.0
    if binary:
        return two_columns(g, shares)
    total = shares.sum()
    none = total.equals(0.0)
    shares = g.where(none, np.ones((1, len(est.classes_))), shares)
    return shares / g.where(none, float(len(est.classes_)), total)


@translates("decision_function", "SGDOneClassSVM")
def _one_class_scores(g: Graph, est: Any, x: Value) -> Value:
    return affine(x, est.coef_, -np.asarray(est.offset_))


@translates("predict", "SGDOneClassSVM")
def _predict_one_class(g: Graph, est: Any, x: Value) -> Value:
    return inliers(g, _one_class_scores(g, est, x))


def inliers(g: Graph, scores: Value) -> Value:
    """1 where the score is not negative, else -1; int64."""
    return g.where(scores >= 0.0, np.int64(1), np.int64(-1))
