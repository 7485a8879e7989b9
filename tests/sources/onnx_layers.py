"""ONNX layers that nets are made of: recurrence, attention, normalisation, resampling, selection, text features."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.sources.onnx_versions import B, W, X, Y, rows, softmax
from tests.sources.onnx_writing import (
    CLASSIC,
    FLOAT,
    INT64,
    ML,
    NETS,
    QUANTISED,
    STRING,
    Values,
    case,
    floats,
    graph,
    model,
    node,
    text,
    written,
)
from tests.sources.table import Built, Tensors

IMAGE: Values = {"x": (FLOAT, ["n", 4, 3, 3])}


def images(seed: int = 6) -> list[Tensors]:
    return [{"x": x} for x in floats((2, 4, 3, 3), (5, 4, 3, 3), seed=seed)]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def lstm(folder: Path) -> Built:
    """Batch first, as exporters transpose it; the last state goes on."""
    inner, across, bias = floats((1, 12, 4), (1, 12, 3), (1, 24), seed=1)
    made = graph(
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("LSTM", "t w r b", "_ h _", hidden_size=3),
            node("Squeeze", "h zero", "y"),
        ],
        {"x": (FLOAT, ["n", "time", 4])},
        Y,
        {"w": inner, "r": across, "b": bias, "zero": np.array([0])},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        h = c = np.zeros((len(x), 3), np.float32)
        for step in range(x.shape[1]):
            gates = x[:, step] @ inner[0].T + h @ across[0].T + bias[0, :12] + bias[0, 12:]
            i, o, f, g = np.split(gates, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        return {"y": h}

    return written(folder, model(made), formula, *({"x": x} for x in floats((2, 5, 4), (4, 7, 4))))


def gru(folder: Path) -> Built:
    """Both directions, with the reset gate behind the product, as cuDNN and PyTorch have it."""
    inner, across = floats((2, 9, 4), (2, 9, 3), seed=2)
    made = graph(
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("GRU", "t w r", "_ h", hidden_size=3, direction="bidirectional", linear_before_reset=1),
            node("Transpose", "h", "b", perm=[1, 0, 2]),
            node("Flatten", "b", "y"),
        ],
        {"x": (FLOAT, ["n", "time", 4])},
        {"y": (FLOAT, ["n", 6])},
        {"w": inner, "r": across},
    )

    def one(x: np.ndarray, direction: int) -> np.ndarray:
        h = np.zeros((len(x), 3), np.float32)
        for step in range(x.shape[1]):
            z, r, n = np.split(x[:, step] @ inner[direction].T, 3, axis=1)
            hz, hr, hn = np.split(h @ across[direction].T, 3, axis=1)
            update = sigmoid(z + hz)
            h = (1 - update) * np.tanh(n + sigmoid(r + hr) * hn) + update * h
        return h

    return written(
        folder,
        model(made),
        lambda x: {"y": np.concatenate([one(x, 0), one(x[:, ::-1], 1)], 1)},
        *({"x": x} for x in floats((2, 5, 4), (4, 7, 4))),
    )


def attention(folder: Path) -> Built:
    """Attention as one operator of opset 23, with two heads."""
    shape = (FLOAT, ["n", "time", 4])
    made = graph([node("Attention", "x x x", "y", q_num_heads=2, kv_num_heads=2)], {"x": shape}, {"y": shape})

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        heads = x.reshape(*x.shape[:2], 2, 2).transpose(0, 2, 1, 3)
        mixed = softmax(heads @ heads.transpose(0, 1, 3, 2) / np.sqrt(2, dtype=np.float32)) @ heads
        return {"y": mixed.transpose(0, 2, 1, 3).reshape(x.shape)}

    return written(folder, model(made, 23, 11), formula, *({"x": x} for x in floats((2, 5, 4), (4, 7, 4))))


def causal_mask(folder: Path) -> Built:
    """Scores of a sequence with itself, where nothing looks ahead."""
    made = graph(
        [
            node("Einsum", "x x", "s", equation="nik,njk->nij"), node("Shape", "s", "shape"),
            node("ConstantOfShape", "shape", "zeros"), node("Add", "zeros one", "ones"),
            node("Trilu", "ones next", "ahead", upper=1),
            node("Mul", "ahead low", "mask"), node("Add", "s mask", "m"), node("Softmax", "m", "y"),
        ],
        {"x": (FLOAT, ["n", "time", 4])},
        {"y": (FLOAT, ["n", "time", "time"])},
        {"one": np.float32(1), "next": np.array(1), "low": np.float32(-1e9)},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        scores = x @ x.transpose(0, 2, 1)
        return {"y": softmax(scores + np.triu(np.full(scores.shape[1:], -1e9, np.float32), 1))}

    return written(folder, model(made), formula, *({"x": x} for x in floats((2, 5, 4), (4, 7, 4))))


def upscaling(folder: Path) -> Built:
    """A transposed convolution without overlap, then pixels out of channels."""
    kernel = floats((4, 4, 2, 2), seed=3)[0]
    made = graph(
        [node("ConvTranspose", "x k", "u", strides=[2, 2]), node("DepthToSpace", "u", "y", blocksize=2)],
        IMAGE,
        {"y": (FLOAT, ["n", 1, 12, 12])},
        {"k": kernel},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        wide = np.einsum("nkij,kcab->nciajb", x, kernel).reshape(len(x), 4, 6, 6)
        return {"y": wide.reshape(-1, 2, 2, 1, 6, 6).transpose(0, 3, 4, 1, 5, 2).reshape(-1, 1, 12, 12)}

    return written(folder, model(made), formula, *images())


def normalised(folder: Path) -> Built:
    """InstanceNormalization, then GroupNormalization with a scale for each channel (opset 21)."""
    scale, shift = floats((4,), (4,), seed=4)
    made = graph(
        [node("InstanceNormalization", "x s t", "i"), node("GroupNormalization", "i s t", "y", num_groups=2)],
        IMAGE,
        {"y": (FLOAT, ["n", 4, 3, 3])},
        {"s": scale, "t": shift},
    )

    def normal(x: np.ndarray, groups: int) -> np.ndarray:
        wide = x.reshape(len(x), groups, -1)
        wide = (wide - wide.mean(2, keepdims=True)) / np.sqrt(wide.var(2, keepdims=True) + 1e-5)
        return wide.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]

    return written(folder, model(made, 21, 10), lambda x: {"y": normal(normal(x, 4), 2)}, *images())


def pooled(folder: Path) -> Built:
    """Padding, pooling over what is there, and resizing to the nearest."""
    made = graph(
        [
            node("AveragePool", "x", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0),
            node("Resize", "p _ scales", "r", mode="nearest", nearest_mode="floor",
                 coordinate_transformation_mode="asymmetric"),
            node("GlobalMaxPool", "r", "g"), node("Flatten", "g", "y"),
        ],
        IMAGE,
        {"y": (FLOAT, ["n", 4])},
        {"scales": np.array([1, 1, 2, 2], np.float32)},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        def near(array: np.ndarray) -> np.ndarray:
            wide = np.pad(array, ((0, 0), (0, 0), (1, 1), (1, 1)))
            return np.asarray(sum(wide[:, :, i : i + 3, j : j + 3] for i in range(3) for j in range(3)))

        return {"y": (near(x) / near(np.ones_like(x))).max((2, 3))}

    return written(folder, model(made), formula, *images())


def activations(folder: Path) -> Built:
    slope = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    made = graph(
        [node("PRelu", "x s", "p"), node("HardSigmoid", "x", "h"), node("Elu", "x", "e"), node("Sum", "p h e", "a"),
         node("Clip", "a low high", "y")],
        X,
        {"y": (FLOAT, ["n", 4])},
        {"s": slope, "low": np.float32(-0.5), "high": np.float32(1.5)},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        leaky, hard = np.where(x < 0, x * slope, x), np.clip(np.float32(0.2) * x + np.float32(0.5), 0, 1)
        return {"y": np.clip(leaky + hard + np.where(x < 0, np.expm1(x), x), np.float32(-0.5), np.float32(1.5))}

    return written(folder, model(made), formula, *rows())


def best_two(folder: Path) -> Built:
    """TopK: values and places."""
    made = graph(
        [node("Gemm", "x w b", "s"), node("TopK", "s k", "values places")],
        X,
        {"values": (FLOAT, ["n", 2]), "places": (INT64, ["n", 2])},
        {"w": W, "b": B, "k": np.array([2])},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        scores = x @ W + B
        places = np.argsort(-scores, axis=1)[:, :2]
        return {"values": np.take_along_axis(scores, places, 1), "places": places}

    return written(folder, model(made), formula, *rows())


def quantised_at_run_time(folder: Path) -> Built:
    """Dynamic quantisation, as ONNX Runtime's and Hugging Face's tools leave it: the range is that of the whole batch,
    so rows are not independent."""
    weight = np.clip(np.round(W / 0.02), -127, 127).astype(np.int8)
    made = graph(
        [
            node("DynamicQuantizeLinear", "x", "q s z"), node("MatMulInteger", "q w z", "i"),
            node("Cast", "i", "f", to=FLOAT), node("Mul", "s k", "sk"), node("Mul", "f sk", "y"),
        ],
        X,
        Y,
        {"w": weight, "k": np.float32(0.02)},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        low, high = min(np.float32(0), x.min()), max(np.float32(0), x.max())
        scale = np.float32((high - low) / np.float32(255))
        zero = np.rint(np.clip(-low / scale, 0, 255))
        near = np.clip(np.rint(x / scale) + zero, 0, 255) - zero
        return {"y": (near.astype(np.int32) @ weight.astype(np.int32)).astype(np.float32) * (scale * np.float32(0.02))}

    return written(folder, model(made), formula, *rows())


def one_hot(folder: Path) -> Built:
    """Text categories beside numbers, as a fitted ColumnTransformer comes out."""
    made = graph(
        [
            node("OneHotEncoder", "colour", "o", ML, cats_strings=["red", "green", "blue"], zeros=1),
            node("Reshape", "o flat", "c"),
            node("Normalizer", "size", "s", ML, norm="L2"),
            node("FeatureVectorizer", "c s", "f", ML, inputdimensions=[3, 2]),
            node("LinearRegressor", "f", "y", ML, coefficients=[1.0, 2.0, 3.0, 0.5, -0.5], intercepts=[0.25]),
        ],
        {"colour": (STRING, ["n", 1]), "size": (FLOAT, ["n", 2])},
        {"y": (FLOAT, ["n", 1])},
        {"flat": np.array([-1, 3])},
    )

    def formula(colour: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
        weights = {b"red": 1.0, b"green": 2.0, b"blue": 3.0}
        base = np.array([[weights.get(each, 0.0)] for each in colour[:, 0]])
        unit = size / np.sqrt((size * size).sum(1, keepdims=True))
        return {"y": (base + unit @ np.array([[0.5], [-0.5]]) + 0.25).astype(np.float32)}

    inputs = [
        {"colour": text("red", "pink").reshape(-1, 1), "size": floats((2, 2))[0]},
        {"colour": text("blue", "green", "red").reshape(-1, 1), "size": floats((3, 2))[0]},
    ]
    return written(folder, model(made, ai_onnx_ml=1), formula, *inputs)


def word_counts(folder: Path) -> Built:
    """TfIdfVectorizer: how often words and pairs of words stand in a row."""
    made = graph(
        [
            node("TfIdfVectorizer", "words", "y", mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=0,
                 pool_strings=["a", "b", "a", "b"], ngram_counts=[0, 2], ngram_indexes=[0, 1, 2]),
        ],
        {"words": (STRING, ["n", 3])},
        Y,
    )  # fmt: skip

    def formula(words: np.ndarray) -> dict[str, np.ndarray]:
        pairs = [list(pairwise(row)).count((b"a", b"b")) for row in words]
        single = [[list(row).count(b"a"), list(row).count(b"b")] for row in words]
        return {"y": np.column_stack([single, pairs]).astype(np.float32)}

    inputs = [
        {"words": text("a", "b", "a", "c", "a", "b").reshape(2, 3)},
        {"words": text("b", "a", "b", "a", "a", "a", "c", "c", "c").reshape(3, 3)},
    ]
    return written(folder, model(made), formula, *inputs)


CASES = [
    case("lstm", NETS, lstm),
    case("gru-both-directions", NETS, gru),
    case("attention-operator", NETS, attention),
    case("causal-mask", NETS, causal_mask),
    case("transposed-convolution", NETS, upscaling),
    case("instance-and-group-norm", NETS, normalised),
    case("pooling-and-resizing", NETS, pooled),
    case("activations", NETS, activations),
    case("top-k", NETS, best_two),
    case("dynamic-quantisation", QUANTISED, quantised_at_run_time),
    case("one-hot-and-numbers", CLASSIC, one_hot),
    case("word-counts", CLASSIC, word_counts),
]
