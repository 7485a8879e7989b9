"""What the parity gate tries on a scikit-learn model: ranges of its numbers, categories and texts that exist, rows at
the thresholds of its trees (`split_points.py`), and rows with holes where it takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.base import Range
from converters.samples import Samples
from converters.sklearn.boosters import library_of
from converters.sklearn.columns import TEXT_VECTORIZERS, Consumer, consumers
from converters.sklearn.functions import DOMAINS, function_name
from converters.sklearn.inputs import InputPlan
from converters.sklearn.predictor import Predictor
from converters.sklearn.sentences import sentences
from converters.sklearn.split_points import behind_columns, behind_transformers, input_range, probes
from model_store.datatypes import DTYPES
from model_store.manifest import Signature, TensorSpec

UNKNOWN_TEXT, UNKNOWN_NUMBER = "no-such-category", 7919
HOLES = 0.15


@dataclass(frozen=True)
class Trials:
    """Fields of a `Conversion`, by input name."""

    ranges: Mapping[str, Range] = field(default_factory=dict)
    choices: Mapping[str, np.ndarray] = field(default_factory=dict)
    probes: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, predictor: Predictor) -> Trials:
        """For an estimator with its inputs."""
        seen = list(consumers(predictor.estimator))
        plain = _of_columns(predictor, seen) if predictor.plan.columns else _of_one(predictor, seen)
        return cls(plain.ranges, plain.choices, {**plain.probes, **_holes(predictor, plain)})


def one_row(predictor: Predictor) -> dict[str, np.ndarray]:
    """A row as the model may get it."""
    seen = list(consumers(predictor.estimator))
    plain = _of_columns(predictor, seen) if predictor.plan.columns else _of_one(predictor, seen)
    return _samples(predictor.plan, plain).draw(1, 0)


def _samples(plan: InputPlan, trials: Trials) -> Samples:
    return Samples(Signature(plan.specs, ()), trials.ranges, {}, {}, trials.choices)


def _of_one(predictor: Predictor, seen: Sequence[Consumer]) -> Trials:
    (spec,) = predictor.plan.specs
    if predictor.plan.kind == "texts":
        texts = sentences([each.estimator for each in seen])
        return Trials(choices={spec.name: texts}, probes={spec.name: texts.reshape(-1, *spec.shape[1:])})
    if predictor.plan.kind == "targets":
        return Trials(choices={spec.name: _array(predictor.estimator.classes_.tolist(), DTYPES[spec.datatype])})
    known = [_choices(seen, index, spec) for index in range(max(spec.shape[-1], 0))]
    if any(each is not None for each in known):
        numbers = (_numbers(seen, index, spec) if each is None else each for index, each in enumerate(known))
        return _of_categories(spec, list(numbers))
    if DTYPES[spec.datatype].kind != "f":
        return Trials()
    span = input_range(predictor.estimator) or _domain(seen)
    rows = probes(predictor.estimator, DTYPES[spec.datatype].type)
    if rows is None:
        rows = behind_transformers(predictor.estimator, spec.shape[-1])
        rows = rows.astype(DTYPES[spec.datatype]) if rows is not None else None
    return Trials(
        ranges={spec.name: span} if span is not None else {},
        probes={spec.name: rows} if rows is not None else {},
    )


def _numbers(seen: Sequence[Consumer], index: int, spec: TensorSpec) -> np.ndarray:
    """Values for a column of numbers in a matrix that has categories too."""
    low, high = _range(seen, index) or (-2.0, 2.0)
    return np.random.default_rng(index).uniform(low, high, 40).astype(DTYPES[spec.datatype])


def _domain(seen: Sequence[Consumer]) -> Range | None:
    """Where the functions in front have sensible values."""
    return next((DOMAINS[name] for each in seen if (name := function_name(each.estimator)) in DOMAINS), None)


def _of_categories(spec: TensorSpec, categories: Sequence[np.ndarray]) -> Trials:
    """Random rows from what all columns know, or column by column where they share nothing ([values, columns]);
    in either case rows that bring every column's categories."""
    count = max(map(len, categories))
    rows = np.stack([_cycled(each, count) for each in categories], axis=1)
    shared = [item for item in categories[0].tolist() if all(item in each.tolist() for each in categories[1:])]
    choices = _array(shared, DTYPES[spec.datatype]) if shared else rows
    return Trials(choices={spec.name: choices}, probes={spec.name: rows})


