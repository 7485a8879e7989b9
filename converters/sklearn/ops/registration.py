"""The translations as converters of skl2onnx, registered by its own mechanism.

One operator of skl2onnx stands for the whole estimator, a pipeline with all its steps included: its translation asks
for the steps' methods, so that a classifier in the middle of a pipeline transforms and the last one predicts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.sklearn.ops.graph import TEXT, Graph, Value
from converters.sklearn.ops.registry import call, is_translated
from converters.sklearn.ops.table import Table
from converters.sklearn.outputs import outputs


def register_type(estimator: Any) -> bool:
    """Registers the translation of an estimator's class with skl2onnx 1.20, in place of skl2onnx's own converter.

    False where it has no translation here, or not for all of its outputs.
    """
    from skl2onnx import update_registered_converter

    if not all(is_translated(estimator, output.method) for output in outputs(estimator)):
        return False
    update_registered_converter(
        type(estimator),
        f"Onegate{type(estimator).__name__}",
        _infer_types,
        _convert,
        overwrite=True,
        parser=_parse,
        options={"zipmap": [True, False, "columns"]},
    )
    return True


def _parse(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    from skl2onnx.common.data_types import FloatTensorType

    operator = scope.declare_local_operator(f"Onegate{type(model).__name__}", model)
    operator.inputs = inputs
    for output in outputs(model):
        operator.outputs.append(scope.declare_local_variable(output.name, FloatTensorType()))
    found: list[Any] = operator.outputs
    return found


def _infer_types(operator: Any) -> None:
    """Types are known once the graph is written: `_convert` declares them."""


def _convert(scope: Any, operator: Any, container: Any) -> None:
    g = Graph(scope, container)
    model = operator.raw_operator
    table = _inputs(g, operator, model)
    results: dict[str, Any] = {}
    for output, variable in zip(outputs(model), operator.outputs, strict=True):
        if output.method not in results:
            results[output.method] = call(g, model, output.method, table)
        value = results[output.method]
        value = value if output.part is None else value[output.part]
        if isinstance(value, Table):
            value = value.text() if value.is_text() else value.matrix()
        if output.column:
            value = value.reshape(0, -1)
        if output.is_label and value.dtype != TEXT:
            value = value.cast(np.int64)
        elif not output.is_label and value.dtype != TEXT:
            value = value.cast(np.float64 if _wide(scope) else np.float32)
        _declare(variable, value)
        container.add_node("Identity", [value.name], [variable.onnx_name])


def _inputs(g: Graph, operator: Any, model: Any) -> Table:
    blocks, widths, names = [], [], []
    for variable in operator.inputs:
        blocks.append(Value(g, variable.onnx_name, _dtype(variable)))
        shape = variable.type.shape
        widths.append(shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None)
        names.append(str(variable.raw_name))
    known = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if len(blocks) > 1 and sorted(known) == sorted(names):
        order = [names.index(name) for name in known]
        blocks, widths = [blocks[index] for index in order], [widths[index] for index in order]
    return Table(tuple(blocks), tuple(widths), tuple(known))


def _dtype(variable: Any) -> np.dtype[Any]:
    from skl2onnx.common import data_types

    kinds = {
        data_types.FloatTensorType: np.float32,
        data_types.DoubleTensorType: np.float64,
        data_types.StringTensorType: object,
        data_types.BooleanTensorType: np.bool_,
        data_types.Int32TensorType: np.int32,
    }
    return np.dtype(kinds.get(type(variable.type), np.int64))


def _wide(scope: Any) -> bool:
    """Whether any input is FP64: then the outputs are too."""
    from skl2onnx.common.data_types import DoubleTensorType

    return any(isinstance(variable.type, DoubleTensorType) for variable in scope.input_variables)


def _declare(variable: Any, value: Value) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    kinds = {"O": StringTensorType, "i8": Int64TensorType, "f8": DoubleTensorType, "f4": FloatTensorType}
    variable.set_type(kinds[value.dtype.str.lstrip("<|")]([]))
