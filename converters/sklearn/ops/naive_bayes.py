"""Naive Bayes: joint log likelihoods, normalised over the classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.registry import translates

FAMILY = ("BernoulliNB", "CategoricalNB", "ComplementNB", "GaussianNB", "MultinomialNB")


def _gaussian(g: Graph, est: Any, x: Value) -> Value:
    """log prior - 1/2 sum(log 2 pi var + (x - floats(mean))^2 / var), one class after the other."""
    scores = []
    for mean, variance, prior in zip(est.theta_, est.var_, est.class_prior_, strict=True):
        steps = x - floats(mean)
        constant = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        scores.append((steps * steps / floats(variance)).sum() * -0.5 + float(constant))
    return g.concat(scores)


def _multinomial(g: Graph, est: Any, x: Value) -> Value:
    return x @ np.ascontiguousarray(est.feature_log_prob_.T) + floats(est.class_log_prior_)


def _complement(g: Graph, est: Any, x: Value) -> Value:
    scores = x @ np.ascontiguousarray(est.feature_log_prob_.T)
    return scores + floats(est.class_log_prior_) if len(est.classes_) == 1 else scores


def _bernoulli(g: Graph, est: Any, x: Value) -> Value:
    if est.binarize is not None:
        x = (x > float(est.binarize)).double()
    absent = np.log(1 - np.exp(est.feature_log_prob_))
    weights = np.ascontiguousarray((est.feature_log_prob_ - absent).T)
    return x @ weights + floats(est.class_log_prior_ + absent.sum(axis=1))


def _categorical(g: Graph, est: Any, x: Value) -> Value:
    index = x.cast(np.int64)
    total: Any = None
    for place, table in enumerate(est.feature_log_prob_):
        part = g.constant(np.ascontiguousarray(table.T)).take(index.column(place).reshape(-1), axis=0)
        total = part if total is None else total + part
    result: Value = total + np.asarray(est.class_log_prior_)
    return result


LIKELIHOODS = {
    "BernoulliNB": _bernoulli,
    "CategoricalNB": _categorical,
    "ComplementNB": _complement,
    "GaussianNB": _gaussian,
    "MultinomialNB": _multinomial,
}


@translates("predict", *FAMILY)
def _predict_bayes(g: Graph, est: Any, x: Value) -> Value:
    return g.labels(est.classes_, LIKELIHOODS[type(est).__name__](g, est, x).argmax())


@translates("predict_proba", *FAMILY)
def _bayes_probabilities(g: Graph, est: Any, x: Value) -> Value:
    scores = LIKELIHOODS[type(est).__name__](g, est, x)
    return (scores - g.log_sum_exp(scores)).exp()
