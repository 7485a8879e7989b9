"""Kernel machines: libsvm's decisions, votes and coupled probabilities, and kernel ridge regression."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import onnx

from converters.sklearn.ops.distances import dense, kernel
from converters.sklearn.ops.graph import Graph, Value, floats
from converters.sklearn.ops.linear import binary_labels
from converters.sklearn.ops.registry import translates

CLASSIFIERS = ("SVC", "NuSVC")
SMALLEST_SHARE = 1e-7
"""libsvm keeps pairwise probabilities between this and one minus this."""


def _kernel(g: Graph, est: Any, x: Value) -> Value:
    if est.kernel == "precomputed":
        return x.take(np.asarray(est.support_))
    parameters = {"gamma": est._gamma, "coef0": est.coef0, "degree": est.degree}
    return kernel(g, x, est.support_vectors_, est.kernel, parameters)


@translates("predict", "SVR", "NuSVR")
def _predict_support_number(g: Graph, est: Any, x: Value) -> Value:
    return _kernel(g, est, x) @ np.ascontiguousarray(dense(est.dual_coef_).T) + np.asarray(est.intercept_)


@translates("predict", "KernelRidge")
def _predict_kernel_ridge(g: Graph, est: Any, x: Value) -> Value:
    parameters = {"gamma": est.gamma, "degree": est.degree, "coef0": est.coef0, **(est.kernel_params or {})}
    dual = floats(est.dual_coef_).reshape(len(est.dual_coef_), -1)
    return kernel(g, x, est.X_fit_, est.kernel, parameters) @ dual


@translates("decision_function", "OneClassSVM")
def _one_class_scores(g: Graph, est: Any, x: Value) -> Value:
    return _predict_support_number(g, est, x)


@translates("predict", "OneClassSVM")
def _predict_one_class(g: Graph, est: Any, x: Value) -> Value:
    return g.where(_one_class_scores(g, est, x) > 0.0, np.int64(1), np.int64(-1))


def pair_scores(g: Graph, est: Any, x: Value) -> Value:
    """libsvm's decision for each pair of classes, positive for the first: float64[N, K (K - 1) / 2]."""
    counts = np.asarray(est._n_support)
    ends = np.cumsum(counts)
    starts = ends - counts
    dual = dense(est._dual_coef_)
    pairs = list(combinations(range(len(est.classes_)), 2))
    weights = np.zeros((dual.shape[1], len(pairs)))
    for place, (first, second) in enumerate(pairs):
        weights[starts[first] : ends[first], place] = dual[second - 1, starts[first] : ends[first]]
        weights[starts[second] : ends[second], place] = dual[first, starts[second] : ends[second]]
    return _kernel(g, est, x) @ weights + floats(est._intercept_)


def one_versus_rest(g: Graph, wins_second: Value, confidence: Value, count: int) -> Value:
    """Votes of the pairs plus their confidences squeezed below a third, float64[N, count].

    wins_second: float64[N, pairs] of 0 and 1; confidence: positive for the second of a pair.
    """
    pairs = list(combinations(range(count), 2))
    first, second = np.zeros((len(pairs), count)), np.zeros((len(pairs), count))
    for place, (left, right) in enumerate(pairs):
        first[place, left] = 1.0
        second[place, right] = 1.0
    votes = (1.0 - wins_second) @ first + wins_second @ second
    total = confidence @ (second - first)
    return votes + total / (3.0 * (total.abs() + 1.0))


@translates("decision_function", *CLASSIFIERS)
def _support_scores(g: Graph, est: Any, x: Value) -> Value:
    scores = pair_scores(g, est, x)
    count = len(est.classes_)
    if count == 2:
        return -scores
    if est.decision_function_shape == "ovr":
        return one_versus_rest(g, (scores < 0.0).double(), -scores, count)
    return scores


@translates("predict", *CLASSIFIERS)
def predict_support_class(g: Graph, est: Any, x: Value) -> Value:
    """The class that wins most pairs, the first of equal ones."""
    count = len(est.classes_)
    if est.break_ties and est.decision_function_shape == "ovr" and count > 2:
        return g.labels(est.classes_, _support_scores(g, est, x).argmax())
    first = pair_scores(g, est, x) > 0.0
    if count == 2:
        return binary_labels(g, est.classes_, first.invert())
    votes = one_versus_rest(g, first.invert().double(), first.double() * 0.0, count)
    return g.labels(est.classes_, votes.argmax())


