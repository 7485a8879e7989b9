"""XGBoost's, LightGBM's and CatBoost's estimators for scikit-learn, alone or as a step of a pipeline.

What they predict is read from their own files by `converters.boosting`; here its graph becomes a part of skl2onnx's,
by skl2onnx's own mechanism for converters of other libraries.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from converters.boosting.loaded import load_model
from converters.boosting.onnx_graph import write_onnx
from converters.boosting.trees import BoostedModel
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

KINDS: dict[str, tuple[str, ...]] = {
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor", "LGBMRanker"),
    "catboost": ("CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"),
}
_FILES = {"xgboost": "model.ubj", "lightgbm": "model.txt", "catboost": "model.cbm"}
_READ = "_onegate_read"


def library_of(estimator: Any) -> str | None:
    """The boosting library whose estimator it is; None for all others."""
    kind = type(estimator)
    library = kind.__module__.partition(".")[0]
    return library if kind.__name__ in KINDS.get(library, ()) else None


def boosted_model(estimator: Any) -> BoostedModel:
    """The trees of a fitted estimator. Raises `ConversionError` where they have no ONNX form."""
    known: BoostedModel | None = vars(estimator).get(_READ)
    return known or _read(estimator)


def _read(estimator: Any) -> BoostedModel:
    library = library_of(estimator)
    assert library is not None
    missing = getattr(estimator, "missing", np.nan)
    if library == "xgboost" and missing is not None and not np.isnan(missing):
        raise ConversionError(f"{type(estimator).__name__} takes {missing} for missing, which only XGBoost itself does")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / _FILES[library]
        (estimator.booster_ if library == "lightgbm" else estimator).save_model(str(file))
        model = load_model(file).read()
    vars(estimator)[_READ] = model  # reading takes most of a second, and graph, ranges and probes all ask
    return model


def category_columns(estimator: Any) -> dict[int, list[Any] | None]:
    """Columns that hold categories and not numbers, and the categories where the library keeps them: those of a
    DataFrame's `category` columns in LightGBM and XGBoost, `cat_features` and `text_features` in CatBoost."""
    library = library_of(estimator)
    if library == "catboost":
        told = (*estimator.get_cat_feature_indices(), *estimator.get_text_feature_indices())
        return dict.fromkeys(map(int, told))
    if library == "xgboost":
        types = estimator.get_booster().feature_types or ()
        return _xgboost_categories(estimator) if "c" in types else {}
    known = estimator.booster_.pandas_categorical if library == "lightgbm" else None
    if not known:
        return {}
    text = estimator.booster_.model_to_string(num_iteration=1)
    infos = next(line for line in text.splitlines() if line.startswith("feature_infos=")).partition("=")[2].split()
    columns = [index for index, info in enumerate(infos) if not info.startswith("[") and info != "none"]
    if len(columns) != len(known):
        raise ConversionError("LightGBM does not tell which columns hold categories, as one of them never varied")
    return dict(zip(columns, known, strict=True))


def _xgboost_categories(estimator: Any) -> dict[int, list[Any] | None]:
    """From the model's JSON: texts joined as bytes and cut at offsets, or numbers; XGBoost 3.1 and newer."""
    booster = estimator.get_booster()
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"].get("model", {})
    encodings = model.get("cats", {}).get("enc", [])
    found: dict[int, list[Any] | None] = {}
    for index, kind in enumerate(booster.feature_types):
        if kind != "c":
            continue
        known = encodings[index] if index < len(encodings) else {"values": []}
        values, offsets = known["values"], known.get("offsets")
        if offsets is not None:
            joined = bytes(value & 0xFF for value in values)
            values = [joined[start:end].decode() for start, end in itertools.pairwise(offsets)]
        found[index] = list(values) or None
    return found


def register() -> None:
    """Makes skl2onnx convert the estimators of those libraries that are loaded."""
    from skl2onnx import update_registered_converter

    for library, names in KINDS.items():
        for name in names if library in sys.modules else ():
            update_registered_converter(
                getattr(sys.modules[library], name),
                f"Onegate{name}",
                _infer_types,
                _convert,
                overwrite=True,
                parser=_parse,
                options={"zipmap": [True, False, "columns"]},
            )


