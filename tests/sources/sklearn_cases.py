"""Rows of the tables of estimators: how one is made, fitted, saved, and answers by its own methods."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.sklearn_data import BATCHES, Source
from tests.sources.table import Built, Call, Outcome, SourceCase


@dataclass(frozen=True)
class Of:
    """An estimator to be made, as `module.Class` below scikit-learn with its settings; imports it when made."""

    name: str
    settings: dict[str, Any]

    def make(self) -> Any:
        module, _, kind = self.name.rpartition(".")
        if kind == "IterativeImputer":
            import_module("sklearn.experimental.enable_iterative_imputer")
        if kind.startswith("Halving"):
            import_module("sklearn.experimental.enable_halving_search_cv")
        return getattr(import_module(f"sklearn.{module}"), kind)(
            **{name: _made(value) for name, value in self.settings.items()}
        )


def of(name: str, **settings: Any) -> Of:
    """An estimator inside another."""
    return Of(name, settings)


def _made(value: Any) -> Any:
    if isinstance(value, Of):
        return value.make()
    if isinstance(value, list | tuple):
        return type(value)(_made(each) for each in value)
    return value


def _build(
    estimator_: Of, data: Source, joblib: bool, wide: bool, fitted_inside: bool, callable_: bool
) -> Callable[[Path], Built]:
    def build(folder: Path) -> Built:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator, ask = _fitted(estimator_, data, fitted_inside)
            path = folder / ("model.joblib" if joblib else "model.skops")
            _dump(estimator, path, joblib)
            if not callable_:
                return Built(path, ())
            return Built(path, tuple(_call(estimator, ask[:size], wide) for size in BATCHES))

    return build


def _fitted(estimator_: Of, data: Source, fitted_inside: bool) -> tuple[Any, np.ndarray]:
    known, target, ask = data()
    estimator = estimator_.make()
    inner = estimator.estimator if fitted_inside else estimator
    if target is None:
        inner.fit(known)
    else:
        inner.fit(known, target)
    return estimator, ask


def _dump(estimator: Any, path: Path, joblib: bool) -> None:
    import joblib as joblib_library
    import skops.io

    if joblib:
        joblib_library.dump(estimator, path)
    else:
        skops.io.dump(estimator, path)


def _call(estimator: Any, rows: np.ndarray, wide: bool) -> Call:
    """The estimator's own answers, by its own methods."""
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

    answers: dict[str, Any]
    if is_classifier(estimator) and hasattr(estimator, "predict"):
        answers = {"label": estimator.predict(rows), **_probabilities(estimator, rows)}
    elif hasattr(estimator, "predict") and hasattr(estimator, "predict_proba"):
        answers = {"label": estimator.predict(rows), "probabilities": estimator.predict_proba(rows)}
    elif is_outlier_detector(estimator):
        answers = {
            "label": estimator.predict(rows).reshape(-1, 1),
            "scores": estimator.decision_function(rows).reshape(-1, 1),
        }
    elif is_clusterer(estimator) and hasattr(estimator, "predict"):
        answers = {"label": estimator.predict(rows)}
        if hasattr(estimator, "transform"):
            answers["scores"] = estimator.transform(rows)
    else:
        values = estimator.predict(rows) if hasattr(estimator, "predict") else estimator.transform(rows)
        values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        answers = {"output": values.reshape(len(rows), -1)}
    return Call({"input": _tensor(rows, wide)}, {name: _answer(name, values) for name, values in answers.items()})


def _probabilities(estimator: Any, rows: np.ndarray) -> dict[str, Any]:
    if not hasattr(estimator, "predict_proba"):
        return {}
    try:
        found = estimator.predict_proba(rows)
    except ValueError:  # one_vs_one Gaussian processes have the method and refuse
        return {}
    if isinstance(found, list):
        return {f"probabilities_{place}": part for place, part in enumerate(found)}
    return {"probabilities": found}


def _tensor(rows: np.ndarray, wide: bool = False) -> np.ndarray:
    if rows.dtype.kind in "OSU":
        encoded = np.empty(rows.shape, dtype=object)
        encoded.reshape(-1)[:] = [str(each).encode() for each in rows.reshape(-1)]
        return encoded
    if rows.dtype.kind == "i":
        return rows.astype(np.int64)
    return rows.astype(np.float64 if wide else np.float32)


def _answer(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind in "OSU":
        return _tensor(array)
    return array.astype(np.int64) if name == "label" else array.astype(np.float64)


def case(
    kind: str,
    name: str,
    data: Source,
    unusual: str = "",
    *,
    expect: Outcome = "onnx",
    remark: str = "",
    reason: str = "",
    joblib: bool = False,
    wide: bool = False,
    rtol: float = 1e-4,
    options: dict[str, Any] | None = None,
    fitted_inside: bool = False,
    **settings: Any,
) -> SourceCase:
    """One row; `unusual` names the setting that differs from the defaults, `wide` asks in FP64, `joblib` saves so
    because skops can't."""
    label = name.rpartition(".")[2]
    return SourceCase(
        name=f"sklearn-{label}" + (f"-{unusual}" if unusual else ""),
        framework="sklearn",
        kind=kind,
        build=_build(of(name, **settings), data, joblib, wide, fitted_inside, callable_=expect != "refused"),
        expect=expect,
        remark=remark,
        options={**({"trust": True} if joblib else {}), **(options or {})},
        rtol=rtol,
        reason=reason,
    )