@translates("predict_proba", *CLASSIFIERS)
def support_probabilities(g: Graph, est: Any, x: Value) -> Value:
    """Platt's sigmoid of each pair, coupled by the second method of Wu, Lin and Weng (2004) as libsvm iterates it."""
    count = len(est.classes_)
    scores = pair_scores(g, est, x)
    slope, offset = floats(est._probA), floats(est._probB)
    pair = g.sigmoid(-(scores * slope + offset)).clip(SMALLEST_SHARE, 1 - SMALLEST_SHARE)
    left, right = np.zeros((len(slope), count * count)), np.zeros((len(slope), count * count))
    for place, (first, second) in enumerate(combinations(range(count), 2)):
        left[place, first * count + second] = 1.0
        right[place, second * count + first] = 1.0
    shares = (pair @ left + (1.0 - pair) @ right).reshape(0, count, count)
    return _couple(g, shares, count)


def _couple(g: Graph, shares: Value, count: int) -> Value:
    """shares: float64[N, K, K], the probability of the row's class against the column's -> float64[N, K]."""
    # Q[t, t] = sum of r[j, t]^2 over j, Q[t, j] = -r[j, t] r[t, j].
    across = shares.transpose(0, 2, 1)
    own = (across * across).sum(2)
    quadratic = own * np.eye(count)[None] - across * shares
    start = shares.sum(2, keepdims=False) * 0.0 + 1.0 / count
    steps = g.constant(np.array(max(100, count), np.int64))
    names = [g.scope.get_unique_variable_name(name) for name in ("coupled", "settled")]
    settled = g.op("Less", start.column(0).abs(), -1.0, dtype=bool)
    go_on = g.constant(np.array(True))
    g.container.add_node(
        "Loop",
        [steps.name, go_on.name, start.name, settled.name],
        names,
        op_version=18,
        name=g.scope.get_unique_operator_name("Loop"),
        body=_coupling_step(g, quadratic.name, count),
    )
    return Value(g, names[0], np.dtype(np.float64))


def _coupling_step(g: Graph, quadratic: str, count: int) -> onnx.GraphProto:
    """One sweep over the classes; a row that is near enough (0.005 / K) keeps what it has."""
    prefix = g.scope.get_unique_variable_name("couple")
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []

    def add(op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{prefix}_{len(nodes)}"
        nodes.append(onnx.helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def constant(array: Any) -> str:
        name = f"{prefix}_c{len(initializers)}"
        initializers.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    last, first = constant(np.array([2])), constant(np.array([1]))
    shares, settled = f"{prefix}_p", f"{prefix}_done"
    product = add("Squeeze", add("MatMul", quadratic, add("Unsqueeze", shares, last)), last)
    total = add("ReduceSum", add("Mul", shares, product), first)
    worst = add("ReduceMax", add("Abs", add("Sub", product, total)), first)
    done = add("Or", settled, add("Less", worst, constant(0.005 / count)))
    current = shares
    for place in range(count):
        unit = constant(np.eye(count)[place][None])
        row = add("Gather", quadratic, constant(np.array(place)), axis=1)
        diagonal = add("Gather", row, constant(np.array([place])), axis=1)
        own = add("Gather", product, constant(np.array([place])), axis=1)
        step = add("Div", add("Sub", total, own), diagonal)
        scale = add("Add", step, constant(1.0))
        current = add("Div", add("Add", current, add("Mul", step, unit)), scale)
        grown = add("Mul", step, add("Add", add("Mul", step, diagonal), add("Mul", constant(2.0), own)))
        total = add("Div", add("Div", add("Add", total, grown), scale), scale)
        product = add("Div", add("Add", product, add("Mul", step, row)), scale)
    kept = add("Where", done, shares, current)
    running = add("Identity", f"{prefix}_cond")
    info = onnx.helper.make_tensor_value_info
    return onnx.helper.make_graph(
        nodes,
        prefix,
        [
            info(f"{prefix}_i", onnx.TensorProto.INT64, []),
            info(f"{prefix}_cond", onnx.TensorProto.BOOL, []),
            info(shares, onnx.TensorProto.DOUBLE, None),
            info(settled, onnx.TensorProto.BOOL, None),
        ],
        [
            info(running, onnx.TensorProto.BOOL, []),
            info(kept, onnx.TensorProto.DOUBLE, None),
            info(done, onnx.TensorProto.BOOL, None),
        ],
        initializers,
    )
