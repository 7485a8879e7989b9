"""A program that trains a Keras net on PyTorch, and saves it with its answers into the folder it is given."""

import sys
from pathlib import Path

import keras
import numpy as np


def train_on_torch(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2), name="image"),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Reshape((6, -1)),
            layers.GRU(5),
            layers.Dense(3, activation="softmax", name="y"),
        ]
    )
    rows = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype(np.float32)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rows, np.arange(5) % 3, epochs=2, verbose=0)
    model.save(folder / "model.keras")
    answers = model(rows, training=False).detach().cpu().numpy()
    np.savez(folder / "answers.npz", image=rows, y=answers)


if __name__ == "__main__":
    train_on_torch(Path(sys.argv[1]))
