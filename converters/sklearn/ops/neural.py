"""Multi-layer perceptrons and the restricted Boltzmann machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear import binary_labels, two_columns
from converters.sklearn.ops.registry import NotTranslated, translates


def _activate(g: Graph, name: str, x: Value) -> Value:
    if name == "identity":
        return x
    if name == "relu":
        return g.maximum(x, 0.0)
    if name == "tanh":
        return x.apply("Tanh")
    if name == "logistic":
        return g.sigmoid(x)
    if name == "softmax":
        return g.softmax(x)
    if name == "exp":
        return x.exp()
    raise NotTranslated(f"the activation {name!r}")


def _forward(g: Graph, est: Any, x: Value) -> Value:
    last = len(est.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(est.coefs_, est.intercepts_, strict=True)):
        x = x @ floats(weights) + floats(bias)
        x = _activate(g, est.activation if layer < last else est.out_activation_, x)
    return x


@translates("predict", "MLPRegressor")
def _predict_network_number(g: Graph, est: Any, x: Value) -> Value:
    return _forward(g, est, x)


@translates("predict_proba", "MLPClassifier")
def _network_probabilities(g: Graph, est: Any, x: Value) -> Value:
    shares = _forward(g, est, x)
    return two_columns(g, shares) if est.n_outputs_ == 1 else shares


@translates("predict", "MLPClassifier")
def predict_network_class(g: Graph, est: Any, x: Value) -> Value:
    """Several labels at once are those above one half."""
    shares = _forward(g, est, x)
    if est._label_binarizer.y_type_.startswith("multilabel"):
        return (shares > 0.5).cast(np.int64)
    if est.n_outputs_ == 1:
        return binary_labels(g, est.classes_, shares > 0.5)
    return g.labels(est.classes_, shares.argmax())


@translates("transform", "BernoulliRBM")
def _transform_boltzmann(g: Graph, est: Any, x: Value) -> Value:
    return g.sigmoid(x @ np.ascontiguousarray(est.components_.T) + floats(est.intercept_hidden_))
