"""From a fitted estimator to an ONNX graph with public names, through skl2onnx.

What each estimator becomes is written in `ops/`, `text.py` and `boosters.py`; skl2onnx is the frame around them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np
import onnx

from converters.graph import alias_outputs, rename, set_shape
from converters.sklearn.columns import ENCODERS, LIBRARIES, consumers, fitted_on_objects, is_nan
from converters.sklearn.inputs import InputPlan
from model_store.errors import ConversionError, first_line
from model_store.manifest import TensorSpec

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""The newest that every converter of skl2onnx 1.20 writes."""


def to_onnx(estimator: Any, plan: InputPlan, outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    """The graph, its inputs those of the plan in its order and its outputs with the names and shapes of `outputs`.

    Raises `ConversionError` with skl2onnx's reason where it can't convert.
    """
    import skl2onnx

    columns = _columns(plan)
    translated = _register(estimator)
    if plan.missing_texts:
        estimator = _with_empty_for_missing(estimator)
    try:
        proto = skl2onnx.to_onnx(
            estimator,
            initial_types=[(f"c{index}", _variable_type(spec)) for index, spec in enumerate(columns)],
            target_opset=OPSETS,
            # With options skl2onnx 1.20 looks through all of a model, vocabularies included: seconds for large ones.
            options=None if translated else _options(estimator),
        )
    except Exception as error:  # skl2onnx has several bases for its errors
        line = first_line(error)
        raise ConversionError(
            f"{type(estimator).__name__} has no ONNX form: {own_code(estimator) or line[:400]}"
        ) from error
    if len(proto.graph.output) < len(outputs):
        raise ConversionError(
            f"skl2onnx gives {len(proto.graph.output)} outputs where the model has {', '.join(s.name for s in outputs)}"
        )
    del proto.graph.output[len(outputs) :]
    alias_outputs(proto, [spec.name for spec in outputs])
    for value, spec in zip(proto.graph.output, outputs, strict=True):
        set_shape(value, ["batch" if size == -1 else size for size in spec.shape])
    _name_inputs(proto, plan, columns)
    return proto


def own_code(estimator: Any) -> str:
    """What of a model is the user's own Python, in words; empty where nothing is."""
    try:
        parts = [estimator, *estimator.get_params(deep=True).values()]
    except Exception:  # estimators of other libraries need not have parameters
        return ""
    found: dict[str, str] = {}
    for part in parts:
        kind = part if isinstance(part, FunctionType) else type(part)
        if (hasattr(part, "fit") or kind is part) and kind.__module__.partition(".")[0] not in LIBRARIES:
            found[kind.__name__] = kind.__module__
    told = ", ".join(f"{name} (module {module})" for name, module in found.items())
    return f"{told} is Python of your own, which has to be installed wherever the model is served" if told else ""


def _with_empty_for_missing(estimator: Any) -> Any:
    """A copy whose first transformers of text take the empty text for missing, as the inputs do: ONNX's text has no
    NaN. (`InputPlan.rows` makes NaN of it for scikit-learn itself.)"""
    changed = copy.deepcopy(estimator)
    for consumer in consumers(changed):
        inner = consumer.estimator
        if type(inner).__name__ == "SimpleImputer" and is_nan(inner.missing_values) and fitted_on_objects(inner):
            inner.missing_values = ""
        elif type(inner).__name__ in ENCODERS:
            inner.categories_ = [_without_nan(known) for known in inner.categories_]
    return changed


def _without_nan(categories: np.ndarray) -> np.ndarray:
    if categories.dtype.kind != "O":
        return categories
    known = np.empty(len(categories), dtype=object)
    known[:] = ["" if is_nan(item) else item for item in categories]
    return known


def _columns(plan: InputPlan) -> list[TensorSpec]:
    """What skl2onnx is told: all columns that the model was fitted on, also those that it drops."""
    if not plan.columns:
        return [TensorSpec(spec.name, spec.datatype, spec.shape) for spec in plan.specs]
    return [column.spec or TensorSpec("", "FP32", (-1, 1)) for column in plan.columns]


def _variable_type(spec: TensorSpec) -> Any:
    from skl2onnx.common import data_types

    types = {
        "FP32": data_types.FloatTensorType,
        "FP64": data_types.DoubleTensorType,
        "INT64": data_types.Int64TensorType,
        "BYTES": data_types.StringTensorType,
        "BOOL": data_types.BooleanTensorType,
    }
    return types[spec.datatype]([None if size == -1 else size for size in spec.shape])


def _name_inputs(proto: onnx.ModelProto, plan: InputPlan, columns: Sequence[TensorSpec]) -> None:
    """Gives inputs their public names; those of dropped columns go, and so does what skl2onnx left out comes back:
    the interface is the plan's, whatever the model makes of a column."""
    used = {value.name: value for value in proto.graph.input}
    del proto.graph.input[:]
    names: dict[str, str] = {}
    for index, spec in enumerate(columns):
        inner = f"c{index}"
        if not spec.name:
            if any(inner in node.input for node in proto.graph.node):
                raise ConversionError(f"column {plan.columns[index].name!r} is dropped by the model and yet used")
            continue
        value = used.get(inner)
        if value is None:
            value = onnx.helper.make_tensor_value_info(
                inner, _variable_type(spec).to_onnx_type().tensor_type.elem_type, None
            )
        proto.graph.input.append(value)
        names[inner] = spec.name
    rename(proto, names)


def _options(estimator: Any) -> dict[str, Any] | None:
    return {"zipmap": False} if hasattr(estimator, "predict_proba") else None


def _register(estimator: Any) -> bool:
    """Makes the translations known to skl2onnx; whether the estimator as a whole has one."""
    from converters.sklearn import boosters, functions, ops, text  # noqa: F401

    boosters.register()
    return ops.register(estimator) or boosters.library_of(estimator) is not None
