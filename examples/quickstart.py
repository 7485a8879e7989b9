"""Trains five small models on scikit-learn's handwritten digits and exports each as its framework does.

Run `python examples/quickstart.py [FOLDER]`; the files land in `examples/quickstart` by default. Two runs give
models with the same answers. Needs the extras torch, tensorflow, sklearn and boosting.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
TRAINED = 1500
"""The first images are for training; the models have not seen the others."""
TEST_DIGIT = 1501


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """float32[1797, 8, 8] of pixels 0..16 and int64[1797] of digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.float32), digits.target.astype(np.int64)


def export_pytorch(images: np.ndarray, digits: np.ndarray, path: Path) -> None:
    """A convolutional network that takes pixels as they are and gives the digit beside the scores."""
    import torch
    from torch import nn

    class Digits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(256, 10),
            )

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            scores = self.layers(image / 16.0 - 0.5)
            return {"digit": scores.argmax(dim=1), "scores": scores}

    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # sums come out in the same order then
    model = Digits()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    pixels, targets = torch.from_numpy(images[:TRAINED, None]), torch.from_numpy(digits[:TRAINED])
    for _ in range(8):
        for batch in torch.randperm(len(pixels)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(pixels[batch])["scores"], targets[batch]).backward()
            optimiser.step()
    batch_size = torch.export.Dim("batch", min=1)
    # A clone: the archive keeps the sample with all of the memory that it is a view of.
    sample = pixels[:2].clone()
    program = torch.export.export(model.eval(), (sample,), dynamic_shapes={"image": {0: batch_size}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    torch.export.save(program, path)


def export_keras(images: np.ndarray, digits: np.ndarray, path: Path) -> None:
    """A Keras network, channels last."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax", name="scores"),
        ],
        name="digits",
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images[:TRAINED, ..., None], digits[:TRAINED], batch_size=64, epochs=6, verbose=0)
    model.save(path)


def export_sklearn(images: np.ndarray, digits: np.ndarray, path: Path) -> None:
    """A scikit-learn pipeline on the 64 pixels as columns."""
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(images[:TRAINED].reshape(-1, 64), digits[:TRAINED])
    skops.io.dump(model, path)


def export_lightgbm(images: np.ndarray, digits: np.ndarray, path: Path) -> None:
    """Gradient-boosted trees on the same columns."""
    import lightgbm

    data = lightgbm.Dataset(images[:TRAINED].reshape(-1, 64), digits[:TRAINED])
    parameters = {
        "objective": "multiclass",
        "num_class": 10,
        "num_leaves": 12,
        "learning_rate": 0.2,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": SEED,
        "verbose": -1,
    }
    lightgbm.train(parameters, data, num_boost_round=8).save_model(path)


def export_onnx(images: np.ndarray, digits: np.ndarray, path: Path) -> None:
    """A multilayer perceptron, 64 -> 32 -> 10, written as plain ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from sklearn.neural_network import MLPClassifier

    perceptron = MLPClassifier((32,), max_iter=60, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops before it has converged, which is enough here
        perceptron.fit(images[:TRAINED].reshape(-1, 64) / 16, digits[:TRAINED])
    weights = {
        "w1": perceptron.coefs_[0] / 16,
        "b1": perceptron.intercepts_[0],
        "w2": perceptron.coefs_[1],
        "b2": perceptron.intercepts_[1],
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["pixels", "w1", "b1"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
        ],
        "digits-mlp",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_inputs(images: np.ndarray, folder: Path) -> None:
    """One digit that no model has seen: as an example file, and as the body of a v2 request."""
    image = images[TEST_DIGIT].reshape(1, 1, 8, 8)
    np.savez(folder / "digit.npz", image=image)
    tensor: dict[str, Any] = {
        "name": "image",
        "shape": list(image.shape),
        "datatype": "FP32",
        "data": [int(pixel) for pixel in image.ravel()],
    }
    (folder / "digit.json").write_text(json.dumps({"inputs": [tensor]}) + "\n")


EXPORTS: dict[str, Callable[[np.ndarray, np.ndarray, Path], None]] = {
    "digits.pt2": export_pytorch,
    "digits.keras": export_keras,
    "digits.skops": export_sklearn,
    "digits-lightgbm.txt": export_lightgbm,
    "digits-mlp.onnx": export_onnx,
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images, digits = load_digits()
    for name, export in EXPORTS.items():
        start = time.perf_counter()
        export(images, digits, folder / name)
        size_kb = (folder / name).stat().st_size / 1024
        print(f"{name:20} {size_kb:6.1f} KB  {time.perf_counter() - start:5.1f} s")
    write_inputs(images, folder)
    print(f"the digit of digit.json is a {digits[TEST_DIGIT]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "quickstart")
