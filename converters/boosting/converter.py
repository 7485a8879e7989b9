"""XGBoost (`.json`, `.ubj`), LightGBM (`.txt`) and CatBoost (`.cbm`, `.json`) to ONNX, and to their own libraries.

The trees are read from the file and written by this package itself (`trees.py`, `onnx_graph.py`): onnxmltools 1.16
refuses categories, linear boosters and most objectives, and gets several others silently wrong. The input is `input`,
FP32[-1, features] unless the config says otherwise; categories are given as their numbers, missing values as NaN.
Classifiers give `label` (INT64, or the class names) and `probabilities` (FP32[-1, classes]), everything else `output`
(FP32[-1, targets]).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Conversion, ConversionOptions, Converter
from converters.boosting.formats import is_boosting, served_format
from converters.boosting.loaded import LoadedModel, load_model
from converters.boosting.onnx_graph import write_onnx
from converters.boosting.trees import BoostedModel
from converters.graph import open_session, read_signature, save_model
from converters.thresholds import probe_range, probe_rows
from model_store.datatypes import DTYPES
from model_store.errors import ConfigError, ConversionError
from model_store.manifest import TensorSpec

SIGNATURE = "serving_default"


class BoostingConverter(Converter):
    """Models saved by the libraries' own `save_model`."""

    framework = "boosting"
    extra = "boosting"
    kinds = "an XGBoost model (.json, .ubj), a LightGBM model (.txt) or a CatBoost model (.cbm, .json)"
    revision = 2

    def detects(self, source: Path) -> bool:
        """By the first keys, lines or bytes that each library writes."""
        return is_boosting(source)

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """Sums in FP32 first; LightGBM adds in FP64, which follows where FP32 can't meet the tolerance.

        Raises `SourceError` for a file that can't be read, `ConversionError` for what ONNX has no operators for.
        """
        loaded = load_model(source)
        model = loaded.read()
        spec = _input(loaded, model, options)
        # Inputs of FP32 stay so with wider sums: what clients send does not depend on a tolerance.
        for double in (False, True) if model.double and spec.datatype == "FP32" else (model.double,):
            saved = save_model(write_onnx(model, spec, double=double), workdir / f"onnx-{'fp64' if double else 'fp32'}")
            yield _conversion(loaded, model, spec, saved)

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The file as it is, with the same names."""
        loaded = load_model(source)
        model = _read_if_possible(loaded)
        folder = workdir / "native"
        folder.mkdir(parents=True)
        file = folder / f"model{served_format(source).value}"
        shutil.copyfile(source, file)
        spec = _input(loaded, model, options)
        return Conversion(
            model=file,
            signature=loaded.signature(spec),
            runtime="boosting",
            **_facts(loaded, model, spec),
        )


def _read_if_possible(loaded: LoadedModel) -> BoostedModel | None:
    try:
        return loaded.read()
    except ConversionError:
        return None


def _input(loaded: LoadedModel, model: BoostedModel | None, options: ConversionOptions) -> TensorSpec:
    """The matrix: FP32, or FP64 where float32 can't tell what LightGBM tells apart."""
    shape = (-1, loaded.features)
    if options.inputs:
        if loaded.named_inputs():
            raise ConfigError("inputs: the model names its inputs itself, one for each feature; leave `inputs` out")
        return _vetted(options.inputs, shape)
    wide = model is not None and model.double and model.needs_double()
    return TensorSpec("input", "FP64" if wide else "FP32", shape)


def _vetted(inputs: tuple[TensorSpec, ...], shape: tuple[int, int]) -> TensorSpec:
    if len(inputs) != 1 or inputs[0].shape != shape or inputs[0].datatype not in ("FP32", "FP64"):
        given = ", ".join(f"{spec.name}:{spec.datatype}:{','.join(map(str, spec.shape))}" for spec in inputs)
        raise ConfigError(f"inputs: the model takes one matrix, FP32 or FP64 of shape {list(shape)}; got {given}")
    return inputs[0]


def _conversion(loaded: LoadedModel, model: BoostedModel, spec: TensorSpec, saved: Path) -> Conversion:
    return Conversion(model=saved, signature=read_signature(open_session(saved)), **_facts(loaded, model, spec))


def _facts(loaded: LoadedModel, model: BoostedModel | None, spec: TensorSpec) -> dict[str, Any]:
    """What is known of a model however it is served."""
    facts: dict[str, Any] = {
        "reference": loaded.answer,
        "reference_name": f"{loaded.library} {loaded.version}",
        "libraries": {loaded.library: loaded.version},
        "labels": tuple(map(str, loaded.labels)) if loaded.labels is not None else None,
        "accepts_missing": not loaded.named_inputs(),
    }
    if model is not None:
        groups = model.thresholds()
        # Those that round to FP32 see nothing between two of its numbers.
        dtype = np.float64 if spec.datatype == "FP64" and model.double else np.float32
        rows = probe_rows(groups, dtype, missing=True).astype(DTYPES[spec.datatype])
        facts |= {"ranges": {spec.name: probe_range(groups)}, "probes": {spec.name: rows}}
    return facts
