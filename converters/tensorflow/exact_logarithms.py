"""A second try for graphs that are very sensitive to their logarithms, as those that bring log spectra to unit range.

ONNX Runtime 1.31 rounds `Log` of one and the same number differently by its place in the tensor (vector lanes and the
rest after them). Where silence gives one constant, which is then divided by its own spread, that noise becomes the
answer. Logarithms in double precision, rounded once, are the same everywhere; they cost a little time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.base import Conversion
from converters.tensorflow.onnx_files import save_graph


def with_exact_logarithms(conversion: Conversion, folder: Path) -> Conversion | None:
    """The conversion with its files rewritten into `folder`; None where no graph takes a logarithm."""
    import onnx

    entries = (conversion, *conversion.others)
    models = {path: onnx.load(path) for path in dict.fromkeys(each.model for each in entries)}
    if not sum(_rewrite(model) for model in models.values()):
        return None
    saved = {path: save_graph(model, folder / path.name) for path, model in models.items()}
    first, *others = (replace(each, model=saved[each.model], others=()) for each in entries)
    return replace(first, others=tuple(others))


def divides_by_spread(conversion: Conversion) -> bool:
    """Whether the graph looks for smallest values after taking logarithms, as bringing to unit range does."""
    import onnx

    operators = [node.op_type for node in onnx.load(conversion.model, load_external_data=False).graph.node]
    return "Log" in operators and "ReduceMin" in operators[operators.index("Log") :]


def _rewrite(model: Any) -> int:
    """Puts casts to double and back around every float `Log` of the main graph; returns how many there were."""
    import onnx

    floats = {value.name for value in _values(model) if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    nodes, count = [], 0
    for node in model.graph.node:
        if node.op_type != "Log" or node.domain or node.output[0] not in floats:
            nodes.append(node)
            continue
        wide, exact, output = f"{node.output[0]}__wide", f"{node.output[0]}__exact", node.output[0]
        nodes += [
            onnx.helper.make_node("Cast", [node.input[0]], [wide], to=onnx.TensorProto.DOUBLE),
            onnx.helper.make_node("Log", [wide], [exact]),
            onnx.helper.make_node("Cast", [exact], [output], to=onnx.TensorProto.FLOAT),
        ]
        count += 1
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return count


def _values(model: Any) -> Iterator[Any]:
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    yield from (*inferred.graph.value_info, *inferred.graph.output)
