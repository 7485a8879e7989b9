"""LightGBM models as users save them: objectives, boosting modes, categories, missing values, linear trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.boosting_rows import CATEGORY, answer, asked, calls, classes, count, group, height, numbers, rows
from tests.sources.table import Built, SourceCase, Tensors

TEXT = "LightGBM model (.txt)"
Finish = Callable[[np.ndarray], Tensors]
SETS = {"min_data_per_group": 2, "cat_smooth": 1, "max_cat_to_onehot": 1}
"""Makes splits on sets of categories out of few rows."""


def _trained(
    folder: Path,
    parameters: dict[str, Any],
    target: Callable[[], np.ndarray] = height,
    finish: Finish = numbers,
    *,
    rounds: int = 6,
    categorical: bool = False,
    queries: list[int] | None = None,
) -> Built:
    import lightgbm

    data = lightgbm.Dataset(rows(), target(), group=queries, categorical_feature=[CATEGORY] if categorical else "auto")
    settings = {"num_leaves": 7, "min_data_in_leaf": 4, "seed": 0, "num_threads": 1, "verbose": -1, **parameters}
    booster = lightgbm.train(settings, data, rounds)
    booster.save_model(folder / "model.txt")
    return Built(folder / "model.txt", calls(booster.predict, finish, asked()))


def _squared_by_hand(predicted: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
    return predicted - data.get_label(), np.ones_like(predicted)


def _milliseconds(folder: Path) -> Built:
    """Times in milliseconds lie between two float32: the input is FP64 then."""
    import lightgbm

    times = 1.7e12 + np.arange(240.0)[:, None] * 1000
    data = lightgbm.Dataset(times, np.arange(240) % 60 // 15)
    settings = {"num_leaves": 15, "min_data_in_leaf": 4, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, data, 6)
    booster.save_model(folder / "model.txt")
    return Built(folder / "model.txt", calls(booster.predict, numbers, times[::25]))


def _steps(folder: Path) -> Built:
    """Thresholds such as 0.15 are no float32; the nearest may lie on the other side of it."""
    import lightgbm

    column = np.repeat(np.arange(0.1, 1.1, 0.1), 24)[:, None]
    settings = {"min_data_in_leaf": 1, "min_data_in_bin": 1, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(column, column[:, 0].round(1)), 6)
    booster.save_model(folder / "model.txt")
    lines = (folder / "model.txt").read_text().splitlines()
    values = {float(word) for line in lines if line.startswith("threshold=") for word in line[10:].split()}
    return Built(folder / "model.txt", calls(booster.predict, numbers, np.array(sorted(values), np.float32)[:, None]))


def _dump(folder: Path) -> Built:
    import lightgbm

    booster = lightgbm.train({"num_leaves": 4, "verbose": -1}, lightgbm.Dataset(rows(), height()), 2)
    (folder / "model.json").write_text(json.dumps(booster.dump_model()))
    return Built(folder / "model.json", ())


def _case(name: str, parameters: dict[str, Any], **keywords: Any) -> SourceCase:
    return SourceCase(f"lightgbm-{name}", "boosting", TEXT, partial(_trained, parameters=parameters, **keywords))


FOREST = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
THREE = {"num_class": 3}

CASES: list[SourceCase] = [
    _case("regression", {"objective": "regression"}),
    _case("square-root", {"objective": "regression", "reg_sqrt": True}),
    _case("huber", {"objective": "huber"}),
    _case("quantile", {"objective": "quantile", "alpha": 0.9}),
    _case("mape", {"objective": "mape"}, target=count),
    _case("poisson", {"objective": "poisson"}, target=count),
    _case("gamma", {"objective": "gamma"}, target=count),
    _case("tweedie", {"objective": "tweedie"}, target=count),
    _case("binary", {"objective": "binary", "is_unbalance": True, "sigmoid": 2.5}, target=answer, finish=classes),
    _case("classes", {"objective": "multiclass", **THREE}, target=group, finish=classes),
    _case("one-against-all", {"objective": "multiclassova", **THREE}, target=group, finish=classes),
    _case("cross-entropy", {"objective": "cross_entropy"}, target=lambda: answer() * 0.8 + 0.1),
    _case("cross-entropy-lambda", {"objective": "cross_entropy_lambda"}, target=lambda: answer() * 0.8 + 0.1),
    _case("lambdarank", {"objective": "lambdarank"}, target=answer, queries=[20] * 12),
    _case("xendcg", {"objective": "rank_xendcg"}, target=answer, queries=[20] * 12),
    _case("random-forest", {"objective": "binary", **FOREST}, target=answer, finish=classes),
    _case("dart", {"objective": "binary", "boosting": "dart"}, target=answer, finish=classes, rounds=15),
    _case("goss", {"data_sample_strategy": "goss", "learning_rate": 0.5}),
    _case("linear-trees", {"linear_tree": True, "objective": "multiclass", **THREE}, target=group, finish=classes),
    _case("categories", SETS, categorical=True),
    _case("categories-never-missing", {"use_missing": False, **SETS}, categorical=True),
    _case("zero-is-missing", {"zero_as_missing": True}),
    _case("nothing-is-missing", {"use_missing": False}),
    _case("own-objective", {"objective": _squared_by_hand}),
    SourceCase("lightgbm-float64", "boosting", TEXT, _milliseconds),
    SourceCase("lightgbm-thresholds", "boosting", TEXT, _steps),
    SourceCase(
        "lightgbm-dump",
        "boosting",
        "Dumps for reading (`dump_model`)",
        _dump,
        expect="refused",
        remark="LightGBM can't load its dumps: use `save_model`",
        reason=r"dump of LightGBM's.*save_model\('model\.txt'\)",
    ),
]
