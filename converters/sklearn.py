"""scikit-learn: skops files to ONNX through skl2onnx.

Classifiers give `label` and, where they have them, `probabilities` (FP32[-1, classes]); cluster models and outlier
detectors `label` and `scores`; regressors and transformers `output` (FP32[-1, columns]). The input is `input`,
FP32[-1, features] unless the config says otherwise. Which types a file may name is decided by `skops_types.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Converter
from converters.estimators import input_range, probes, vet_trees
from converters.graph import alias_outputs, open_session, read_signature, save_model
from converters.headers import zip_members
from converters.skops_types import vet_types
from model_store.datatypes import DTYPES
from model_store.errors import ConversionError, SourceError
from model_store.manifest import TensorSpec

OPSETS = {"": 18, "ai.onnx.ml": 3}
"""The newest that every converter of skl2onnx 1.20 writes."""

Method = Callable[[np.ndarray], Any]


class SklearnConverter(Converter):
    """`.skops` files of scikit-learn estimators and pipelines."""

    framework = "sklearn"
    extra = "sklearn"
    kinds = "a scikit-learn model saved by skops (.skops)"

    def detects(self, source: Path) -> bool:
        """A zip archive with skops's `schema.json` at its top."""
        return "schema.json" in zip_members(source)

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """Converts with FP32 inputs, or those of the options."""
        return next(self.alternatives(source, options, workdir))

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """FP32 first; where that can't meet the tolerance, the wider FP64 may (scikit-learn computes in it)."""
        warnings.simplefilter("ignore")  # of versions that differ; the gate measures what that does
        estimator = _load(source, options.trust)
        vet_trees(estimator)
        specs = [_input_spec(estimator, options, datatype) for datatype in ("FP32", "FP64")]
        for spec in dict.fromkeys(specs):
            yield _convert(estimator, spec, workdir / f"onnx-{spec.datatype.lower()}")


def _load(source: Path, trust: bool) -> Any:
    import skops.io

    try:
        trusted = vet_types(source, trust=trust)
        return skops.io.load(source, trusted=trusted)
    except SourceError:
        raise
    except Exception as error:  # a damaged file shows itself as nearly anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(f"source {source.name!r} can't be loaded by skops: {line[:300]}") from error


def _input_spec(estimator: Any, options: ConversionOptions, datatype: str) -> TensorSpec:
    if options.inputs:
        if len(options.inputs) != 1:
            names = ", ".join(spec.name for spec in options.inputs)
            raise ConversionError(f"inputs: a scikit-learn model takes one matrix, not {names}")
        return options.inputs[0]
    columns = getattr(estimator, "n_features_in_", None)
    if not isinstance(columns, int):
        raise ConversionError(
            f"{type(estimator).__name__} does not say how many columns it takes; "
            "give `inputs: [{name: input, datatype: FP32, shape: [-1, columns]}]`"
        )
    return TensorSpec("input", datatype, (-1, columns))


def _convert(estimator: Any, spec: TensorSpec, folder: Path) -> Conversion:
    import sklearn

    methods = _outputs(estimator)
    proto = _to_onnx(estimator, spec)
    del proto.graph.output[len(methods) :]
    alias_outputs(proto, list(methods))
    saved = save_model(proto, folder)

    def reference(arrays: Arrays) -> dict[str, np.ndarray]:
        rows = arrays[spec.name]
        if rows.dtype.kind == "O":
            rows = np.array([item.decode() for item in rows.ravel()], dtype=object).reshape(rows.shape)
        return {name: method(rows) for name, method in methods.items()}

    floating = DTYPES[spec.datatype].kind == "f"
    rows = probes(estimator, DTYPES[spec.datatype].type) if floating else None
    span = input_range(estimator) if floating else None
    return Conversion(
        model=saved,
        signature=read_signature(open_session(saved)),
        reference=reference,
        reference_name=f"scikit-learn {sklearn.__version__}",
        labels=_labels(estimator),
        libraries=_versions(),
        ranges={spec.name: span} if span is not None else {},
        probes={spec.name: rows} if rows is not None else {},
    )


def _to_onnx(estimator: Any, spec: TensorSpec) -> Any:
    import skl2onnx
    from skl2onnx.common import data_types

    types = {
        "FP32": data_types.FloatTensorType,
        "FP64": data_types.DoubleTensorType,
        "INT64": data_types.Int64TensorType,
        "BYTES": data_types.StringTensorType,
    }
    if spec.datatype not in types:
        raise ConversionError(f"input {spec.name!r}: datatype {spec.datatype}; scikit-learn takes {', '.join(types)}")
    shape = [None if size == -1 else size for size in spec.shape]
    try:
        return skl2onnx.to_onnx(
            estimator,
            initial_types=[(spec.name, types[spec.datatype](shape))],
            target_opset=OPSETS,
            options={"zipmap": False} if hasattr(estimator, "predict_proba") else None,
        )
    except Exception as error:  # skl2onnx has several bases for its errors
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConversionError(f"skl2onnx can't convert {type(estimator).__name__}: {line[:400]}") from error


def _outputs(estimator: Any) -> dict[str, Method]:
    """Public names in skl2onnx's order, and the estimator's own method for each."""
    from sklearn.base import is_classifier, is_clusterer

    if is_classifier(estimator):
        if isinstance(estimator.classes_, list):
            raise ConversionError("a classifier of several outputs at once can't be served; export one for each")
        outputs: dict[str, Method] = {"label": lambda rows: _label(estimator.predict(rows))}
        if hasattr(estimator, "predict_proba"):
            outputs["probabilities"] = estimator.predict_proba
        return outputs
    if is_clusterer(estimator) and hasattr(estimator, "transform"):
        return {"label": lambda rows: _label(estimator.predict(rows)), "scores": estimator.transform}
    if hasattr(estimator, "predict") and hasattr(estimator, "decision_function"):  # outlier detectors
        return {
            "label": lambda rows: _columns(_label(estimator.predict(rows))),
            "scores": lambda rows: _columns(estimator.decision_function(rows)),
        }
    if hasattr(estimator, "predict"):
        return {"output": lambda rows: _columns(estimator.predict(rows))}
    if hasattr(estimator, "transform"):
        return {"output": lambda rows: _columns(estimator.transform(rows))}
    raise ConversionError(f"{type(estimator).__name__} neither predicts nor transforms, so it can't be served")


def _label(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    return values.astype(np.int64) if values.dtype.kind in "iub" else values


def _columns(values: Any) -> np.ndarray:
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    return np.asarray(dense).reshape(dense.shape[0], -1)


def _labels(estimator: Any) -> tuple[str, ...] | None:
    classes = getattr(estimator, "classes_", None)
    return tuple(map(str, classes)) if isinstance(classes, np.ndarray) else None


def _versions() -> dict[str, str]:
    import skl2onnx
    import sklearn
    import skops

    return {
        "scikit-learn": sklearn.__version__,
        "skl2onnx": skl2onnx.__version__,
        "skops": skops.__version__,
    }