def _of_columns(predictor: Predictor, seen: Sequence[Consumer]) -> Trials:
    ranges: dict[str, Range] = {}
    choices: dict[str, np.ndarray] = {}
    behind = behind_columns(predictor.estimator)
    rows: dict[str, np.ndarray] = {}
    for index, column in enumerate(predictor.plan.columns):
        spec = column.spec
        if spec is None:
            continue
        found = _choices(seen, index, spec, missing=spec.name in predictor.plan.missing_texts)
        if found is not None:
            choices[spec.name] = found
        elif index in behind and DTYPES[spec.datatype].kind == "f":
            ranges[spec.name] = behind[index][0]
            rows[spec.name] = behind[index][1].astype(DTYPES[spec.datatype]).reshape(-1, 1)
        elif span := _range(seen, index):
            ranges[spec.name] = span
    return Trials(ranges, choices, rows)


def _choices(seen: Sequence[Consumer], index: int, spec: TensorSpec, *, missing: bool = False) -> np.ndarray | None:
    """Values that the column's encoders know, one that they don't where they all allow it, or texts."""
    looking = [each for each in seen if each.position(index) is not None]
    vectorizers = [each.estimator for each in looking if type(each.estimator).__name__ in TEXT_VECTORIZERS]
    if vectorizers:
        return sentences(vectorizers)
    encoders = [each for each in looking if each.categories(index) is not None]
    if not encoders:
        return None
    known = [item for each in encoders for item in np.asarray(each.categories(index)).tolist()]
    values = [item for item in dict.fromkeys(known) if item is not None and item == item]
    if all(_takes_unknown(each.estimator) for each in encoders):
        values.append(UNKNOWN_TEXT if spec.datatype == "BYTES" else UNKNOWN_NUMBER)
    if missing and all(_takes_filled(each, index, values) for each in looking):
        values.append("")
    return _array(values, DTYPES[spec.datatype])


def _takes_filled(consumer: Consumer, index: int, values: Sequence[Any]) -> bool:
    """Whether the encoder behind an imputer may get what that puts in for a missing text."""
    position = consumer.position(index)
    if type(consumer.estimator).__name__ != "SimpleImputer" or position is None:
        return True
    return UNKNOWN_TEXT in values or consumer.estimator.statistics_[position] in values


def _takes_unknown(encoder: Any) -> bool:
    if library_of(encoder) == "xgboost":
        return False
    # TargetEncoder has no such setting: it encodes what it does not know as the mean.
    return getattr(encoder, "handle_unknown", "ignore") != "error"


def _array(values: Sequence[Any], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind != "O":
        return np.array(values, dtype)
    texts = np.empty(len(values), dtype=object)
    texts[:] = [item if isinstance(item, bytes) else str(item).encode() for item in values]
    return texts


def _range(seen: Sequence[Consumer], index: int) -> Range | None:
    """Where a scaler or an imputer saw the column's numbers."""
    for each in seen:
        position = each.position(index)
        if position is None or isinstance(each.estimator, str):
            continue
        span = input_range(each.estimator)
        if span is not None and np.size(span[0]) > position:
            return float(np.ravel(span[0])[position]), float(np.ravel(span[1])[position])
    for each in seen:
        if each.position(index) is not None and (span := DOMAINS.get(function_name(each.estimator) or "")):
            return span
    for each in seen:
        position = each.position(index)
        typical = np.ravel(getattr(each.estimator, "statistics_", ()))
        if position is not None and position < len(typical) and isinstance(typical[position], int | float):
            middle = float(typical[position])
            if np.isfinite(middle):
                return middle - abs(middle) - 1, middle + abs(middle) + 1
    return None


def _holes(predictor: Predictor, trials: Trials) -> dict[str, np.ndarray]:
    """Rows with some NaN, for the models that take them; more telling than rows of nothing else."""
    floating = [
        spec for spec in predictor.plan.specs if DTYPES[spec.datatype].kind == "f" and spec.name not in trials.choices
    ]
    if not floating or any(-1 in spec.shape[1:] for spec in predictor.plan.specs):
        return {}
    count = max((len(rows) for rows in trials.probes.values()), default=32)
    rows = {**_samples(predictor.plan, trials).draw(count, 1)}
    rows |= {name: _cycled(np.asarray(given), count) for name, given in trials.probes.items()}
    generator = np.random.default_rng(0)
    for spec in floating:
        holes = generator.random(rows[spec.name].shape) < HOLES
        holes[::2] = False
        rows[spec.name] = np.where(holes, np.nan, rows[spec.name]).astype(DTYPES[spec.datatype])
    try:
        predictor.run(rows)
    except Exception:  # scikit-learn refuses NaN: then it has no meaning here
        return {}
    return rows


def _cycled(rows: np.ndarray, count: int) -> np.ndarray:
    return rows[np.arange(count) % len(rows)]
