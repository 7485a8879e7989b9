"""CatBoost's JSON model, as `save_model(format="json")` writes it, read into `BoostedModel`.

Features are numeric: CatBoost keeps hashes of categories and dictionaries of texts, which no operator of ONNX makes.
The format: https://catboost.ai/docs/en/concepts/json_model_file
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from converters.boosting.trees import LEAF, BoostedModel, Comparison, Link, Tree
from model_store.errors import ConversionError

LINKS = {
    "Logloss": Link.SIGMOID,
    "CrossEntropy": Link.SIGMOID,
    "MultiClass": Link.SOFTMAX,
    "MultiClassOneVsAll": Link.SIGMOID,
    "MultiLogloss": Link.SIGMOID,
    "MultiCrossEntropy": Link.SIGMOID,
    "Poisson": Link.EXP,
    "Tweedie": Link.EXP,
    "RMSEWithUncertainty": Link.MEAN_AND_VARIANCE,
}
"""Loss -> link, where the score is not the answer."""


def read_catboost(data: bytes, loss: str, labels: np.ndarray | None, threshold: float) -> BoostedModel:
    """The whole model; `threshold` is the probability above which the second of two classes is answered.

    Raises `ConversionError` for a split by anything but a number.
    """
    document = json.loads(data)
    information = document["features_info"]
    floats = {each["feature_index"]: each for each in information["float_features"]}
    columns = {index: int(each["flat_feature_index"]) for index, each in floats.items()}
    # Missing values are below every border or, where told so, above.
    above = {columns[index] for index, each in floats.items() if each.get("nan_value_treatment") == "AsTrue"}
    scale, base = document["scale_and_bias"]
    targets = len(base)
    trees = [_oblivious(tree, columns, targets) for tree in document.get("oblivious_trees", [])]
    trees += [_nested(tree, columns) for tree in document.get("trees", [])]
    return BoostedModel(
        features=max(columns.values()) + 1,
        targets=targets,
        link=LINKS.get(loss, Link.IDENTITY),
        comparison=Comparison.NOT_ABOVE,
        trees=tuple(_finish(tree, above, float(scale)) for tree in trees),
        base=np.array(base, dtype=np.float64),
        labels=labels,
        boundary=float(np.log(threshold) - np.log1p(-threshold)),
    )


Nodes = list[tuple[int, float, int, int, list[float]]]
"""Column (or `LEAF`), border, child at or below it, child above it, the leaf's answer."""


def _border(split: dict[str, Any], columns: dict[int, int]) -> tuple[int, float]:
    if split["split_type"] != "FloatFeature":
        raise ConversionError(f"a CatBoost tree splits by {split['split_type']}, of which ONNX has no operator")
    return columns[int(split["float_feature_index"])], float(split["border"])


def _oblivious(tree: dict[str, Any], columns: dict[int, int], targets: int) -> Nodes:
    """A full binary tree: the first split is the lowest bit of the leaf's number, so it is asked last."""
    borders = [_border(split, columns) for split in reversed(tree.get("splits") or [])]
    nodes: Nodes = []
    for depth, (column, border) in enumerate(borders):
        for _ in range(1 << depth):
            child = 2 * len(nodes) + 1
            nodes.append((column, border, child, child + 1, []))
    values = np.array(tree["leaf_values"], dtype=np.float64).reshape(-1, targets)
    return nodes + [(LEAF, 0.0, LEAF, LEAF, value) for value in values.tolist()]


def _nested(tree: dict[str, Any], columns: dict[int, int]) -> Nodes:
    """Trees of the policies Depthwise and Lossguide, node in node."""
    nodes: Nodes = []
    open_nodes = [(tree, -1, 0)]
    while open_nodes:
        document, parent, side = open_nodes.pop()
        index = len(nodes)
        if parent >= 0:
            column, border, low, high, value = nodes[parent]
            nodes[parent] = (column, border, low if side else index, index if side else high, value)
        if "split" in document:
            nodes.append((*_border(document["split"], columns), LEAF, LEAF, []))
            open_nodes += [(document["right"], index, 1), (document["left"], index, 0)]
        else:
            value = document["value"]
            nodes.append((LEAF, 0.0, LEAF, LEAF, value if isinstance(value, list) else [value]))
    return nodes


def _finish(nodes: Nodes, above: set[int], scale: float) -> Tree:
    feature = np.array([node[0] for node in nodes])
    width = max(len(node[4]) for node in nodes)
    return Tree(
        feature=feature,
        threshold=np.array([node[1] for node in nodes]),
        true_child=np.array([node[2] for node in nodes]),
        false_child=np.array([node[3] for node in nodes]),
        missing_true=~np.isin(feature, list(above)) & (feature != LEAF),
        values=np.array([node[4] or [0.0] * width for node in nodes]) * scale,
    )
