"""ONNX operators of all domains: quantised graphs, classic models, text, control flow, functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from tests.sources.onnx_versions import B, W, X, Y, rows, softmax
from tests.sources.onnx_writing import (
    BOOL,
    CLASSIC,
    CONTROL,
    FLOAT,
    INT64,
    ML,
    NETS,
    QUANTISED,
    STRING,
    case,
    floats,
    graph,
    model,
    node,
    text,
    written,
)
from tests.sources.table import Built

QW = np.clip(np.round(W / 0.02), -127, 127).astype(np.int8)
"""The weight at a scale of 0.02."""


def rounded(x: np.ndarray, scale: float, zero: int = 128) -> np.ndarray:
    """float32 -> uint8 as QuantizeLinear has it: halves go to the even neighbour."""
    return np.asarray(np.clip(np.rint(x / np.float32(scale)) + zero, 0, 255).astype(np.uint8))


def qdq(folder: Path) -> Built:
    """QuantizeLinear/DequantizeLinear pairs around a product, as quantisation-aware training exports them."""
    made = graph(
        [
            node("QuantizeLinear", "x sx zx", "qx"),
            node("DequantizeLinear", "qx sx zx", "dx"),
            node("DequantizeLinear", "qw sw", "dw"),
            node("MatMul", "dx dw", "y"),
        ],
        X,
        Y,
        {"sx": np.float32(0.03), "zx": np.uint8(128), "qw": QW, "sw": np.float32(0.02)},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        near = (rounded(x, 0.03).astype(np.float32) - 128) * np.float32(0.03)
        return {"y": near @ (QW.astype(np.float32) * np.float32(0.02))}

    return written(folder, model(made), formula, *rows())


def integer_product(folder: Path) -> Built:
    """Quantised operators: int8 all through, from QuantizeLinear to DequantizeLinear."""
    made = graph(
        [
            node("QuantizeLinear", "x sx zx", "qx"),
            node("MatMulInteger", "qx qw zx", "i"),
            node("Cast", "i", "f", to=FLOAT),
            node("Mul", "f s", "y"),
        ],
        X,
        Y,
        {"sx": np.float32(0.03), "zx": np.uint8(128), "qw": QW, "s": np.float32(0.0006)},
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        product = (rounded(x, 0.03).astype(np.int32) - 128) @ QW.astype(np.int32)
        return {"y": product.astype(np.float32) * np.float32(0.0006)}

    return written(folder, model(made), formula, *rows())


def int4_weight(folder: Path) -> Built:
    """A weight of four bits, as exporters of language models write it."""
    four = np.clip(np.round(W / 0.3), -8, 7).astype(np.int8)
    made = graph([node("DequantizeLinear", "w s", "d"), node("MatMul", "x d", "y")], X, Y, {"s": np.float32(0.3)})
    made.initializer.append(helper.make_tensor("w", TensorProto.INT4, four.shape, four.ravel()))
    return written(
        folder, model(made, 21, 10), lambda x: {"y": x @ (four.astype(np.float32) * np.float32(0.3))}, *rows()
    )


def contributed(folder: Path) -> Built:
    """Operators of com.microsoft, as ONNX Runtime's own tools leave them."""
    domain = "com.microsoft"
    nodes = [node("FusedMatMul", "x w", "h", domain, alpha=0.5), node("QuickGelu", "h", "y", domain)]
    made = graph(nodes, X, Y, {"w": W})

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        hidden = np.float32(0.5) * (x @ W)
        return {"y": hidden / (1 + np.exp(-1.702 * hidden)).astype(np.float32)}

    return written(folder, model(made, com_microsoft=1), formula, *rows())


def functions(folder: Path) -> Built:
    """A domain of the model's own, with its operator as a function in the file."""
    proto = model(graph([node("Scaled", "x w", "y", "my.layers")], X, Y, {"w": W}), my_layers=1)
    body = [
        helper.make_node("Constant", [], ["two"], value=helper.make_tensor("v", FLOAT, [], [2.0])),
        node("MatMul", "a b", "h"),
        node("Mul", "h two", "c"),
    ]
    imports = [helper.make_opsetid("", 18)]
    proto.functions.append(helper.make_function("my.layers", "Scaled", ["a", "b"], ["c"], body, imports))
    return written(folder, proto, lambda x: {"y": x @ W * 2}, *rows())


