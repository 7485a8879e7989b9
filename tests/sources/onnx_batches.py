"""ONNX files that were exported for one batch only, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tests.sources.onnx_versions import B, W, rows, softmax
from tests.sources.onnx_writing import FLOAT, INT64, case, floats, graph, model, node, written
from tests.sources.table import Built


def frozen_image(folder: Path) -> Built:
    """Batch 1: a convolution, then a Reshape to a constant shape."""
    kernel, weight = floats((2, 1, 2, 2), (8, 3), seed=2)
    made = graph(
        [node("Conv", "x k", "c", strides=[2, 2]), node("Relu", "c", "r"), node("Reshape", "r t", "f"),
         node("Gemm", "f w b", "y")],
        {"x": (FLOAT, [1, 1, 4, 4])},
        {"y": (FLOAT, [1, 3])},
        {"k": kernel, "t": np.array([1, 8]), "w": weight, "b": B},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        patches = x.reshape(-1, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 2, 2, 4)
        maps = np.einsum("nhwp,cp->nchw", patches, kernel.reshape(2, 4))
        return {"y": np.maximum(maps, 0).reshape(-1, 8) @ weight + B}

    return written(folder, model(made), formula, *({"x": x} for x in floats((1, 1, 4, 4), (5, 1, 4, 4))))


def frozen_attention(folder: Path) -> Built:
    """Batch 1: a class token is put before the sequence, and heads are made by reshapes."""
    token, place = floats((1, 1, 4), (1, 4, 4), seed=3)
    made = graph(
        [
            node("Concat", "token x", "s", axis=1), node("Add", "s place", "p"),
            node("Reshape", "p heads", "h"), node("Transpose", "h", "q", perm=[0, 2, 1, 3]),
            node("Transpose", "h", "k", perm=[0, 2, 3, 1]), node("MatMul", "q k", "a"),
            node("Softmax", "a", "w", axis=-1), node("MatMul", "w q", "v"),
            node("Transpose", "v", "o", perm=[0, 2, 1, 3]), node("Reshape", "o flat", "f"),
            node("Gather", "f zero", "y", axis=1),
        ],
        {"x": (FLOAT, [1, 3, 4])},
        {"y": (FLOAT, [1, 4])},
        {"token": token, "place": place, "heads": np.array([1, 4, 2, 2]), "flat": np.array([1, 4, -1]),
         "zero": np.array(0)},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        sequence = np.concatenate([np.repeat(token, len(x), 0), x], 1) + place
        heads = sequence.reshape(-1, 4, 2, 2).transpose(0, 2, 1, 3)
        mixed = softmax(heads @ heads.transpose(0, 1, 3, 2)) @ heads
        return {"y": mixed.transpose(0, 2, 1, 3).reshape(-1, 4, 4)[:, 0]}

    return written(folder, model(made), formula, *({"x": x} for x in floats((1, 3, 4), (5, 3, 4))))


def frozen_recurrence(folder: Path) -> Built:
    """Batch 4: an RNN whose first state is a constant of four rows."""
    inner, across = floats((1, 3, 2), (1, 3, 3), seed=4)
    made = graph(
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("RNN", "t i r _ _ first", "_ last", hidden_size=3),
            node("Reshape", "last shape", "y"),
        ],
        {"x": (FLOAT, [4, 5, 2])},
        {"y": (FLOAT, [4, 3])},
        {"i": inner, "r": across, "first": np.full((1, 4, 3), 0.1, np.float32), "shape": np.array([4, 3])},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        state = np.full((len(x), 3), 0.1, np.float32)
        for step in range(5):
            state = np.tanh(x[:, step] @ inner[0].T + state @ across[0].T)
        return {"y": state}

    return written(folder, model(made), formula, *({"x": x} for x in floats((4, 5, 2), (6, 5, 2))))


def frozen_loop(folder: Path) -> Built:
    """Batch 4: the state of a Loop begins as a constant."""
    body = graph(
        [node("Add", "state x", "next"), node("Identity", "go_on", "still")],
        {"step": (INT64, []), "go_on": (TensorProto.BOOL, []), "state": (FLOAT, [4, 4])},
        {"still": (TensorProto.BOOL, []), "next": (FLOAT, [4, 4])},
    )
    weights = {"three": np.array(3), "zeros": np.zeros((4, 4), np.float32)}
    nodes = [node("Loop", "three _ zeros", "y", body=body)]
    made = graph(nodes, {"x": (FLOAT, [4, 4])}, {"y": (FLOAT, [4, 4])}, weights)
    return written(folder, model(made), lambda x: {"y": 3 * x}, *({"x": x} for x in floats((4, 4), (3, 4))))


def split_batch(folder: Path) -> Built:
    """Batch 2, taken apart row by row and joined again: no graph of any batch, but padding serves it."""
    made = graph(
        [
            node("Split", "x", "one two", axis=0, num_outputs=2),
            node("MatMul", "one w", "a"), node("MatMul", "two w", "b"), node("Concat", "a b", "y", axis=0),
        ],
        {"x": (FLOAT, [2, 4])},
        {"y": (FLOAT, [2, 3])},
        {"w": W},
    )  # fmt: skip
    return written(folder, model(made), lambda x: {"y": x @ W}, *rows())


def mixing_rows(folder: Path) -> Built:
    """Batch 4, and each row is seen against the mean of all: served at this batch only, and never merged."""
    made = graph(
        [node("ReduceMean", "x axes", "m", keepdims=1), node("Sub", "x m", "y")],
        {"x": (FLOAT, [4, 3])},
        {"y": (FLOAT, [4, 3])},
        {"axes": np.array([0])},
    )
    return written(folder, model(made), lambda x: {"y": x - x.mean(0)}, *({"x": x} for x in floats((4, 3), (4, 3))))


def custom_operator(folder: Path) -> Built:
    made = graph([node("Fancy", "x", "y", "my.ops")], {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])})
    return written(folder, model(made, my_ops=1), lambda x: {})


def sequence_output(folder: Path) -> Built:
    made = graph([node("SplitToSequence", "x", "parts", axis=1)], {"x": (FLOAT, ["n", 4])}, {})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    made.output.append(helper.make_value_info("parts", kind))
    return written(folder, model(made), lambda x: {})


def training_dropout(folder: Path) -> Built:
    made = graph(
        [node("Dropout", "x ratio training", "y", name="/drop")],
        {"x": (FLOAT, ["n", 4])},
        {"y": (FLOAT, ["n", 4])},
        {"ratio": np.float32(0.5), "training": np.array(True)},
    )
    return written(folder, model(made), lambda x: {})


FROZEN = "Exported for one batch"
REFUSED = "Refused"

CASES = [
    case("frozen-image", FROZEN, frozen_image),
    case("frozen-attention", FROZEN, frozen_attention),
    case("frozen-recurrence", FROZEN, frozen_recurrence),
    case("frozen-loop", FROZEN, frozen_loop),
    case("split-batch", FROZEN, split_batch),
    case("mixing-rows", FROZEN, mixing_rows),
    case(
        "custom-operator",
        REFUSED,
        custom_operator,
        refused=r"custom domains, which ONNX Runtime does not have: my\.ops\.Fancy; export the model with ONNX's own",
        remark="operators of custom domains: export with ONNX's own operators, or carry them as functions in the model",
    ),
    case(
        "sequence-output",
        REFUSED,
        sequence_output,
        refused="output 'parts' is a sequence, and tensors are served",
        remark="sequences, maps and optionals as inputs or outputs (ZipMap is removed): end the model with tensors",
    ),
    case(
        "training-dropout",
        REFUSED,
        training_dropout,
        refused=r"exported in training mode \(Dropout '/drop'\): export it for inference",
        remark="exported in training mode: export after eval()",
    ),
]
