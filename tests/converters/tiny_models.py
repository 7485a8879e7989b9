"""Builds tiny models of one framework and records its own answers: `python tiny_models.py FRAMEWORK FOLDER`.

Runs in a process of its own, so that the test process stays free of frameworks. For each model `<name>.<ext>` there
is a `<name>.npz` with arrays `in.<input>` and `out.<output>`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

RANDOM = np.random.default_rng(7)


def record(folder: Path, name: str, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    arrays = {f"in.{key}": value for key, value in inputs.items()}
    np.savez(folder / f"{name}.npz", **arrays, **{f"out.{key}": value for key, value in outputs.items()})


def pytorch(folder: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(11, 6)
            self.linear = nn.Linear(6, 4)

        def forward(self, words: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
            scores = self.linear(self.embedding(words).mean(1)) + bias
            return {"scores": scores, "best": scores.argmax(1)}

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * 2, x.sum(1)

    class Leaky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0, keepdim=True)

    words, bias = torch.randint(0, 11, (5, 7)), torch.randn(5, 4)
    matrix = torch.randn(2, 3)
    length = torch.export.Dim("length", min=2, max=512)
    programs = {
        "named": (Named(), (words, bias), ({0: batch, 1: length}, {0: batch})),
        "fixed": (Pair(), (matrix,), None),
        "leaky": (Leaky(), (matrix,), ({0: batch},)),
    }
    names = {"named": ["words", "bias"], "fixed": ["x"], "leaky": ["x"]}
    for name, (module, inputs, shapes) in programs.items():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=shapes)
        torch.export.save(program, folder / f"{name}.pt2")
        with torch.no_grad():
            answer = module(*inputs)
        if isinstance(answer, tuple):
            answer = {f"output_{index}": value for index, value in enumerate(answer)}
        elif not isinstance(answer, dict):
            answer = {"output": answer}
        arrays = {key: value.numpy() for key, value in zip(names[name], inputs, strict=True)}
        record(folder, name, arrays, {key: value.numpy() for key, value in answer.items()})
    torch.save(nn.Linear(2, 2).state_dict(), folder / "weights.pth")
    torch.save(nn.Linear(2, 2), folder / "module.pth")


def keras(folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    image, extra = keras.Input((6, 6, 2), name="image"), keras.Input((3,), name="extra")
    hidden = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, activation="relu")(image))
    hidden = keras.layers.Concatenate()([hidden, extra])
    outputs = {
        "scores": keras.layers.Dense(4, activation="softmax")(hidden),
        "height": keras.layers.Dense(1)(hidden),
    }
    model = keras.Model({"image": image, "extra": extra}, outputs)
    model.save(folder / "two.keras")
    inputs = {
        "image": RANDOM.normal(size=(4, 6, 6, 2)).astype(np.float32),
        "extra": RANDOM.normal(size=(4, 3)).astype(np.float32),
    }
    record(folder, "two", inputs, {name: np.asarray(value) for name, value in model(inputs).items()})
    save_lambdas(folder)


def save_lambdas(folder: Path) -> None:
    """A layer whose code leaves a file beside the model when it runs, in all formats that hold it."""
    import keras
    import tf_keras

    def marking(path: str) -> Any:
        return lambda x: (open(path, "w").close(), x * 2)[1]

    for library, name in ((keras, "lambda.keras"), (keras, "lambda.h5"), (tf_keras, "lambda-keras-2.h5")):
        mark = folder / f"{name}.ran"
        x = library.Input((3,), name="x")
        layer = library.layers.Lambda(marking(str(mark)), output_shape=(3,), name="marking")
        library.Model(x, layer(x)).save(folder / name)
        mark.unlink(missing_ok=True)


def sklearn(folder: Path) -> None:
    import skops.io
    from sklearn.cluster import KMeans
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    rows = RANDOM.normal(3, 2, (120, 5))
    classes = (rows[:, 0] + rows[:, 1] > 6).astype(int) + (rows[:, 2] > 4)
    words = np.array(["red", "green", "blue"])[classes]
    some = rows[:9].astype(np.float32)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, words)
    forest = RandomForestClassifier(7, random_state=0).fit(rows, classes)
    line = LinearRegression().fit(rows, rows[:, :2] * 2)
    clusters = KMeans(3, random_state=0, n_init=1).fit(rows)
    answers = {
        "pipeline": (pipeline, {"label": pipeline.predict(some), "probabilities": pipeline.predict_proba(some)}),
        "forest": (forest, {"label": forest.predict(some), "probabilities": forest.predict_proba(some)}),
        "line": (line, {"output": line.predict(some)}),
    }
    for name, (model, outputs) in answers.items():
        skops.io.dump(model, folder / f"{name}.skops")
        record(folder, name, {"input": some}, outputs)
    skops.io.dump(clusters, folder / "clusters.skops")
    wide = rows[:9]
    record(folder, "clusters", {"input": wide}, {"label": clusters.predict(wide), "scores": clusters.transform(wide)})
    skops.io.dump(FunctionTransformer(np.log1p), folder / "function.skops")


def boosting(folder: Path) -> None:
    import catboost
    import lightgbm
    import xgboost

    rows = RANDOM.normal(size=(300, 4))
    rows[RANDOM.random(rows.shape) < 0.1] = np.nan
    known = np.nan_to_num(rows)
    classes, height = (known[:, 0] > 0).astype(int) + (known[:, 1] > 0.5), known[:, 0] * 3 + known[:, 2]
    some = rows[:9].astype(np.float32)
    base = {"seed": 0, "max_depth": 3}
    for name, objective, target in (
        ("xgb-classes", {"objective": "multi:softprob", "num_class": 3}, classes),
        ("xgb-binary", {"objective": "binary:logistic", "base_score": 0.8}, classes > 0),
        ("xgb-height", {"objective": "reg:squarederror"}, height),
    ):
        booster = xgboost.train({**base, **objective}, xgboost.DMatrix(rows, target), 6)
        booster.save_model(folder / (f"{name}.ubj" if name == "xgb-binary" else f"{name}.json"))
        record(folder, name, {"input": some}, outputs_of(booster.predict(xgboost.DMatrix(some)), name))
    for name, objective, target in (
        ("lgb-classes", {"objective": "multiclass", "num_class": 3}, classes),
        ("lgb-height", {"objective": "regression"}, height),
    ):
        model = lightgbm.train({**base, **objective, "verbose": -1}, lightgbm.Dataset(rows, target), 6)
        model.save_model(folder / f"{name}.txt")
        record(folder, name, {"input": some}, outputs_of(model.predict(some), name))
    forest = catboost.CatBoostClassifier(iterations=6, depth=3, verbose=0, allow_writing_files=False)
    forest.fit(rows, classes).save_model(str(folder / "cat-classes.cbm"))
    record(folder, "cat-classes", {"input": some}, outputs_of(forest.predict_proba(some), "cat-classes"))
    # Thresholds such as 0.1 are no float32; the float32 nearest to it is above, and belongs on the other side.
    column = np.repeat(np.arange(0.1, 1.1, 0.1), 30)[:, None]
    steps = lightgbm.train(
        {"objective": "regression", "min_data_in_leaf": 1, "verbose": -1},
        lightgbm.Dataset(column, column[:, 0].round(1)),
        10,
    )
    steps.save_model(folder / "lgb-steps.txt")
    values = np.unique(
        [float(each) for line in steps.model_to_string().splitlines() if line.startswith("threshold=")
         for each in line[10:].split()]
    ).astype(np.float32)[:, None]  # fmt: skip
    record(folder, "lgb-steps", {"input": values}, {"output": steps.predict(values)[:, None]})


def outputs_of(predicted: np.ndarray, name: str) -> dict[str, np.ndarray]:
    if name.endswith("height"):
        return {"output": predicted[:, None]}
    if predicted.ndim == 1:
        predicted = np.stack([1 - predicted, predicted], axis=1)
    return {"label": predicted.argmax(1), "probabilities": predicted}


if __name__ == "__main__":
    {"pytorch": pytorch, "keras": keras, "sklearn": sklearn, "boosting": boosting}[sys.argv[1]](Path(sys.argv[2]))
