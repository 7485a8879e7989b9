"""XGBoost (`.json`, `.ubj`) and LightGBM (`.txt`) to ONNX through onnxmltools.

The reference is each library's own Booster. Classifiers give `label` (INT64[-1]) and `probabilities`
(FP32[-1, classes]), everything else `output` (FP32[-1, targets]); the input is `input`, FP32[-1, features].
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Converter
from converters.graph import alias_outputs, open_session, read_signature, save_model, set_shape
from converters.headers import read_head
from converters.boosting.lightgbm_text import LightGBMText
from converters.parity import Run
from converters.thresholds import probe_range, probe_rows
from converters.boosting.xgboost_json import XGBoostJson
from model_store.errors import ConversionError, SourceError

_XGBOOST_JSON = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
_XGBOOST_UBJ = re.compile(rb"\{(L.{8}|l.{4}|I.{2}|[iU].)(learner|version)", re.DOTALL)
_LIGHTGBM = re.compile(rb"tree\r?\nversion=v\d")


class BoostingConverter(Converter):
    """Models saved by XGBoost's and LightGBM's own `save_model`."""

    framework = "boosting"
    extra = "boosting"
    kinds = "an XGBoost model (.json, .ubj) or a LightGBM model (.txt)"

    def detects(self, source: Path) -> bool:
        """By the first key of XGBoost's JSON or UBJSON, or LightGBM's first two lines."""
        head = read_head(source)
        return any(pattern.match(head) for pattern in (_XGBOOST_JSON, _XGBOOST_UBJ, _LIGHTGBM))

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """Converts with FP32 inputs; raises `ConversionError` for categorical splits of XGBoost."""
        warnings.simplefilter("ignore")
        if _LIGHTGBM.match(read_head(source)):
            return _convert_lightgbm(source, workdir)
        return _convert_xgboost(source, workdir)


def _convert_xgboost(source: Path, workdir: Path) -> Conversion:
    import xgboost
    from onnxmltools import convert_xgboost

    try:
        booster = xgboost.Booster(model_file=bytearray(source.read_bytes()))
        parsed = XGBoostJson.parse(bytes(booster.save_raw("json")))
    except (xgboost.core.XGBoostError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(source, "XGBoost", error) from error
    parsed.refuse_unsupported()
    # onnxmltools takes no names but f0, f1, ...; they play no part in the answers.
    booster.feature_names = None
    booster.feature_types = None
    readable = xgboost.Booster(model_file=bytearray(parsed.with_probabilities()))
    readable.feature_names = None
    proto = _to_onnx(convert_xgboost, readable, parsed.features)
    classes = parsed.classes

    def predict(arrays: Arrays) -> dict[str, np.ndarray]:
        matrix = xgboost.DMatrix(arrays["input"])
        if not classes:
            return {"output": _columns(booster.predict(matrix))}
        margin = booster.predict(matrix, output_margin=True)
        return _class_outputs(_sigmoid(margin) if margin.ndim == 1 else _softmax(margin))

    groups = parsed.thresholds()
    versions = {"xgboost": xgboost.__version__}
    return _finish(proto, predict, classes, groups, workdir, versions, missing=True, targets=parsed.targets)


def _convert_lightgbm(source: Path, workdir: Path) -> Conversion:
    import lightgbm
    from onnxmltools import convert_lightgbm

    try:
        text = source.read_text("utf-8")
        parsed = LightGBMText(text)
        booster = lightgbm.Booster(model_str=text)
        # onnxmltools rounds thresholds to the nearest float32; given ones that are float32 already it can't err.
        rounded = lightgbm.Booster(model_str=parsed.with_float32_thresholds())
    except (lightgbm.basic.LightGBMError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise _unreadable(source, "LightGBM", error) from error
    proto = _to_onnx(convert_lightgbm, rounded, booster.num_feature(), zipmap=False)
    classes = parsed.classes

    def predict(arrays: Arrays) -> dict[str, np.ndarray]:
        values = np.asarray(booster.predict(arrays["input"]))
        return _class_outputs(values) if classes else {"output": _columns(values)}

    versions = {"lightgbm": lightgbm.__version__}
    return _finish(proto, predict, classes, parsed.thresholds(), workdir, versions, missing=parsed.missing)


def _unreadable(source: Path, library: str, error: Exception) -> SourceError:
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return SourceError(f"source {source.name!r} is cut off or damaged: {library} says {lines[0][:300]}")


def _to_onnx(convert: Any, booster: Any, features: int, **arguments: Any) -> Any:
    from onnxmltools.convert.common.data_types import FloatTensorType

    try:
        return convert(booster, initial_types=[("input", FloatTensorType([None, features]))], **arguments)
    except Exception as error:  # onnxmltools raises RuntimeError, ValueError, NotImplementedError, KeyError
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"onnxmltools can't convert the model: {line[:400]}") from error


def _finish(
    proto: Any,
    predict: Run,
    classes: int,
    groups: list[np.ndarray],
    workdir: Path,
    versions: dict[str, str],
    *,
    missing: bool,
    targets: int = 1,
) -> Conversion:
    import onnxmltools

    names = ["label", "probabilities"] if classes else ["output"]
    if len(proto.graph.output) != len(names):
        raise ConversionError(
            f"onnxmltools gives {len(proto.graph.output)} outputs where the model has {', '.join(names)}"
        )
    alias_outputs(proto, names)
    # onnxmltools declares one label whatever the batch, and one column whatever the targets.
    set_shape(proto.graph.output[0], ["batch"] if classes else ["batch", targets])
    saved = save_model(proto, workdir / "onnx")
    library, version = next(iter(versions.items()))
    return Conversion(
        model=saved,
        signature=read_signature(open_session(saved)),
        reference=predict,
        reference_name=f"{library} {version}",
        labels=tuple(map(str, range(classes))) if classes else None,
        libraries={**versions, "onnxmltools": onnxmltools.__version__},
        ranges={"input": probe_range(groups)},
        probes={"input": probe_rows(groups, np.float32, missing=missing)},
    )


def _columns(values: np.ndarray) -> np.ndarray:
    return np.asarray(values).reshape(len(values), -1)


def _class_outputs(probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Labels and probabilities of all classes; a single column is the second class's."""
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    return {"label": probabilities.argmax(1).astype(np.int64), "probabilities": probabilities}


def _sigmoid(margin: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-margin.astype(np.float64))))


def _softmax(margin: np.ndarray) -> np.ndarray:
    powers = np.exp(margin.astype(np.float64) - margin.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
