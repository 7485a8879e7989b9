"""Trees as one node of ONNX's TreeEnsembleRegressor (ai.onnx.ml 3).

https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html. A split on categories is a chain of equality
nodes that share their true branch, which ONNX Runtime folds into one test for membership.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from converters.boosting.trees import LEAF, Comparison, Tree
from converters.thresholds import float32_not_above

NEVER = 0.5
"""Equal to no category, as those are whole numbers: the threshold of a node that nothing is a member of."""


def tree_ensemble(
    trees: Sequence[Tree], comparison: Comparison, targets: int, data: str, *, double: bool
) -> onnx.NodeProto:
    """The sum of the leaves, FP32[-1, targets]. `data` is FP64 when `double`, FP32 otherwise; thresholds are then the
    largest float32 not above, which changes no answer."""
    parts = [_unfold(tree) for tree in trees] or [_unfold(Tree.of_one_leaf(np.zeros(targets)))]
    node = onnx.NodeProto(op_type="TreeEnsembleRegressor", domain="ai.onnx.ml", input=[data], output=[""])
    sizes = [len(part.feature) for part in parts]
    _integers(node, "nodes_treeids", np.repeat(np.arange(len(parts)), sizes))
    _integers(node, "nodes_nodeids", np.concatenate([np.arange(size) for size in sizes]))
    features = np.concatenate([part.feature for part in parts])
    inner = features != LEAF
    _integers(node, "nodes_featureids", np.where(inner, features, 0))
    # A leaf may not lead anywhere; 0 is what ONNX Runtime expects there.
    _integers(node, "nodes_truenodeids", np.where(inner, np.concatenate([part.true_child for part in parts]), 0))
    _integers(node, "nodes_falsenodeids", np.where(inner, np.concatenate([part.false_child for part in parts]), 0))
    _integers(node, "nodes_missing_value_tracks_true", np.concatenate([part.missing_true for part in parts]) & inner)
    equal = np.concatenate([part.equal for part in parts])
    _texts(node, "nodes_modes", np.where(equal, "BRANCH_EQ", np.where(inner, comparison.value, "LEAF")))
    thresholds = np.where(inner, np.concatenate([part.threshold for part in parts]), 0.0)
    if not double and comparison is Comparison.NOT_ABOVE:
        thresholds = np.where(equal, thresholds, float32_not_above(thresholds).astype(np.float64))
    _numbers(node, "nodes_values", thresholds, double)
    _votes(node, parts, double)
    node.attribute.append(helper.make_attribute("n_targets", targets))
    return node


class _Part:
    """A tree whose every node is one of ONNX's."""

    def __init__(self, tree: Tree, extra: int) -> None:
        def grown(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array, np.zeros(extra, array.dtype)])

        self.feature = grown(tree.feature)
        self.threshold = grown(tree.threshold)
        self.true_child = grown(tree.true_child)
        self.false_child = grown(tree.false_child)
        self.missing_true = grown(tree.missing_true)
        self.equal = np.zeros(len(self.feature), dtype=bool)
        self.values = tree.values
        self.target = tree.target


def _unfold(tree: Tree) -> _Part:
    part = _Part(tree, sum(max(len(members) - 1, 0) for members in tree.members.values()))
    free = len(tree.feature)
    for node, members in tree.members.items():
        chain = np.array([node, *range(free, free + max(len(members) - 1, 0))])
        free += len(chain) - 1
        part.feature[chain] = tree.feature[node]
        part.threshold[chain] = members if len(members) else NEVER
        part.true_child[chain] = tree.true_child[node]
        part.false_child[chain] = [*chain[1:], tree.false_child[node]]
        part.missing_true[chain] = tree.missing_true[node]
        part.equal[chain] = True
    return part


def _votes(node: onnx.NodeProto, parts: Sequence[_Part], double: bool) -> None:
    tree_ids, node_ids, target_ids, weights = [], [], [], []
    for index, part in enumerate(parts):
        leaves = np.flatnonzero(part.feature[: len(part.values)] == LEAF)
        columns = part.values.shape[1]
        tree_ids.append(np.full(len(leaves) * columns, index))
        node_ids.append(np.repeat(leaves, columns))
        target_ids.append(np.tile(np.arange(part.target, part.target + columns), len(leaves)))
        weights.append(part.values[leaves].ravel())
    _integers(node, "target_treeids", np.concatenate(tree_ids))
    _integers(node, "target_nodeids", np.concatenate(node_ids))
    _integers(node, "target_ids", np.concatenate(target_ids))
    _numbers(node, "target_weights", np.concatenate(weights), double)


# Attributes are filled by hand: `helper.make_node` looks at each of what may be millions of values several times.


def _integers(node: onnx.NodeProto, name: str, values: np.ndarray) -> None:
    node.attribute.add(name=name, type=onnx.AttributeProto.INTS).ints.extend(values.astype(np.int64).tolist())


def _texts(node: onnx.NodeProto, name: str, values: np.ndarray) -> None:
    texts = values.astype("S").tolist()
    node.attribute.add(name=name, type=onnx.AttributeProto.STRINGS).strings.extend(texts)


def _numbers(node: onnx.NodeProto, name: str, values: np.ndarray, double: bool) -> None:
    if double:
        tensor = numpy_helper.from_array(values.astype(np.float64), name)
        node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))
        return
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32).tolist()
    node.attribute.add(name=name, type=onnx.AttributeProto.FLOATS).floats.extend(narrow)
