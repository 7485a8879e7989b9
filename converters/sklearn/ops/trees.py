"""Decision trees and the forests made of them.

scikit-learn's trees round their input to float32 and compare with float64 thresholds. `TreeEnsembleRegressor` finds
the leaf of every tree, with thresholds lowered to float32 (the same decision for every float32); what the leaves hold
is then taken from a float64 table, as the operator itself adds in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import remembers, translates
from converters.thresholds import float32_not_above

TREES_OF_CLASSES = ("DecisionTreeClassifier", "ExtraTreeClassifier")
TREES_OF_NUMBERS = ("DecisionTreeRegressor", "ExtraTreeRegressor")
FORESTS_OF_CLASSES = ("RandomForestClassifier", "ExtraTreesClassifier")
FORESTS_OF_NUMBERS = ("RandomForestRegressor", "ExtraTreesRegressor")


@dataclass(frozen=True)
class Nodes:
    """One tree as arrays over its nodes: rows with `x[feature] <= threshold` go left."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    is_leaf: np.ndarray

    @classmethod
    def of(cls, tree: Any, features: Sequence[int] | None = None) -> Nodes:
        """A fitted `Tree`; `features` says which columns its own stand for."""
        is_leaf = tree.children_left == -1
        feature = np.where(is_leaf, 0, tree.feature)
        if features is not None:
            feature = np.asarray(features)[feature]
        missing = np.asarray(getattr(tree, "missing_go_to_left", np.zeros(len(feature)))).astype(bool)
        return cls(tree.children_left, tree.children_right, feature, tree.threshold, missing, is_leaf)


def leaves(g: Graph, trees: Sequence[Nodes], x: Value, *, exact: bool = False) -> Value:
    """The leaf that each tree leads a row to, int64[N, trees], counted over the leaves of all trees together.

    With `exact` the input is compared as float64, else as float32, as scikit-learn's own trees do.
    """
    counts = [int(tree.is_leaf.sum()) for tree in trees]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    x = x if exact else x.cast(np.float32)
    places = g.op(
        "TreeEnsembleRegressor",
        x,
        dtype=np.float32,
        domain="ai.onnx.ml",
        n_targets=len(trees),
        post_transform="NONE",
        aggregate_function="SUM",
        **_attributes(trees, np.float64 if exact else np.float32),
    )
    return places.cast(np.int64) + offsets[None]


