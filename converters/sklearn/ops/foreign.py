"""Estimators without a translation here, inside one that has one: skl2onnx's own converters take them.

Those are text vectorizers, boosting libraries' estimators, and whatever others register with skl2onnx.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import TEXT, Graph, Value
from converters.sklearn.ops.table import Table

SLOTS = {"predict": 0, "transform": 0, "predict_proba": 1}
"""Place of a method's result among the outputs of skl2onnx's converters."""


def call_foreign(g: Graph, estimator: Any, method: str, table: Table) -> Value:
    """The result of a method that skl2onnx writes. Raises what skl2onnx raises for an estimator unknown to it."""
    from skl2onnx import _parse
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common.exceptions import MissingConverter

    known = {*_parse.sklearn_parsers_map, *sklearn_operator_name_map}
    if method not in SLOTS or type(estimator) not in known:
        raise MissingConverter(f"{type(estimator).__name__}.{method} has no ONNX translation")
    key = "foreign", id(estimator), tuple(block.name for block in table.blocks)
    if key not in g.memory:
        inputs = [_variable(g, block, width) for block, width in zip(table.blocks, table.widths, strict=True)]
        if hasattr(estimator, "predict_proba"):
            g.scope.add_options(id(estimator), {"zipmap": False})
        g.memory[key] = _parse._parse_sklearn(g.scope, estimator, inputs)
    results = g.memory[key]
    found = results[SLOTS[method]].onnx_name
    if method == "predict" and hasattr(estimator, "classes_"):
        kind = np.asarray(estimator.classes_).dtype.kind
        return Value(g, found, np.dtype(np.int64) if kind in "iubf" else TEXT)
    # Its type is known to skl2onnx only when that operator's turn comes; float64 is what the callers go on with.
    return g.op("Cast", Value(g, found, np.dtype(np.float32)), dtype=np.float64, to=11)


def _variable(g: Graph, block: Value, width: int | None) -> Any:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    wide = any(isinstance(each.type, DoubleTensorType) for each in g.scope.input_variables)
    if block.dtype == np.float64 and not wide:
        block = block.cast(np.float32)
    types = {"f4": FloatTensorType, "f8": DoubleTensorType, "i8": Int64TensorType, "O": StringTensorType}
    kind = types[block.dtype.str.lstrip("<|")]
    variable = g.scope.declare_local_variable("foreign", kind([None, width]))
    g.container.add_node("Identity", [block.name], [variable.onnx_name])
    return variable
