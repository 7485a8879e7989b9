"""scikit-learn models: skops files and trusted pickles, to ONNX or to scikit-learn itself.

Classifiers give `label` and, where they have them, `probabilities` (FP32[-1, classes]); cluster models and outlier
detectors `label` and `scores`; regressors and transformers `output` (FP32[-1, columns]). What the inputs are is
`inputs.py`'s to say, what is read `reading.py`'s, and which rows the gate tries `trials.py`'s.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Conversion, ConversionOptions, Converter
from converters.graph import open_session, read_signature, save_model
from converters.sklearn.inputs import InputPlan, plan_inputs
from converters.sklearn.predictor import Predictor
from converters.sklearn.reading import PICKLE_FILE, SKOPS_FILE, is_estimator_pickle, is_skops, load_estimator
from converters.sklearn.trials import Trials, one_row
from model_store.errors import ConversionError, first_line
from model_store.manifest import Signature


class SklearnConverter(Converter):
    """Fitted estimators and pipelines, boosting libraries' estimators among them."""

    framework = "sklearn"
    extra = "sklearn"
    kinds = "a scikit-learn model saved by skops (.skops), or pickled (.pkl, .joblib) and trusted"
    revision = 2

    def detects(self, source: Path) -> bool:
        """A skops archive, or a pickle that is not another framework's."""
        return is_skops(source) or is_estimator_pickle(source)

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """FP32 first; where that can't meet the tolerance, the wider FP64 may (scikit-learn computes in it)."""
        warnings.simplefilter("ignore")  # of versions that differ; the gate measures what that does
        estimator = load_estimator(source, trust=options.trust)
        plans = [plan_inputs(estimator, options.inputs, datatype) for datatype in ("FP32", "FP64")]
        # No generator, which would be over once it raised: the second has its chance when the first can't be made.
        return map(partial(_convert, estimator, workdir), dict.fromkeys(plans))

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The file itself. Numbers are FP32 unless the estimator takes FP64 alone."""
        warnings.simplefilter("ignore")
        estimator = load_estimator(source, trust=options.trust)
        predictor = _native_predictor(estimator, options)
        folder = workdir / "native"
        folder.mkdir(parents=True)
        model = folder / (SKOPS_FILE if is_skops(source) else PICKLE_FILE)
        shutil.copyfile(source, model)
        return _conversion(predictor, model=model, signature=_signature(predictor), runtime="sklearn")


def _native_predictor(estimator: Any, options: ConversionOptions) -> Predictor:
    failures: list[ConversionError] = []
    for datatype in ("FP32", "FP64"):
        predictor = Predictor.of(estimator, plan_inputs(estimator, options.inputs, datatype))
        try:
            _signature(predictor)
            return predictor
        except ConversionError as error:
            failures.append(error)
    raise failures[0]


def _convert(estimator: Any, workdir: Path, plan: InputPlan) -> Conversion:
    from converters.sklearn.export import to_onnx

    predictor = Predictor.of(estimator, plan)
    proto = to_onnx(predictor.estimator, predictor.plan, _signature(predictor).outputs)
    folder = workdir / ("onnx-fp32" if predictor.narrow else "onnx-fp64")
    saved = save_model(proto, folder)
    return _conversion(predictor, model=saved, signature=read_signature(open_session(saved)), runtime="onnx")


def _signature(predictor: Predictor) -> Signature:
    """Read off the answer to a row as the model may get it."""
    try:
        return predictor.signature(one_row(predictor))
    except ConversionError:
        raise
    except Exception as error:  # scikit-learn's refusals have no type of their own
        line = first_line(error)
        raise ConversionError(
            f"{type(predictor.estimator).__name__} fails on a row of its own kind: {line}; name its inputs and "
            "what they hold under `inputs:`"
        ) from error


def _conversion(predictor: Predictor, **fields: Any) -> Conversion:
    import sklearn

    trials = Trials.of(predictor)
    return Conversion(
        reference=predictor.run,
        reference_name=f"scikit-learn {sklearn.__version__}",
        labels=_labels(predictor.estimator),
        libraries=_versions(),
        ranges=trials.ranges,
        probes=trials.probes,
        choices=trials.choices,
        accepts_missing=True,  # what scikit-learn does not refuse means something to it
        **fields,
    )


def _labels(estimator: Any) -> tuple[str, ...] | None:
    classes = getattr(estimator, "classes_", None)
    return tuple(map(str, classes)) if isinstance(classes, np.ndarray) else None


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in ("scikit-learn", "skl2onnx", "skops"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