def _attributes(trees: Sequence[Nodes], dtype: Any) -> dict[str, Any]:
    sizes = [len(tree.left) for tree in trees]
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    is_leaf = np.concatenate([tree.is_leaf for tree in trees])
    thresholds = np.concatenate([np.where(tree.is_leaf, 0.0, tree.threshold) for tree in trees])
    # An infinite threshold (only missing values go right) must stay above every number.
    values = thresholds if dtype is np.float64 else float32_not_above(np.clip(thresholds, -3.4e38, 3.4028235e38))
    ranks = np.concatenate([np.cumsum(tree.is_leaf)[tree.is_leaf] - 1 for tree in trees])
    attributes = {
        "nodes_treeids": tree_ids,
        "nodes_nodeids": node_ids,
        "nodes_featureids": np.concatenate([np.where(tree.is_leaf, 0, tree.feature) for tree in trees]),
        "nodes_truenodeids": np.concatenate([np.where(tree.is_leaf, 0, tree.left) for tree in trees]),
        "nodes_falsenodeids": np.concatenate([np.where(tree.is_leaf, 0, tree.right) for tree in trees]),
        "nodes_missing_value_tracks_true": np.concatenate([tree.missing_left for tree in trees]).astype(int),
        "target_treeids": tree_ids[is_leaf],
        "target_nodeids": node_ids[is_leaf],
        "target_ids": tree_ids[is_leaf],
    }
    found: dict[str, Any] = {name: [int(value) for value in array] for name, array in attributes.items()}
    found["nodes_modes"] = ["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf]
    if dtype is np.float64:
        found["nodes_values_as_tensor"] = onnx.numpy_helper.from_array(values.astype(dtype), "thresholds")
        found["target_weights_as_tensor"] = onnx.numpy_helper.from_array(ranks.astype(dtype), "leaves")
    else:
        found["nodes_values"] = [float(value) for value in values]
        found["target_weights"] = [float(value) for value in ranks]
    return found


def leaf_table(trees: Sequence[Nodes], values: Sequence[np.ndarray]) -> np.ndarray:
    """What the leaves of all trees hold, in the order that `leaves` counts them; `values`: one row a node."""
    return np.concatenate([each[tree.is_leaf] for tree, each in zip(trees, values, strict=True)]).astype(np.float64)


def tree_values(
    g: Graph, estimators: Sequence[Any], x: Value, features: Sequence[Sequence[int]] | None = None
) -> Value:
    """`tree_.predict` of every estimator, float64[N, trees, outputs x largest number of classes]."""
    nodes = [
        Nodes.of(each.tree_, None if features is None else features[index]) for index, each in enumerate(estimators)
    ]
    held = [each.tree_.value.reshape(each.tree_.node_count, -1) for each in estimators]
    return g.constant(leaf_table(nodes, held)).take(leaves(g, nodes, x), axis=0)


def _split_outputs(value: Value, est: Any) -> list[Value]:
    """One matrix of probabilities for each output of a tree's or forest's values."""
    counts = np.atleast_1d(est.n_classes_)
    width = int(counts.max())
    return [
        value if est.n_outputs_ == 1 else value.take(np.arange(count) + index * width)
        for index, count in enumerate(counts)
    ]


@remembers
def class_values(g: Graph, est: Any, x: Value) -> list[Value]:
    """Probabilities of each output: of the tree, or the mean over the trees of a forest."""
    trees = getattr(est, "estimators_", None) or [est]
    values = tree_values(g, trees, x)
    mean = values.sum(axis=1, keepdims=False) / float(len(trees)) if len(trees) > 1 else values.squeeze(1)
    return _split_outputs(mean, est)


@translates("predict_proba", *TREES_OF_CLASSES, *FORESTS_OF_CLASSES)
def _tree_probabilities(g: Graph, est: Any, x: Value) -> Any:
    parts = class_values(g, est, x)
    return parts[0] if est.n_outputs_ == 1 else parts


@translates("predict", *TREES_OF_CLASSES, *FORESTS_OF_CLASSES)
def _predict_tree_class(g: Graph, est: Any, x: Value) -> Value:
    parts = class_values(g, est, x)
    if est.n_outputs_ == 1:
        return g.labels(est.classes_, parts[0].argmax())
    columns = [g.labels(classes, part.argmax()) for classes, part in zip(est.classes_, parts, strict=True)]
    return g.concat([column.reshape(-1, 1) for column in columns])


@translates("predict", *TREES_OF_NUMBERS, *FORESTS_OF_NUMBERS)
def _predict_tree_number(g: Graph, est: Any, x: Value) -> Value:
    trees = getattr(est, "estimators_", None) or [est]
    values = tree_values(g, trees, x)
    return values.sum(axis=1, keepdims=False) / float(len(trees)) if len(trees) > 1 else values.squeeze(1)


@translates("transform", "RandomTreesEmbedding")
def transform_embedding(g: Graph, est: Any, x: Value) -> Value:
    """One column for each leaf that the training data reached, 1 where the row ends there."""
    nodes = [Nodes.of(each.tree_) for each in est.estimators_]
    ends = leaves(g, nodes, x)
    encoder = est.one_hot_encoder_
    tree_of = np.repeat(np.arange(len(nodes)), [len(known) for known in encoder.categories_])
    first = np.concatenate([[0], np.cumsum([tree.is_leaf.sum() for tree in nodes])[:-1]])
    rank = [np.cumsum(tree.is_leaf) - 1 for tree in nodes]
    wanted = np.concatenate(
        [first[index] + rank[index][known.astype(int)] for index, known in enumerate(encoder.categories_)]
    )
    return ends.take(tree_of).equals(wanted.astype(np.int64)[None]).double()
