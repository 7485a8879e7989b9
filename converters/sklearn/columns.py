"""What the columns of a fitted estimator hold, told by the transformers that see them first.

Works on fitted attributes alone and imports nothing of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.sklearn.boosters import category_columns
from converters.sklearn.ops.table import column_indices
from model_store.errors import ConversionError

TEXT_VECTORIZERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
NOT_TABLES = {
    "DictVectorizer": "dicts",
    "FeatureHasher": "dicts or lists of pairs",
    "MultiLabelBinarizer": "sets of labels",
    "PatchExtractor": "images of any size",
}
"""Transformers whose input no tensor can hold, and what it is."""
ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
LIBRARIES = ("sklearn", "xgboost", "lightgbm", "catboost", "imblearn", "numpy", "scipy", "pandas")
NUMBER, FLOATING = "number", "floating"
_RANKS = {"BYTES": 6, "FP64": 5, FLOATING: 4, "BOOL": 3, "INT64": 2, NUMBER: 1}
"""Which of several opinions on a column decides: the larger."""


@dataclass(frozen=True)
class Consumer:
    """An estimator that sees columns of the model as they came in."""

    estimator: Any
    """Or the words `passthrough` and `drop`."""
    columns: tuple[int, ...] | None = None
    """Which of the model's columns, in its own order; None for all."""

    @property
    def all_names(self) -> tuple[str, ...] | None:
        """Names of all of the model's columns, where this estimator was fitted on them."""
        names = getattr(self.estimator, "feature_names_in_", None)
        return tuple(map(str, names)) if names is not None and self.columns is None else None

    def position(self, index: int) -> int | None:
        """Where the model's column stands among its own."""
        if self.columns is None:
            return index
        return self.columns.index(index) if index in self.columns else None

    def categories(self, index: int) -> np.ndarray | None:
        """The categories that an encoder knows for the model's column."""
        position = self.position(index)
        if (booster := category_columns(self.estimator).get(-1 if position is None else position)) is not None:
            return np.array(booster, dtype=object)
        found = getattr(self.estimator, "categories_", None)
        if type(self.estimator).__name__ not in ENCODERS or found is None or position is None:
            return None
        return np.asarray(found[position]) if position < len(found) else None

    def takes_missing_texts(self, index: int) -> bool:
        """Whether NaN means "missing" to it in a column of text, and the empty text is no category."""
        if self.position(index) is None:
            return False
        if type(self.estimator).__name__ == "SimpleImputer":
            return is_nan(self.estimator.missing_values)
        known = self.categories(index)
        return known is not None and any(map(is_nan, known)) and "" not in known.tolist()


def consumers(estimator: Any, columns: tuple[int, ...] | None = None) -> Iterator[Consumer]:
    """All estimators that see columns as the model gets them; behind an imputer also the next, which sees the same."""
    if estimator is None or isinstance(estimator, str):
        yield Consumer(estimator or "passthrough", columns)
    elif isinstance(getattr(estimator, "steps", None), list):
        yield from _pipeline(estimator, columns)
    elif hasattr(estimator, "transformers_"):
        yield from _column_transformer(estimator, columns)
    elif isinstance(getattr(estimator, "transformer_list", None), list):
        for _, transformer in estimator.transformer_list:
            yield from consumers(transformer, columns)
    elif getattr(estimator, "_preprocessor", None) is not None:  # HistGradientBoosting with categorical columns
        yield Consumer(estimator, columns)
        yield from _column_transformer(estimator._preprocessor, columns)
    elif inner := _inner(estimator):
        for each in inner:
            yield from consumers(each, columns)
    else:
        yield Consumer(estimator, columns)


def picks_columns(estimator: Any) -> bool:
    """Whether it takes columns apart by name or type before anything else happens."""
    if isinstance(getattr(estimator, "steps", None), list):
        steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
        # A function of a DataFrame usually gives one, so that the next step may still pick by name.
        first = next((step for step in steps if type(step).__name__ != "FunctionTransformer"), None)
        return picks_columns(first)
    if hasattr(estimator, "transformers_") or getattr(estimator, "_preprocessor", None) is not None:
        return True
    if category_columns(estimator):
        return True
    if isinstance(getattr(estimator, "transformer_list", None), list):
        return any(picks_columns(transformer) for _, transformer in estimator.transformer_list)
    return any(map(picks_columns, _inner(estimator)))


def reads_texts(estimator: Any) -> bool:
    """Whether it is a text vectorizer; raises `ConversionError` for one that takes no table at all."""
    kind = type(estimator).__name__
    if kind in NOT_TABLES:
        raise ConversionError(
            f"{kind} takes {NOT_TABLES[kind]}, which no tensor holds; put what follows it into a model"
        )
    return kind in TEXT_VECTORIZERS


