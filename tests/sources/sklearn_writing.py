"""Writes scikit-learn sources and records the estimators' own answers: rows of numbers, people, reviews.

The models are in `sklearn.py`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Call, SourceCase, Tensors

ROWS = 240
Rows = Callable[[Tensors], Any]


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def numbers(columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """float64[ROWS, columns] and three classes."""
    rows = rng().normal(3, 2, (ROWS, columns))
    return rows, (rows[:, 0] > 3).astype(int) + (rows[:, 1] + rows[:, 2] > 7)


def people() -> Any:
    """A DataFrame as tabular exercises have it: whole and broken numbers, text, codes, flags, gaps."""
    import pandas

    random = rng()
    return pandas.DataFrame(
        {
            "age": random.integers(18, 80, ROWS),
            "income (EUR)": random.normal(30_000, 9_000, ROWS).round(2),
            "city": random.choice(["Bonn", "Paris", "Rome", "Zürich"], ROWS),
            "plan": random.choice([1, 2, 5], ROWS),
            "member": random.random(ROWS) < 0.5,
            "note": random.choice(["very good", "bad service, slow", "it's okay", "Good food!"], ROWS),
            "id": np.arange(ROWS),
        }
    )


def gone(frame: Any, column: str, every: int) -> Any:
    """The frame with gaps in a column."""
    frame = frame.copy()
    frame[column] = frame[column].where(np.arange(len(frame)) % every != 0)
    return frame


def approved(frame: Any) -> np.ndarray:
    return np.where(frame["income (EUR)"] / 1000 + frame["age"] > 75, "yes", "no")


def columns_of(frame: Any, names: dict[str, tuple[str, str]]) -> tuple[Tensors, Rows]:
    """Tensors of a frame's columns, public name -> (column, datatype), and the way back to a frame."""
    import pandas

    dtypes = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}

    def tensor(column: str, datatype: str) -> np.ndarray:
        values = frame[column]
        if datatype == "BYTES":
            return texts(["" if pandas.isna(value) else str(value) for value in values]).reshape(-1, 1)
        return values.to_numpy().astype(dtypes[datatype]).reshape(-1, 1)

    def rows(tensors: Tensors) -> Any:
        found = {}
        for public, (column, datatype) in names.items():
            values = tensors[public].reshape(-1)
            if datatype == "BYTES":
                values = np.array([item.decode() or np.nan for item in values], dtype=object)
            found[column] = pandas.Series(values, dtype=values.dtype)
        for column in frame.columns:
            if column not in found:
                found[column] = pandas.Series(np.zeros(len(values)))
        return pandas.DataFrame(found)[list(frame.columns)]

    return {public: tensor(*what) for public, what in names.items()}, rows


def texts(values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = [value.encode() for value in values]
    return array


def answers(model: Any, rows: Any) -> Tensors:
    """The model's own answers under the public names."""
    predicted = np.asarray(model.predict(rows))
    if not hasattr(model, "classes_"):
        if hasattr(model, "transform"):
            return {"label": predicted.astype(np.int64), "scores": np.asarray(model.transform(rows))}
        return {"output": predicted.reshape(len(predicted), -1)}
    label = texts(predicted.ravel()) if predicted.dtype.kind in "OSU" else predicted.astype(np.int64)
    found: Tensors = {"label": label.reshape(-1) if isinstance(model.classes_, np.ndarray) else label}
    if not hasattr(model, "predict_proba"):
        return found
    probabilities = model.predict_proba(rows)
    if isinstance(probabilities, list):
        return found | {f"probabilities_{index}": each for index, each in enumerate(probabilities)}
    return found | {"probabilities": probabilities}


def saved(folder: Path, model: Any, how: str = "skops") -> Path:
    """The model in one of the ways that users save models."""
    import joblib
    import skops.io

    source = folder / f"model.{how}"
    if how == "skops":
        skops.io.dump(model, source)
    elif how == "pkl":
        source.write_bytes(pickle.dumps(model, protocol=2))
    else:  # joblib compresses by the name's end: .joblib not at all, .z .gz .bz2 .xz
        joblib.dump(model, source)
    return source


def built(source: Path, model: Any, tensors: Tensors, rows: Rows | None = None) -> Built:
    """Answers for the first row, and for the first five."""
    name = next(iter(tensors))
    rows = rows or (lambda given: given[name])
    calls = []
    for count in (1, 5):
        some = {key: array[:count] for key, array in tensors.items()}
        calls.append(Call(some, answers(model, rows(some))))
    return Built(source, tuple(calls))


def on_numbers(
    make: Callable[[], Any], how: str = "skops", *, target: str = "classes", datatype: Any = np.float32
) -> Any:
    """A case's builder for a model of a matrix."""

    def build(folder: Path) -> Built:
        rows, classes = numbers()
        targets = {
            "classes": classes,
            "words": np.array(["low", "middle", "high"])[classes],
            "value": np.exp(rows[:, 0] / 4) + rows[:, 1],
            "two": np.stack([classes, rows[:, 3] > 3], axis=1).astype(int),
            "none": None,
        }
        model = make().fit(rows, targets[target])
        tensors = {"input": rows[:5].astype(datatype)}
        return built(saved(folder, model, how), model, tensors)

    return build


def on_people(
    make: Callable[[], Any],
    names: dict[str, tuple[str, str]],
    how: str = "skops",
    *,
    value: bool = False,
    change: Callable[[Any], Any] = lambda frame: frame,
) -> Any:
    """A case's builder for a model of a DataFrame; `names` is public name -> (column, datatype)."""

    def build(folder: Path) -> Built:
        frame = change(people())
        target = frame["age"] * 2.0 + frame["plan"] if value else approved(people())
        model = make().fit(frame, target)
        tensors, rows = columns_of(frame, names)
        return built(saved(folder, model, how), model, tensors, rows)

    return build


REVIEWS = (
    "The food was very good, and the staff was friendly.",
    "Bad service. We waited for an hour!",
    "It's not what I'd expect; don't go there",
    "Très bon café, Straße und Brücke",
    "GOOD GOOD good... and cheap",
    "never again, the worst food in town",
    "A quiet place, with 2 rooms and snake_case tables",
    "good value for 12.50 each",
)
UNSEEN = (
    "Good food! Bad staff, I don't know",
    "",
    "TRÈS BON   restaurant\n\nin İstanbul",
    "x",
    "the\tbest_place ½ in town -- never closed",
)


def on_reviews(make: Callable[[], Any], how: str = "skops") -> Any:
    """A case's builder for a model of texts."""

    def build(folder: Path) -> Built:
        target = np.array(["up", "down", "down", "up", "up", "down", "up", "up"] * 3)
        model = make().fit(list(REVIEWS) * 3, target)
        tensors = {"input": texts(UNSEEN)}
        return built(saved(folder, model, how), model, tensors, lambda given: [t.decode() for t in given["input"]])

    return build


def of_places(make: Callable[[], Any]) -> Any:
    return on_numbers(make, target="value")


def case(name: str, kind: str, build: Any, expect: Any = "onnx", **fields: Any) -> SourceCase:
    return SourceCase(f"sklearn-{name}", "sklearn", kind, build, expect, **fields)
