"""Which tensors a fitted estimator takes, and how they become what scikit-learn wants to see.

One matrix `input` [-1, columns] as a rule. One named input [-1, 1] a column where the model was fitted on a DataFrame
and picks columns by name or type (a ColumnTransformer, categorical splits), or where its columns differ in datatype.
One `input` BYTES[-1], a text a row, in front of a text vectorizer. What the columns hold is asked of the transformers
that see them first (`columns.py`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from converters.base import Arrays
from converters.sklearn.columns import (
    Consumer,
    consumers,
    datatypes,
    pandas_categories,
    picks_columns,
    reads_texts,
)
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

Kind = Literal["matrix", "texts", "targets", "frame", "objects"]
TARGET_ENCODERS = ("LabelEncoder", "LabelBinarizer")
"""Estimators that take the labels of a target, one a row."""
SERVED = ("FP32", "FP64", "INT64", "BOOL", "BYTES")
_UNSAFE = re.compile(r"[^\w.\-]+")


@dataclass(frozen=True)
class Column:
    """A column that the estimator was fitted on."""

    name: str
    """As in the DataFrame."""
    spec: TensorSpec | None
    """Its input; None for one that the estimator drops."""
    categorical: bool = False
    """Whether it is of pandas' type `category`."""


@dataclass(frozen=True)
class InputPlan:
    """The inputs of an estimator."""

    kind: Kind
    specs: tuple[TensorSpec, ...]
    columns: tuple[Column, ...] = ()
    """All columns in order, for `frame` and `objects`."""
    missing_texts: frozenset[str] = frozenset()
    """Inputs whose empty text stands for a missing value, as text has no NaN on the wire."""

    def rows(self, arrays: Arrays) -> Any:
        """What the estimator's methods take: a matrix, an array of texts, or a DataFrame."""
        given = {spec.name: self._decoded(spec.name, arrays[spec.name]) for spec in self.specs}
        if self.kind == "matrix":
            return given[self.specs[0].name]
        if self.kind in ("texts", "targets"):
            return given[self.specs[0].name].reshape(-1)
        count = len(next(iter(given.values())))
        flat = {
            column.name: given[column.spec.name].reshape(-1) if column.spec else np.full(count, np.nan)
            for column in self.columns
        }
        if self.kind == "objects":
            return _objects(flat)
        return _frame(flat, {column.name for column in self.columns if column.categorical})

    def _decoded(self, name: str, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind not in "OSU":
            return array
        missing = np.nan if name in self.missing_texts else ""
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel()]
        decoded = np.empty(len(texts), dtype=object)
        decoded[:] = [text or missing for text in texts]
        return decoded.reshape(array.shape)


def plan_inputs(estimator: Any, given: Sequence[TensorSpec] | None, datatype: str = "FP32") -> InputPlan:
    """The inputs of a fitted estimator; `given` ones decide where the config (or a stored signature) names them.

    Numbers are of `datatype` unless something else is known of them. Raises `ConversionError` when the columns, or
    what one of them holds, can't be known, and says what to write then.
    """
    seen = list(consumers(estimator))
    if any(reads_texts(each.estimator) and each.columns is None for each in seen):
        return InputPlan("texts", (_given_text(given),))
    if type(estimator).__name__ in TARGET_ENCODERS:
        return InputPlan("targets", (given[0] if given else _targets(estimator),))
    names = _names(estimator) or _names_inside(seen)
    count = len(names) or _column_count(estimator)
    unnamed = [f"x{index}" for index in range(count)]  # as scikit-learn itself calls columns without names
    several = given is not None and len(given) > 1
    if several and given and not names and {spec.name for spec in given} != set(unnamed):
        names = [spec.name for spec in given]
        count = len(names)
    found = datatypes(seen, count or _given_count(estimator, given), datatype)
    if several or _needs_columns(estimator, names, found, given):
        return _by_column("frame" if names else "objects", names or unnamed, found, given, seen)
    if given:
        return InputPlan("matrix", (_checked(given[0]),))
    return InputPlan("matrix", (TensorSpec("input", _common(found, datatype), (-1, len(found))),))


def _needs_columns(
    estimator: Any, names: Sequence[str], found: Sequence[str | None], given: Sequence[TensorSpec] | None
) -> bool:
    """Whether one matrix can't be the input."""
    if names and (picks_columns(estimator) or (None in found and not given)):
        return True
    kinds = {each for each in found if each not in (None, "dropped")}
    return len(kinds) > 1 and (bool(names) or "BYTES" in kinds)  # unnamed numbers were one matrix already


def _common(found: Sequence[str | None], datatype: str) -> str:
    """The datatype of a matrix; `datatype` for numbers of several kinds, and for what only code of the user's knows."""
    kinds = {each for each in found if each is not None and each != "dropped"}
    if len(kinds) == 1:
        return kinds.pop()
    return "FP64" if "FP64" in kinds else datatype


def public_names(names: Sequence[str]) -> list[str]:
    """Names of inputs for columns: letters, digits, `_`, `.` and `-` stay, anything else becomes `_`; a name that is
    taken then gets `_2`, `_3`, ..."""
    public: list[str] = []
    for name in names:
        plain = _UNSAFE.sub("_", name).strip("_") or "column"
        candidate, number = plain, 2
        while candidate in public:
            candidate, number = f"{plain}_{number}", number + 1
        public.append(candidate)
    return public