def branches(folder: Path) -> Built:
    """If: what is computed depends on a flag of the request."""
    then = graph([node("MatMul", "x w", "a")], {}, {"a": (FLOAT, ["n", 3])})
    other = graph([node("Add", "zeros b", "c")], {}, {"c": (FLOAT, ["n", 3])})
    made = graph(
        [
            node("MatMul", "x w", "h"),
            node("Mul", "h zero", "zeros"),
            node("ReduceMax", "flag axes", "any", keepdims=0),
            node("Cast", "any", "condition", to=BOOL),
            node("If", "condition", "y", then_branch=then, else_branch=other),
        ],
        {**X, "flag": (INT64, ["n"])},
        Y,
        {"w": W, "b": B, "zero": np.float32(0), "axes": np.array([0])},
    )

    def formula(x: np.ndarray, flag: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": x @ W if flag.max() else np.zeros((len(x), 3), np.float32) + B}

    (one, two), (three,) = floats((2, 4), (5, 4)), floats((2, 4), seed=4)
    inputs = [
        {"x": one, "flag": np.array([1, 0])},
        {"x": two, "flag": np.zeros(5, np.int64)},
        {"x": three, "flag": np.zeros(2, np.int64)},
    ]
    return written(folder, model(made), formula, *inputs)


def loop(folder: Path) -> Built:
    """Loop: three steps of a recurrence."""
    body = graph(
        [node("MatMul", "state m", "p"), node("Tanh", "p", "next"), node("Identity", "go_on", "still")],
        {"step": (INT64, []), "go_on": (BOOL, []), "state": (FLOAT, ["n", 4])},
        {"still": (BOOL, []), "next": (FLOAT, ["n", 4])},
    )
    matrix = floats((4, 4), seed=7)[0]
    weights = {"three": np.array(3), "m": matrix}
    made = graph([node("Loop", "three _ x", "y", body=body)], X, {"y": (FLOAT, ["n", 4])}, weights)

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        for _ in range(3):
            x = np.tanh(x @ matrix)
        return {"y": x}

    return written(folder, model(made), formula, *rows())


def scan(folder: Path) -> Built:
    """Scan: a running sum along time."""
    body = graph(
        [node("Add", "total item", "sum"), node("Identity", "sum", "out")],
        {"total": (FLOAT, ["n"]), "item": (FLOAT, ["n"])},
        {"sum": (FLOAT, ["n"]), "out": (FLOAT, ["n"])},
    )
    made = graph(
        [
            node("ReduceSum", "x one", "s", keepdims=0),
            node("Mul", "s zero", "z"),
            node("Scan", "z x", "last y", body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1]),
        ],
        X,
        {"y": (FLOAT, ["n", 4]), "last": (FLOAT, ["n"])},
        {"one": np.array([1]), "zero": np.float32(0)},
    )
    return written(folder, model(made), lambda x: {"y": x.cumsum(1), "last": x.sum(1)}, *rows())


