"""XGBoost models as users save them: every objective, booster and kind of split."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.boosting_rows import (
    CATEGORY,
    answer,
    asked,
    calls,
    classes,
    count,
    group,
    height,
    numbers,
    pair,
    rows,
)
from tests.sources.table import Built, SourceCase, Tensors

JSON = "XGBoost model (.json, .ubj)"
Finish = Callable[[np.ndarray], Tensors]


def _trained(
    folder: Path,
    parameters: dict[str, Any],
    target: Callable[[], np.ndarray] = height,
    finish: Finish = numbers,
    *,
    rounds: int = 6,
    file: str = "model.json",
    categorical: bool = False,
    **matrix: Any,
) -> Built:
    import xgboost

    types = ["c" if column == CATEGORY and categorical else "q" for column in range(5)]
    given = {name: value() for name, value in matrix.items()}
    if not any(name.startswith("label_") for name in given):
        given["label"] = target()
    data = xgboost.DMatrix(rows(), feature_types=types, enable_categorical=categorical, **given)
    booster = xgboost.train({"max_depth": 3, "seed": 0, "nthread": 1, **parameters}, data, rounds)
    booster.save_model(folder / file)

    def predict(some: np.ndarray) -> np.ndarray:
        asked_for = xgboost.DMatrix(some, feature_types=types, enable_categorical=categorical)
        return np.asarray(booster.predict(asked_for))

    return Built(folder / file, calls(predict, finish, asked()))


def _queries() -> np.ndarray:
    return np.arange(240) // 20


def _upper() -> np.ndarray:
    return count() * 1.5


def _softmax(folder: Path) -> Built:
    """`multi:softmax` itself answers the class alone; `predict_proba` of the scikit-learn interface all of them."""
    import xgboost

    model = xgboost.XGBClassifier(objective="multi:softmax", n_estimators=6, max_depth=3, n_jobs=1)
    model.fit(rows(), group())
    model.get_booster().save_model(folder / "model.ubj")
    margins = partial(model.predict, output_margin=True)
    return Built(folder / "model.ubj", calls(margins, _from_scores, asked()))


def _from_scores(scores: np.ndarray) -> Tensors:
    powers = np.exp(scores.astype(np.float64))
    return classes(powers / powers.sum(1, keepdims=True))


def _early_stopped(folder: Path) -> Built:
    """The scikit-learn interface answers with the best round's trees, and so does what it saved."""
    import xgboost

    table, target = rows(), group()
    model = xgboost.XGBClassifier(n_estimators=60, max_depth=3, learning_rate=0.9, early_stopping_rounds=3, n_jobs=1)
    model.fit(table[:160], target[:160], eval_set=[(table[160:], target[160:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(folder / "model.json")
    return Built(folder / "model.json", calls(model.predict_proba, classes, asked()))


def _of_a_frame(folder: Path) -> Built:
    """Trained on a DataFrame: the columns have names, and the category is text that pandas numbers."""
    import pandas
    import xgboost

    table = rows()
    frame = pandas.DataFrame(table[:, :3], columns=["age", "income", "height in cm"])
    frame["colour"] = pandas.Categorical.from_codes(
        table[:, CATEGORY].astype(int) % 4, ["red", "green", "blue", "grey"]
    )
    model = xgboost.XGBRegressor(n_estimators=6, max_depth=3, enable_categorical=True, max_cat_to_onehot=1, n_jobs=1)
    model.fit(frame, height())
    model.save_model(folder / "model.json")
    numbered = frame.assign(colour=frame["colour"].cat.codes).to_numpy(np.float32)

    def predict(some: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict(frame[: len(some)]))

    return Built(folder / "model.json", calls(predict, numbers, numbered[:8]))


def _old_binary(folder: Path) -> Built:
    """The first bytes of what `save_model("x.model")` wrote until XGBoost 3.0."""
    parameters = struct.pack("<fIi", 0.5, 5, 0) + bytes(124)
    names = b"".join(struct.pack("<Q", len(name)) + name for name in (b"reg:squarederror", b"gbtree"))
    (folder / "old.model").write_bytes(parameters + names + bytes(512))
    return Built(folder / "old.model", ())


def _dump(folder: Path) -> Built:
    import xgboost

    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows(), height()), 2)
    booster.dump_model(folder / "dump.json", dump_format="json")
    return Built(folder / "dump.json", ())


def _case(name: str, *arguments: Any, **keywords: Any) -> SourceCase:
    return SourceCase(f"xgboost-{name}", "boosting", JSON, partial(_trained, parameters=arguments[0], **keywords))


def _own(name: str, build: Callable[[Path], Built]) -> SourceCase:
    return SourceCase(f"xgboost-{name}", "boosting", JSON, build)


CASES: list[SourceCase] = [
    _case("regression", {"objective": "reg:squarederror"}),
    _case("absolute-error", {"objective": "reg:absoluteerror"}),
    _case("quantiles", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}),
    _case("gamma", {"objective": "reg:gamma"}, target=count),
    _case("tweedie", {"objective": "reg:tweedie"}, target=count, file="model.ubj"),
    _case("poisson", {"objective": "count:poisson"}, target=count),
    _case("logistic-regression", {"objective": "reg:logistic"}, target=answer),
    _case(
        "binary", {"objective": "binary:logistic", "base_score": 0.8}, target=answer, finish=classes, file="model.ubj"
    ),
    _case("binary-scores", {"objective": "binary:logitraw"}, target=answer),
    _case("hinge", {"objective": "binary:hinge"}, target=answer, finish=classes),
    _case("classes", {"objective": "multi:softprob", "num_class": 3}, target=group, finish=classes),
    _own("softmax", _softmax),
    _case("several-labels", {"objective": "binary:logistic"}, target=lambda: (pair() > 0).astype(int)),
    _case("ranking", {"objective": "rank:ndcg"}, target=answer, qid=_queries),
    _case("survival-times", {"objective": "survival:aft"}, label_lower_bound=count, label_upper_bound=_upper),
    _case("survival-cox", {"objective": "survival:cox"}, target=count),
    _case("dart", {"booster": "dart", "rate_drop": 0.5, "seed": 3}, rounds=15),
    _case(
        "linear", {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3}, target=group, finish=classes
    ),
    _case("random-forest", {"num_parallel_tree": 12, "subsample": 0.7, "learning_rate": 1}, rounds=1),
    _case("several-targets", {}, target=pair),
    _case("vector-leaves", {"multi_strategy": "multi_output_tree"}, target=pair),
    _case("categories-one-by-one", {"max_cat_to_onehot": 100}, categorical=True),
    _case("categories-in-sets", {"max_cat_to_onehot": 1}, categorical=True, file="model.ubj"),
    _own("early-stopped", _early_stopped),
    _own("data-frame", _of_a_frame),
    SourceCase(
        "xgboost-old-binary",
        "boosting",
        "XGBoost's old binary format",
        _old_binary,
        expect="refused",
        remark="XGBoost removed the format in 3.1: load it with xgboost 3.0 and save it as .ubj or .json",
        reason=r"old binary format.*save_model\('model\.ubj'\)",
    ),
    SourceCase(
        "xgboost-dump",
        "boosting",
        "Dumps for reading (`dump_model`)",
        _dump,
        expect="refused",
        remark="XGBoost can't load its dumps: use `save_model`",
        reason=r"dump of XGBoost's.*save_model\('model\.ubj'\)",
    ),
]
