"""A boosted model as a whole ONNX graph: what columns become, the trees, the link, the outputs.

Classifiers give `label` (INT64 or BYTES [-1]) and `probabilities` (FP32[-1, classes]), everything else `output`
(FP32[-1, targets]).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from converters.boosting.linear_leaves import linear_leaf_sums
from converters.boosting.operators import Operators
from converters.boosting.tree_ensemble import tree_ensemble
from converters.boosting.trees import BoostedModel, Link, Treatment
from model_store.manifest import TensorSpec

ZERO_THRESHOLD = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold: what is not farther from zero is zero."""
ELEMENTS = {"FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE}


def write_onnx(model: BoostedModel, spec: TensorSpec, *, double: bool) -> onnx.ModelProto:
    """The graph with an input as `spec` says (FP32 or FP64 [-1, features]); `double` compares and sums in FP64."""
    ops = Operators()
    width = np.float64 if double else np.float32
    narrow = spec.datatype == "FP32"
    data = spec.name if narrow is not double else ops("Cast", spec.name, to=ELEMENTS["FP64" if double else "FP32"])
    score = _score(ops, model, data, _treat(ops, model, data, width), double)
    outputs = _classify(ops, model, score) if model.labels is not None else _answer(ops, model, score)
    element = ELEMENTS[spec.datatype]
    inputs = [helper.make_tensor_value_info(spec.name, element, ["batch", model.features])]
    return ops.model(inputs, outputs, "boosted_trees")


def _treat(ops: Operators, model: BoostedModel, data: str, width: type[np.floating]) -> str:
    """Columns as the trees want them, all others as they are."""
    for treatment, change in _CHANGES.items():
        columns = [feature for feature, each in model.treatments.items() if each is treatment]
        if columns:
            mask = np.zeros((1, model.features), dtype=bool)
            mask[0, columns] = True
            data = ops("Where", ops.constant(mask, np.bool_), change(ops, data, width), data)
    return data


def _missing_for_zero(ops: Operators, data: str, width: type[np.floating]) -> str:
    zero = ops("LessOrEqual", ops("Abs", data), ops.constant(ZERO_THRESHOLD, width))
    return ops("Where", zero, ops.constant(np.nan, width), data)


def _floor(ops: Operators, data: str, width: type[np.floating]) -> str:
    return ops("Floor", data)


def _truncate(ops: Operators, data: str, width: type[np.floating]) -> str:
    negative = ops("Less", data, ops.constant(0, width))
    return ops("Where", negative, ops("Ceil", data), ops("Floor", data))


_CHANGES: dict[Treatment, Callable[[Operators, str, type[np.floating]], str]] = {
    Treatment.ZERO_IS_MISSING: _missing_for_zero,
    Treatment.FLOOR: _floor,
    Treatment.TRUNCATE: _truncate,
}


def _score(ops: Operators, model: BoostedModel, data: str, treated: str, double: bool) -> str:
    """FP32[-1, targets]: what the link is applied to. Trees look at `treated`, linear models at `data`."""
    if model.linear_leaves is not None:
        score = linear_leaf_sums(ops, model, data, treated, double=double)
    elif model.weights is not None:
        known = ops("Where", ops("IsNaN", data), ops.constant(0, np.float32), data)
        score = ops("MatMul", known, ops.constant(model.weights, np.float32))
    else:
        score = ops.add(tree_ensemble(model.trees, model.comparison, model.targets, treated, double=double))
    if not model.base.any():
        return score
    return ops("Add", score, ops.constant(model.base.reshape(1, -1), np.float32))


def _answer(ops: Operators, model: BoostedModel, score: str) -> list[onnx.ValueInfoProto]:
    ops("Identity", _LINKS[model.link](ops, model, score), output="output")
    return [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", model.targets])]


def _classify(ops: Operators, model: BoostedModel, score: str) -> list[onnx.ValueInfoProto]:
    labels = model.labels
    assert labels is not None
    if model.targets == 1:
        above = ops(
            "Greater", ops("Squeeze", score, ops.constant([1], np.int64)), ops.constant(model.boundary, np.float32)
        )
        index = ops("Cast", above, to=TensorProto.INT64)
        second = _LINKS[model.link](ops, model, score)
        ops("Concat", ops("Sub", ops.constant(1, np.float32), second), second, axis=1, output="probabilities")
    else:
        index = ops("ArgMax", score, axis=1, keepdims=0)
        ops("Identity", _LINKS[model.link](ops, model, score), output="probabilities")
    ops("Gather", ops.constant(labels, labels.dtype), index, output="label")
    element = helper.np_dtype_to_tensor_dtype(labels.dtype)
    return [
        helper.make_tensor_value_info("label", element, ["batch"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(labels)]),
    ]


def _sigmoid(ops: Operators, model: BoostedModel, score: str) -> str:
    if model.scale != 1:
        score = ops("Mul", score, ops.constant(model.scale, np.float32))
    return ops("Sigmoid", score)


def _log1p_exp(ops: Operators, model: BoostedModel, score: str) -> str:
    return ops("Softplus", score)


def _signed_square(ops: Operators, model: BoostedModel, score: str) -> str:
    return ops("Mul", score, ops("Abs", score))


def _step(ops: Operators, model: BoostedModel, score: str) -> str:
    return ops("Cast", ops("Greater", score, ops.constant(0, np.float32)), to=TensorProto.FLOAT)


def _mean_and_variance(ops: Operators, model: BoostedModel, score: str) -> str:
    mean, spread = (ops("Gather", score, ops.constant([column], np.int64), axis=1) for column in (0, 1))
    variance = ops("Exp", ops("Mul", spread, ops.constant(2, np.float32)))
    return ops("Concat", mean, variance, axis=1)


_LINKS: dict[Link, Callable[[Operators, BoostedModel, str], str]] = {
    Link.IDENTITY: lambda ops, model, score: score,
    Link.SIGMOID: _sigmoid,
    Link.SOFTMAX: lambda ops, model, score: ops("Softmax", score, axis=1),
    Link.EXP: lambda ops, model, score: ops("Exp", score),
    Link.LOG1P_EXP: _log1p_exp,
    Link.SIGNED_SQUARE: _signed_square,
    Link.STEP: _step,
    Link.MEAN_AND_VARIANCE: _mean_and_variance,
}