def _parse(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    operator = scope.declare_local_operator(f"Onegate{type(model).__name__}", model)
    operator.inputs = inputs
    if hasattr(model, "predict_proba"):
        text = np.asarray(model.classes_).dtype.kind not in "iubf"
        label = StringTensorType([None]) if text else Int64TensorType([None])
        operator.outputs.append(scope.declare_local_variable("label", label))
        operator.outputs.append(scope.declare_local_variable("probabilities", FloatTensorType([None, None])))
    else:
        operator.outputs.append(scope.declare_local_variable("output", FloatTensorType([None, None])))
    found: list[Any] = operator.outputs
    return found


def _infer_types(operator: Any) -> None:
    """Types are declared by `_parse`."""


def _convert(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType

    estimator = operator.raw_operator
    model = boosted_model(estimator)
    wide = any(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
    spec = TensorSpec("input", "FP64" if wide else "FP32", (-1, model.features))
    graph = write_onnx(model, spec, double=wide and model.double).graph
    names = {"input": _matrix(scope, operator, container, wide)}
    for value in graph.initializer:
        names[value.name] = value.name = scope.get_unique_variable_name(f"boosted_{value.name}")
        container.initializers.append(value)
    for node in graph.node:
        _copy(scope, container, node, names)
    if len(operator.outputs) == 1:
        container.add_node("Identity", [names["output"]], [operator.outputs[0].onnx_name])
        return
    _name_classes(container, scope, estimator, model, names["label"], operator.outputs[0].onnx_name)
    container.add_node("Identity", [names["probabilities"]], [operator.outputs[1].onnx_name])


def _matrix(scope: Any, operator: Any, container: Any, wide: bool) -> str:
    """All inputs as one matrix of one type."""
    categories = category_columns(operator.raw_operator)
    parts = []
    for index, variable in enumerate(operator.inputs):
        if index in categories:
            parts.append(_codes(scope, operator, container, variable.onnx_name, categories[index], wide))
            continue
        parts.append(scope.get_unique_variable_name("part"))
        container.add_node("Cast", [variable.onnx_name], [parts[-1]], to=11 if wide else 1, op_version=13)
    if len(parts) == 1:
        return str(parts[0])
    whole = scope.get_unique_variable_name("matrix")
    container.add_node("Concat", parts, [whole], axis=1, op_version=13)
    return str(whole)


def _codes(scope: Any, operator: Any, container: Any, column: str, categories: list[Any] | None, wide: bool) -> str:
    """The place of each category as pandas counts them. An unknown one is NaN in LightGBM and an error in XGBoost."""
    if not categories:
        raise ConversionError("the categories of its columns are not in the model")
    keys = "keys_strings" if isinstance(categories[0], str) else "keys_int64s"
    place, code, result = (scope.get_unique_variable_name(name) for name in ("place", "code", "category"))
    container.add_node(
        "LabelEncoder",
        [column],
        [place],
        op_domain="ai.onnx.ml",
        op_version=3,
        default_int64=len(categories),
        values_int64s=list(range(len(categories))),
        **{keys: list(categories)},
    )
    known = [float(each) for each in range(len(categories))]
    unknown = [] if library_of(operator.raw_operator) == "xgboost" else [float("nan")]  # Gather fails beyond the end
    container.initializers.append(helper.make_tensor(code, 1, [len(known + unknown)], known + unknown))
    found = scope.get_unique_variable_name("found")
    container.add_node("Gather", [code, place], [found], axis=0, op_version=13)
    container.add_node("Cast", [found], [result], to=11 if wide else 1, op_version=13)
    return str(result)


def _copy(scope: Any, container: Any, node: NodeProto, names: dict[str, str]) -> None:
    for name in node.output:
        names[name] = scope.get_unique_variable_name(f"boosted_{name}")
    container.add_node(
        node.op_type,
        [names.get(name, name) for name in node.input],
        [names[name] for name in node.output],
        op_domain=node.domain,
        op_version=3 if node.domain else 18,
        name=scope.get_unique_operator_name(node.op_type),
        **{attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
    )


def _name_classes(container: Any, scope: Any, estimator: Any, model: BoostedModel, label: str, output: str) -> None:
    """The estimator's own classes for what the library calls them: numbers from 0 but in CatBoost."""
    classes = np.asarray(estimator.classes_)
    if library_of(estimator) == "catboost" or np.array_equal(classes, model.labels if model.labels is not None else ()):
        container.add_node("Identity", [label], [output])
        return
    table = scope.get_unique_variable_name("classes")
    values = classes.astype(np.int64) if classes.dtype.kind in "iubf" else classes.astype(str).astype(object)
    container.initializers.append(
        helper.make_tensor(
            table,
            7 if values.dtype.kind == "i" else 8,
            values.shape,
            [value if values.dtype.kind == "i" else value.encode() for value in values.tolist()],
        )
    )
    container.add_node("Gather", [table, label], [output], axis=0, op_version=13)