def pandas_categories(consumer: Consumer) -> set[int]:
    """The model's columns that a boosting library wants as pandas' type `category`; CatBoost takes text as it is."""
    if type(consumer.estimator).__module__.partition(".")[0] == "catboost":
        return set()
    own = category_columns(consumer.estimator)
    return {column if consumer.columns is None else consumer.columns[column] for column in own}


def datatypes(seen: Sequence[Consumer], count: int, number: str) -> list[str | None]:
    """The datatype of each of `count` columns; `dropped`, or None where nothing tells. Numbers are `number`."""
    return [_datatype(seen, index, number) for index in range(count)]


def _datatype(seen: Sequence[Consumer], index: int, number: str) -> str | None:
    looking = [each for each in seen if each.position(index) is not None]
    if all(isinstance(each.estimator, str) and each.estimator == "drop" for each in looking):
        return "dropped"
    opinions = [opinion for each in looking if (opinion := _opinion(each, index)) is not None]
    best = max(opinions, key=_RANKS.__getitem__, default=None)
    return number if best in (NUMBER, FLOATING) else best


def _opinion(consumer: Consumer, index: int) -> str | None:
    estimator = consumer.estimator
    if isinstance(estimator, str):
        return NUMBER if estimator == "passthrough" else None
    kind = type(estimator)
    if kind.__name__ in TEXT_VECTORIZERS:
        return "BYTES"
    if kind.__module__.partition(".")[0] not in LIBRARIES:
        return None
    if (booster := category_columns(estimator)) and consumer.position(index) in booster:
        return _datatype_of(np.array(known, object)) if (known := consumer.categories(index)) is not None else "BYTES"
    if kind.__name__ in ENCODERS:
        known = consumer.categories(index)
        return _datatype_of(known) if known is not None else None
    if kind.__name__ == "SimpleImputer":
        return "BYTES" if fitted_on_objects(estimator) else FLOATING
    if kind.__name__ == "FunctionTransformer":
        function = estimator.func
        return NUMBER if function is None or type(function).__name__ == "ufunc" else None
    return NUMBER


def _datatype_of(categories: np.ndarray) -> str | None:
    known = [item for item in categories.tolist() if not is_nan(item)]
    kinds = {type(item) for item in known}
    if kinds <= {str}:
        return "BYTES"
    if kinds <= {bool}:
        return "BOOL"
    if categories.dtype.kind in "iu" or (
        categories.dtype.kind == "O" and kinds <= {int} and len(known) == len(categories)
    ):
        return "INT64"
    if kinds <= {int, float}:
        wide = np.array(known, np.float64)
        return FLOATING if (wide.astype(np.float32) == wide).all() else "FP64"
    return None


def _pipeline(pipeline: Any, columns: tuple[int, ...] | None) -> Iterator[Consumer]:
    steps = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
    yield from consumers(steps[0] if steps else "passthrough", columns)
    if len(steps) > 1 and type(steps[0]).__name__ == "SimpleImputer" and type(steps[1]).__name__ in ENCODERS:
        yield Consumer(steps[1], columns)


def _column_transformer(transformer: Any, columns: tuple[int, ...] | None) -> Iterator[Consumer]:
    names = [str(name) for name in getattr(transformer, "feature_names_in_", ())]
    for _, inner, chosen in transformer.transformers_:
        picked = column_indices(chosen, names, transformer.n_features_in_)
        yield from consumers(inner, tuple(picked if columns is None else (columns[each] for each in picked)))


def _inner(estimator: Any) -> list[Any]:
    """What a meta-estimator hands its rows to."""
    for name in ("best_estimator_", "regressor_", "estimator_"):
        if (inner := getattr(estimator, name, None)) is not None:
            return [inner]
    calibrated = getattr(estimator, "calibrated_classifiers_", None)
    if calibrated:
        return [calibrated[0].estimator]
    fitted = getattr(estimator, "estimators_", None)
    if not isinstance(fitted, list) or getattr(estimator, "estimators_features_", None) is not None:
        return []
    if hasattr(estimator, "named_estimators_"):  # voting and stacking: each is another one
        return [each for each in fitted if each != "drop"]
    return fitted[:1]


def fitted_on_objects(imputer: Any) -> bool:
    """Whether a SimpleImputer was fitted on text."""
    dtype = getattr(imputer, "_fit_dtype", None)
    kind = dtype.kind if isinstance(dtype, np.dtype) else imputer.statistics_.dtype.kind
    return str(kind) in "OSU"


def is_nan(value: Any) -> bool:
    """Whether it is a missing value as numpy and pandas write it."""
    return isinstance(value, float) and value != value
