"""The models of the check: a conv net, an encoder of a transformer, and trees, which ONNX Runtime computes on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import build_resnet
from model_store.manifest import Manifest, TensorSpec
from tests.serve.tiny_versions import manifest

SEED = 7
WIDTH, TOKENS, HEADS, BLOCKS = 256, 64, 4, 4
TREES, DEPTH, COLUMNS = 200, 6, 16


def conv(folder: Path) -> Manifest:
    """ResNet-18: FP32[-1,3,224,224] -> FP32[-1,1000]."""
    build_resnet(folder).path.rename(folder / "model.onnx")
    return _described("conv", (3, 224, 224), (1000,))


def transformer(folder: Path) -> Manifest:
    """Four blocks of an encoder: FP32[-1,64,256] -> FP32[-1,64,256]."""
    random = np.random.default_rng(SEED)
    nodes: list[Any] = []
    weights: list[Any] = []

    def node(operator: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [f"n{len(nodes)}"], **attributes))
        return f"n{len(nodes) - 1}"

    def constant(values: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values), f"w{len(weights)}"))
        return f"w{len(weights) - 1}"

    def dense(x: str, columns: int, width: int) -> str:
        drawn = random.standard_normal((columns, width)).astype(np.float32) / np.float32(np.sqrt(columns))
        return node("MatMul", x, constant(drawn))

    def heads(x: str, order: list[int]) -> str:
        shape = constant(np.array([0, TOKENS, HEADS, WIDTH // HEADS], np.int64))
        return node("Transpose", node("Reshape", x, shape), perm=order)

    def normed(x: str) -> str:
        ones, zeros = constant(np.ones(WIDTH, np.float32)), constant(np.zeros(WIDTH, np.float32))
        return node("LayerNormalization", x, ones, zeros, axis=-1)

    x = "x"
    for _ in range(BLOCKS):
        inner = normed(x)
        query = heads(dense(inner, WIDTH, WIDTH), [0, 2, 1, 3])
        key = heads(dense(inner, WIDTH, WIDTH), [0, 2, 3, 1])
        value = heads(dense(inner, WIDTH, WIDTH), [0, 2, 1, 3])
        scores = node("Mul", node("MatMul", query, key), constant(np.float32(1 / np.sqrt(WIDTH // HEADS))))
        mixed = node("Transpose", node("MatMul", node("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
        joined = node("Reshape", mixed, constant(np.array([0, TOKENS, WIDTH], np.int64)))
        x = node("Add", x, dense(joined, WIDTH, WIDTH))
        x = node("Add", x, dense(node("Relu", dense(normed(x), WIDTH, 4 * WIDTH)), 4 * WIDTH, WIDTH))
    nodes.append(helper.make_node("Identity", [x], ["y"]))
    return _saved(folder, "transformer", nodes, weights, (TOKENS, WIDTH), (TOKENS, WIDTH))


def trees(folder: Path) -> Manifest:
    """200 full trees of depth 6: FP32[-1,16] -> FP32[-1,1]."""
    random = np.random.default_rng(SEED)
    inner, total = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    ids = [number for _ in range(TREES) for number in range(total)]
    branch = [number < inner for number in ids]
    tree = [each for each in range(TREES) for _ in range(total)]
    leaves = [place for place, inside in enumerate(branch) if not inside]
    forest = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=tree,
        nodes_nodeids=ids,
        nodes_featureids=[int(each) for each in random.integers(0, COLUMNS, len(ids))],
        nodes_values=[float(each) for each in random.standard_normal(len(ids)).astype(np.float32)],
        nodes_modes=["BRANCH_LEQ" if inside else "LEAF" for inside in branch],
        nodes_truenodeids=[2 * number + 1 if inside else 0 for number, inside in zip(ids, branch, strict=True)],
        nodes_falsenodeids=[2 * number + 2 if inside else 0 for number, inside in zip(ids, branch, strict=True)],
        target_treeids=[tree[place] for place in leaves],
        target_nodeids=[ids[place] for place in leaves],
        target_ids=[0] * len(leaves),
        target_weights=[float(each) for each in random.standard_normal(len(leaves)).astype(np.float32)],
    )
    return _saved(folder, "trees", [forest], [], (COLUMNS,), (1,))


MODELS: dict[str, Callable[[Path], Manifest]] = {"conv": conv, "transformer": transformer, "trees": trees}
"""Name -> what writes `model.onnx` into a folder and describes it."""


def _saved(
    folder: Path, name: str, nodes: list[Any], weights: list[Any], row_in: tuple[int, ...], row_out: tuple[int, ...]
) -> Manifest:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *row_in])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *row_out])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "model.onnx")
    return _described(name, row_in, row_out)


def _described(name: str, row_in: tuple[int, ...], row_out: tuple[int, ...]) -> Manifest:
    inputs, outputs = TensorSpec("x", "FP32", (-1, *row_in)), TensorSpec("y", "FP32", (-1, *row_out))
    return manifest(name, 1, [inputs], [outputs])
