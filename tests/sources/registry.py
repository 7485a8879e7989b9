"""All source tables. Importing it imports no framework: the tables build their sources when asked."""

from __future__ import annotations

from importlib import import_module

from tests.sources.table import SourceCase

TABLES = ("pytorch", "keras", "tensorflow", "mxnet", "sklearn", "boosting", "onnx")


def _cases(name: str) -> list[SourceCase]:
    cases: list[SourceCase] = import_module(f"tests.sources.{name}").CASES
    return cases


SOURCES: list[SourceCase] = [case for name in TABLES for case in _cases(name)]
ESTIMATORS: list[SourceCase] = _cases("sklearn_estimators")
