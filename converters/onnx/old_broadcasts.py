"""Broadcasting as it was before opset 7: an attribute said on which axis of the first input the second one begins.

onnx 1.23's own adapter looks at trailing axes only and gives up; with the second input's axes spelled out it succeeds.
"""

from __future__ import annotations

import onnx
from onnx import helper

BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", "PRelu")
FIRST_NUMPY_OPSET = 7


def spell_out_axes(model: onnx.ModelProto) -> None:
    """Unsqueezes the second input of each old broadcast, in place, so that its last axis meets the first input's last.

    Nodes whose first input has an unknown number of dimensions stay as they are.
    """
    ranks = _ranks(model)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for place, node in enumerate(nodes):
        axis = _axis(node)
        if axis is not None and node.input[0] in ranks and node.input[1] in ranks:
            first, second = (ranks[name] for name in node.input[:2])
            missing = first - axis % first - second
            if missing > 0:
                wide = f"onegate_broadcast_{place}"
                axes = list(range(second, second + missing))
                model.graph.node.append(helper.make_node("Unsqueeze", [node.input[1]], [wide], axes=axes))
                node.input[1] = wide
            kept = [each for each in node.attribute if each.name != "axis"]
            del node.attribute[:]
            node.attribute.extend(kept)
        model.graph.node.append(node)


def _axis(node: onnx.NodeProto) -> int | None:
    if node.op_type not in BROADCASTING or node.domain not in ("", "ai.onnx"):
        return None
    return next((each.i for each in node.attribute if each.name == "axis"), None)


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Numbers of dimensions. Inference lacks the oldest operators, so it sees a copy with the elementwise ones, which
    keep the shape of their first input, as Identity, and all others in the oldest opset that it knows well."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for node in copy.graph.node:
        if node.op_type in (*BROADCASTING, "Dropout", "BatchNormalization"):
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output[:1]))
    for entry in copy.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = FIRST_NUMPY_OPSET
    inferred = onnx.shape_inference.infer_shapes(copy).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return ranks | {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
