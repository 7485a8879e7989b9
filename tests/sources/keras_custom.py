"""Keras 3 models with classes of the user's, with code in the file, and written by another backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.sources.keras_writing import Net, floats, keras3, shaken
from tests.sources.table import Built, Call

CODE = Path(__file__).parent / "keras_code"
TRAINED_ON_TORCH = CODE / "trained_on_torch.py"
OWN_LAYERS = {
    "code_folder": str(CODE),
    "custom_objects": {
        "Scale": "own_layers:Scale",
        "Squash": "own_layers:Squash",
        "bent": "own_layers:bent",
    },
}
OWN_MODEL = {"code_folder": str(CODE), "custom_objects": {"Towers": "own_layers:Towers"}}


def own_layers() -> Net:
    keras = keras3()
    from tests.sources.keras_code.own_layers import Scale, Squash, bent

    x = keras.Input((3,), name="x")
    y = keras.layers.Dense(2, name="y", activation=bent)(Squash()(Scale()(x)))
    return Net(shaken(keras.Model(x, y)), {"x": floats(3)}, ("y",))


def own_model() -> Net:
    keras3()
    from tests.sources.keras_code.own_layers import Towers

    model = Towers(name="towers")
    model(floats(3))
    return Net(shaken(model), {"x": floats(3)}, ("product", "sum"))


def code_in_the_file() -> Net:
    keras = keras3()
    x = keras.Input((3,), name="x")
    doubled = keras.layers.Lambda(lambda value: value * 2 + 1, output_shape=(3,))(x)
    return Net(shaken(keras.Model(x, keras.layers.Dense(2, name="y")(doubled))), {"x": floats(3)}, ("y",))


def of_the_torch_backend(folder: Path) -> Built:
    """Trained and saved by a process that runs Keras on PyTorch."""
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-W", "ignore", str(TRAINED_ON_TORCH), str(folder)], env=environment, check=True)
    with np.load(folder / "answers.npz") as answers:
        calls = tuple(
            Call({"image": answers["image"][:count]}, {"y": answers["y"][:count]}) for count in (2, len(answers["y"]))
        )
    return Built(folder / "model.keras", calls)