def embedding(folder: Path) -> Built:
    """Token ids and a mask: the mean of the embeddings that count."""
    table = floats((50, 6), seed=2)[0]
    made = graph(
        [
            node("Gather", "table input_ids", "e"),
            node("Cast", "attention_mask", "m", to=FLOAT),
            node("Unsqueeze", "m last", "mm"),
            node("Mul", "e mm", "em"),
            node("ReduceSum", "em one", "s", keepdims=0),
            node("ReduceSum", "mm one", "c", keepdims=0),
            node("Max", "c least", "cc"),
            node("Div", "s cc", "y"),
        ],
        {"input_ids": (INT64, ["n", "t"]), "attention_mask": (INT64, ["n", "t"])},
        {"y": (FLOAT, ["n", 6])},
        {"table": table, "last": np.array([-1]), "one": np.array([1]), "least": np.float32(1)},
    )

    def formula(ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        kept = mask[..., None].astype(np.float32)
        return {"y": (table[ids] * kept).sum(1) / np.maximum(kept.sum(1), 1)}

    generator = np.random.default_rng(0)
    inputs = [
        {"input_ids": generator.integers(0, 50, (n, t)), "attention_mask": generator.integers(0, 2, (n, t))}
        for n, t in ((2, 7), (3, 4))
    ]
    return written(folder, model(made), formula, *inputs)


def forest(folder: Path) -> Built:
    """A tree with a ZipMap behind it, as sklearn-onnx writes classifiers unless told otherwise."""
    tree = node(
        "TreeEnsembleClassifier", "x", "label scores", ML,
        classlabels_int64s=[3, 7], post_transform="NONE",
        nodes_treeids=[0] * 3, nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        class_treeids=[0] * 4, class_nodeids=[1, 1, 2, 2], class_ids=[0, 1, 0, 1], class_weights=[0.9, 0.1, 0.2, 0.8],
    )  # fmt: skip
    zip_map = node("ZipMap", "scores", "output_probability", ML, classlabels_int64s=[3, 7])
    made = graph([tree, zip_map], X, {"label": (INT64, ["n"])})
    made.output.append(
        helper.make_value_info(
            "output_probability",
            helper.make_sequence_type_proto(
                helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
            ),
        )
    )

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        scores = np.where((x[:, 1] <= 0.5)[:, None], [0.9, 0.1], [0.2, 0.8]).astype(np.float32)
        return {"label": np.where(x[:, 1] <= 0.5, 3, 7), "output_probability": scores}

    return written(folder, model(made, ai_onnx_ml=3), formula, *rows())


def text_labels(folder: Path) -> Built:
    """A linear classifier whose classes are words."""
    made = graph(
        [
            node("LinearClassifier", "x", "label scores", ML, coefficients=W.T.ravel().tolist(), intercepts=B.tolist(),
                 classlabels_strings=["ant", "bee", "cat"], multi_class=1, post_transform="SOFTMAX"),
        ],
        X,
        {"label": (STRING, ["n"]), "scores": (FLOAT, ["n", 3])},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        scores = softmax(x @ W + B)
        return {"label": text(*np.array(["ant", "bee", "cat"])[scores.argmax(1)]), "scores": scores}

    return written(folder, model(made, ai_onnx_ml=1), formula, *rows())


def categories(folder: Path) -> Built:
    """Text in: categories become numbers, unknown ones -1."""
    mapping = {"keys_strings": ["red", "green"], "values_int64s": [10, 20], "default_int64": -1}
    encoder = node("LabelEncoder", "colour", "code", ML, **mapping)
    made = graph([encoder], {"colour": (STRING, ["n", 1])}, {"code": (INT64, ["n", 1])})
    inputs = [{"colour": text(*words).reshape(-1, 1)} for words in (("red", "blue"), ("green", "red", "green"))]
    known = {b"red": 10, b"green": 20}
    return written(
        folder,
        model(made, ai_onnx_ml=2),
        lambda colour: {"code": np.array([[known.get(each, -1)] for each in colour[:, 0]])},
        *inputs,
    )


def words(folder: Path) -> Built:
    """Text in and out."""
    made = graph(
        [node("StringConcat", "first last", "name")],
        {"first": (STRING, ["n"]), "last": (STRING, ["n"])},
        {"name": (STRING, ["n"])},
    )
    inputs = [
        {"first": text("a", "b"), "last": text("x", "y")},
        {"first": text("p", "", "é"), "last": text("q", "r", "")},
    ]

    def formula(first: np.ndarray, last: np.ndarray) -> dict[str, np.ndarray]:
        return {"name": first + last}

    return written(folder, model(made, 20), formula, *inputs)


def support_vectors(folder: Path) -> Built:
    vectors, weights = floats((3, 4), (3,), seed=9)
    made = graph(
        [
            node("Scaler", "x", "s", ML, offset=[0.5, 0.0, 0.0, 0.0], scale=[2.0, 1.0, 1.0, 1.0]),
            node("SVMRegressor", "s", "y", ML, kernel_type="RBF", kernel_params=[0.3, 0.0, 3.0], n_supports=3,
                 support_vectors=vectors.ravel().tolist(), coefficients=weights.tolist(), rho=[0.25]),
        ],
        X,
        {"y": (FLOAT, ["n", 1])},
    )  # fmt: skip

    def formula(x: np.ndarray) -> dict[str, np.ndarray]:
        scaled = (x - np.array([0.5, 0, 0, 0], np.float32)) * np.array([2, 1, 1, 1], np.float32)
        distance = ((scaled[:, None] - vectors) ** 2).sum(2)
        return {"y": (np.exp(-0.3 * distance) @ weights + 0.25).astype(np.float32)[:, None]}

    return written(folder, model(made, ai_onnx_ml=1), formula, *rows())


CASES = [
    case("qdq", QUANTISED, qdq),
    case("matmul-integer", QUANTISED, integer_product),
    case("int4-weight", QUANTISED, int4_weight),
    case("com-microsoft", NETS, contributed),
    case("embedding-with-mask", NETS, embedding),
    case("functions", CONTROL, functions),
    case("if", CONTROL, branches),
    case("loop", CONTROL, loop),
    case("scan", CONTROL, scan),
    case("tree-with-zipmap", CLASSIC, forest),
    case("classes-of-text", CLASSIC, text_labels),
    case("categories", CLASSIC, categories),
    case("text-in-and-out", CLASSIC, words),
    case("support-vectors", CLASSIC, support_vectors),
]
