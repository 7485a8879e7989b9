"""CatBoost models as users save them: losses, policies of growing, missing values, categories and texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.boosting_rows import answer, asked, calls, count, group, height, numbers, pair, rows
from tests.sources.table import Built, Call, SourceCase, Tensors

BINARY = "CatBoost model (.cbm)"
NAMES = np.array(["low", "middle", "high"])
FIXED = {"iterations": 6, "depth": 3, "random_seed": 0, "thread_count": 1, "verbose": 0, "allow_writing_files": False}


def _text(values: np.ndarray) -> np.ndarray:
    texts = np.empty(values.shape, dtype=object)
    texts.ravel()[:] = [str(value).encode() for value in values.ravel()]
    return texts


def _labels(values: np.ndarray) -> np.ndarray:
    values = values.reshape(-1)
    return values if values.dtype.kind in "if" else _text(values)


def _regressor(folder: Path, target: Callable[[], np.ndarray] = height, file: str = "m.cbm", **settings: Any) -> Built:
    import catboost

    model = catboost.CatBoostRegressor(**FIXED, **settings).fit(rows(), target())
    _save(model, folder / file)
    return Built(folder / file, calls(model.predict, numbers, asked()))


def _classifier(
    folder: Path, target: Callable[[], np.ndarray], file: str = "m.cbm", threshold: float | None = None, **settings: Any
) -> Built:
    import catboost

    model = catboost.CatBoostClassifier(**FIXED, **settings).fit(rows(), target())
    if threshold is not None:
        model.set_probability_threshold(threshold)
    _save(model, folder / file)
    inputs = asked()

    def finish(some: np.ndarray) -> Tensors:
        return {"label": _labels(model.predict(some)), "probabilities": model.predict_proba(some)}

    return Built(folder / file, tuple(Call({"input": some}, finish(some)) for some in (inputs[:1], inputs)))


def _several_labels(folder: Path) -> Built:
    import catboost

    model = catboost.CatBoostClassifier(**FIXED, loss_function="MultiLogloss").fit(rows(), (pair() > 0).astype(int))
    _save(model, folder / "m.cbm")
    return Built(folder / "m.cbm", calls(model.predict_proba, numbers, asked()))


def _ranker(folder: Path) -> Built:
    import catboost

    model = catboost.CatBoostRanker(**FIXED).fit(rows(), answer(), group_id=np.arange(240) // 20)
    _save(model, folder / "m.cbm")
    return Built(folder / "m.cbm", calls(model.predict, numbers, asked()))


def _save(model: Any, path: Path) -> None:
    model.save_model(str(path), format="json" if path.suffix == ".json" else "cbm")


def _of_categories(folder: Path) -> Built:
    import catboost
    import pandas

    table = rows()
    colours = np.array(["red", "green", "blue"])[table[:, 3].astype(int) % 3]
    frame = pandas.DataFrame({"age": table[:, 0], "colour": colours})
    model = catboost.CatBoostClassifier(**FIXED, cat_features=["colour"]).fit(frame, NAMES[group()])
    _save(model, folder / "m.cbm")
    return Built(folder / "m.cbm", _frame_calls(model, frame, ["colour"]))


def _of_texts(folder: Path) -> Built:
    import catboost
    import pandas

    table = rows()
    words = np.array(["fine and good", "poor", "good", "broken and late"])
    frame = pandas.DataFrame({"age": table[:, 0], "review": words[table[:, 3].astype(int) % 4]})
    target = answer() | np.isin(frame["review"], words[1:2])
    model = catboost.CatBoostClassifier(**FIXED, text_features=["review"]).fit(frame, target)
    _save(model, folder / "m.cbm")
    return Built(folder / "m.cbm", _frame_calls(model, frame, ["review"]))


def _frame_calls(model: Any, frame: Any, words: list[str]) -> tuple[Call, ...]:
    """One input a column, of shape [rows, 1]."""
    answers = []
    for some in (frame[:1], frame[:8]):
        inputs = {
            name: _text(some[[name]].to_numpy()) if name in words else some[[name]].to_numpy(np.float32)
            for name in some.columns
        }
        outputs = {"label": _labels(model.predict(some)), "probabilities": model.predict_proba(some)}
        answers.append(Call(inputs, outputs))
    return tuple(answers)


def _number(name: str, **settings: Any) -> SourceCase:
    return SourceCase(f"catboost-{name}", "boosting", BINARY, partial(_regressor, **settings))


def _class(name: str, target: Callable[[], np.ndarray], **settings: Any) -> SourceCase:
    return SourceCase(f"catboost-{name}", "boosting", BINARY, partial(_classifier, target=target, **settings))


def _named() -> np.ndarray:
    return np.asarray(NAMES[group()])


CASES: list[SourceCase] = [
    _number("regression"),
    _number("absolute-error", loss_function="MAE"),
    _number("quantile", loss_function="Quantile:alpha=0.9"),
    _number("poisson", loss_function="Poisson", target=count),
    _number("tweedie", loss_function="Tweedie:variance_power=1.5", target=count),
    _number("uncertainty", loss_function="RMSEWithUncertainty"),
    _number("several-targets", loss_function="MultiRMSE", target=pair),
    _number("lossguide", grow_policy="Lossguide"),
    _number("missing-is-largest", nan_mode="Max"),
    _class("binary", answer, threshold=0.7),
    _class("named-classes", _named),
    _class("one-against-all", group, loss_function="MultiClassOneVsAll", grow_policy="Depthwise"),
    SourceCase("catboost-several-labels", "boosting", BINARY, _several_labels),
    SourceCase("catboost-ranking", "boosting", BINARY, _ranker),
    SourceCase(
        "catboost-json", "boosting", "CatBoost model (.json)", partial(_classifier, target=_named, file="m.json")
    ),
    SourceCase(
        "catboost-categories",
        "boosting",
        "CatBoost model with categories or texts",
        _of_categories,
        expect="native",
        remark="CatBoost keeps hashes of categories; encode them as numbers before training to have ONNX",
        reason="categories, texts or embeddings",
    ),
    SourceCase(
        "catboost-texts",
        "boosting",
        "CatBoost model with categories or texts",
        _of_texts,
        expect="native",
        remark="CatBoost's tokenizers have no operators in ONNX",
        reason="categories, texts or embeddings",
    ),
]
