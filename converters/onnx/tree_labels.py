"""Labels of two-class trees whose leaves weigh both classes.

ONNX Runtime 1.31 answers these with its default positive label (1, or the second text) for every row: it expects the
weights of one class only, as sklearn-onnx writes them. The operator's definition asks for the class with the largest
score, so that is spelled out behind the node. Can go when `_set_score_binary` of its tree kernels looks at both.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from converters.onnx.vetting import describe_attribute


def spell_out_labels(model: onnx.ModelProto) -> None:
    """Replaces the label output of such nodes, in place, by the class of the largest score."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for place, node in enumerate(nodes):
        labels = _labels(node)
        added = [] if labels is None else _largest_of(node, labels, f"onegate_label_{place}")
        model.graph.node.extend((node, *added))


def _labels(node: onnx.NodeProto) -> np.ndarray | None:
    """The classes of a node that needs it."""
    if (node.domain, node.op_type) != ("ai.onnx.ml", "TreeEnsembleClassifier") or not node.output[0]:
        return None
    if len(set(describe_attribute(node, "class_ids") or ())) < 2:
        return None
    numbers = describe_attribute(node, "classlabels_int64s")
    texts = describe_attribute(node, "classlabels_strings")
    labels = np.array(numbers, np.int64) if numbers else np.array(texts or [], dtype=object)
    return labels if len(labels) == 2 else None


def _largest_of(node: onnx.NodeProto, labels: np.ndarray, prefix: str) -> list[onnx.NodeProto]:
    label = node.output[0]
    node.output[0] = f"{prefix}_unused"
    if len(node.output) < 2 or not node.output[1]:
        node.output[:] = [node.output[0], f"{prefix}_scores"]
    classes = numpy_helper.from_array(labels)
    return [
        helper.make_node("Constant", [], [f"{prefix}_classes"], value=classes),
        helper.make_node("ArgMax", [node.output[1]], [f"{prefix}_place"], axis=1, keepdims=0),
        helper.make_node("Gather", [f"{prefix}_classes", f"{prefix}_place"], [label], axis=0),
    ]