def _by_column(
    kind: Kind,
    names: Sequence[str],
    found: Sequence[str | None],
    given: Sequence[TensorSpec] | None,
    seen: Sequence[Consumer],
) -> InputPlan:
    told = {spec.name: spec for spec in given or ()}
    columns: list[Column] = []
    for name, public, datatype in zip(names, public_names(names), found, strict=True):
        spec = told.pop(public, None) or told.pop(name, None)
        if spec is not None:
            columns.append(Column(name, _checked(TensorSpec(public, spec.datatype, (-1, 1)))))
        elif datatype == "dropped":
            columns.append(Column(name, None))
        else:
            columns.append(Column(name, TensorSpec(public, datatype or "", (-1, 1))))
    specs = tuple(column.spec for column in columns if column.spec is not None)
    _refuse_unknown(specs, told)
    missing = _missing_texts(columns, seen)
    categorical = {index for each in seen for index in pandas_categories(each)}
    marked = (dataclasses.replace(each, categorical=index in categorical) for index, each in enumerate(columns))
    return InputPlan(kind, specs, tuple(marked), missing)


def _refuse_unknown(specs: Sequence[TensorSpec], told: dict[str, TensorSpec]) -> None:
    if told:
        raise ConversionError(
            f"inputs: {', '.join(told)} is no column of the model; its columns are {', '.join(s.name for s in specs)}"
        )
    unknown = [spec.name for spec in specs if not spec.datatype]
    if unknown:
        example = f"{{name: {unknown[0]}, datatype: BYTES, shape: [-1, 1]}}"
        raise ConversionError(
            f"the model does not tell what its column{'s' if len(unknown) > 1 else ''} {', '.join(unknown)} "
            f"hold{'' if len(unknown) > 1 else 's'}: name each under `inputs:`, as {example} for text, "
            "FP32 for numbers, INT64 for whole ones, BOOL",
            columns=unknown,
        )


def _missing_texts(columns: Sequence[Column], seen: Sequence[Consumer]) -> frozenset[str]:
    return frozenset(
        column.spec.name
        for index, column in enumerate(columns)
        if column.spec is not None
        and column.spec.datatype == "BYTES"
        and any(each.takes_missing_texts(index) for each in seen)
    )


def _checked(spec: TensorSpec) -> TensorSpec:
    if spec.datatype not in SERVED:
        raise ConversionError(f"input {spec.name!r}: datatype {spec.datatype}; scikit-learn takes {', '.join(SERVED)}")
    return spec


def _given_text(given: Sequence[TensorSpec] | None) -> TensorSpec:
    if not given:
        return TensorSpec("input", "BYTES", (-1,))
    if len(given) != 1 or given[0].datatype != "BYTES":
        raise ConversionError("inputs: a model that reads texts takes one input of BYTES, shape [-1] or [-1, 1]")
    return given[0]


def _targets(encoder: Any) -> TensorSpec:
    kind = np.asarray(encoder.classes_).dtype.kind
    return TensorSpec("input", {"f": "FP32", "i": "INT64", "u": "INT64", "b": "BOOL"}.get(kind, "BYTES"), (-1,))


def _given_count(estimator: Any, given: Sequence[TensorSpec] | None) -> int:
    if given and len(given) == 1 and len(given[0].shape) == 2:
        return given[0].shape[1]
    raise ConversionError(
        f"{type(estimator).__name__} does not say how many columns it takes; "
        "give `inputs: [{name: input, datatype: FP32, shape: [-1, columns]}]`"
    )


def _column_count(estimator: Any) -> int:
    # A CatBoost estimator that was unpickled says 0, and knows its names.
    count = getattr(estimator, "n_features_in_", 0) or len(getattr(estimator, "feature_names_", None) or ())
    if not count and hasattr(estimator, "X_thresholds_"):  # IsotonicRegression has one column, and does not say so
        return 1
    return int(count) if isinstance(count, int | np.integer) else 0


def _names(estimator: Any) -> list[str]:
    """Names of the columns that the estimator was fitted on; none when they had none."""
    found = getattr(estimator, "feature_names_in_", None)
    if found is None and type(estimator).__module__.partition(".")[0] == "catboost":
        found = [name for name in estimator.feature_names_ if not name.isdecimal()]  # a number is no name
    return [str(name) for name in (found if found is not None else ())]


def _names_inside(seen: Sequence[Consumer]) -> list[str]:
    """Names that the first estimators to see the columns remember, where the outer one does not."""
    known = {tuple(map(str, names)) for each in seen if (names := each.all_names) is not None}
    return list(known.pop()) if len(known) == 1 else []


def _objects(columns: dict[str, np.ndarray]) -> np.ndarray:
    rows = np.empty((len(next(iter(columns.values()))), len(columns)), dtype=object)
    for index, values in enumerate(columns.values()):
        rows[:, index] = values
    return rows


def _frame(columns: dict[str, np.ndarray], categorical: set[str]) -> Any:
    import pandas

    def series(name: str, values: np.ndarray) -> Any:
        # Without a dtype of their own texts would become pandas' strings, which some transformers treat otherwise.
        return pandas.Series(values, dtype="category" if name in categorical else values.dtype)

    return pandas.DataFrame({name: series(name, values) for name, values in columns.items()})
