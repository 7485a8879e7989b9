"""Rewriting a graph whose batch was frozen, so that it computes any batch.

Nodes are followed in order, graphs inside of them included. `axes.py` says which axis of a value is the batch,
`rules.py` what an operator that froze it becomes; `control.py` goes through control flow. Proving the
result is the parity gate's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from converters.freeing.axes import (
    MOST_FOLDED,
    OTHER_SIZE,
    FrozenBatch,
    Preference,
    Shape,
    Traced,
    carrying,
    fold,
    from_array,
    infer,
)
from converters.freeing.control import Values, control, graphs
from converters.freeing.nodes import Nodes, NodeWriter
from converters.freeing.rules import RULES
from converters.freeing.step import Step, attribute

SYMBOL = "batch"
OLDEST_OPSET = 7
"""The first whose operators have the shape inference that all this rests on; `Expand` came with the next."""
LEFT_ALIGNED = (
    "Concat", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Einsum", "Loop", "Scan",
)  # fmt: skip
"""Operators whose inputs have equal axes at equal places; the others broadcast from the right."""
SILENT = ("ScatterElements", "ScatterND", "GatherElements")
"""Operators whose shape inference does not compare the inputs' batches."""


class BatchRelease:
    """Frees one model, in place, with `release`. `known_shapes` are types and shapes of values that ONNX itself can't
    infer."""

    def __init__(
        self,
        model: onnx.ModelProto,
        batch: int,
        known_shapes: Mapping[str, tuple[int, Shape]],
        preference: Preference,
    ) -> None:
        self._graph = model.graph
        self._batch = batch
        self._known_shapes = known_shapes
        self._preference = preference
        self._opsets = {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}
        self._others_dynamic = False
        self._writer = NodeWriter(batch, counted=preference.counted)

    def release(self) -> None:
        """Rewrites the graph and declares the batch of inputs and outputs symbolic; raises `FrozenBatch`."""
        if self._opsets.get("", 1) < OLDEST_OPSET:
            raise FrozenBatch(f"opset {self._opsets.get('', 1)} is too old to be freed")
        values = {value.name: self._input(value) for value in self._graph.input}
        self._walk(self._graph, values)
        for value in self._graph.output:
            traced = values.get(value.name, Traced())
            if traced.shape is not None and traced.axis != 0:
                raise FrozenBatch(f"output {value.name!r} does not grow with the batch")
        for value in (*self._graph.input, *self._graph.output):
            if value.type.tensor_type.shape.dim:
                value.type.tensor_type.shape.dim[0].dim_param = SYMBOL
        for place, node in enumerate(self._writer.preamble(self._graph.input[0].name)):
            self._graph.node.insert(place, node)
        _drop_unused(self._graph)

    def _input(self, value: onnx.ValueInfoProto) -> Traced:
        tensor = value.type.tensor_type
        sizes = tuple(dim.dim_value if dim.HasField("dim_value") else OTHER_SIZE for dim in tensor.shape.dim)
        self._others_dynamic |= any(not dim.HasField("dim_value") for dim in tensor.shape.dim)
        return carrying(sizes, 0, tensor.elem_type)

    def _walk(self, graph: onnx.GraphProto, values: Values) -> None:
        """Follows all nodes of `graph`, and leaves what is known of their outputs in `values`."""
        for tensor in graph.initializer:
            values[tensor.name] = _from_tensor(tensor)
        nodes = list(graph.node)
        del graph.node[:]
        del graph.value_info[:]
        for node in nodes:
            before: Nodes = []
            outputs = self._follow(node, values, before)
            graph.node.extend((*before, node))
            for name, traced in zip(node.output, outputs, strict=False):
                if name:
                    values[name] = traced

    def _follow(self, node: onnx.NodeProto, values: Values, before: Nodes) -> list[Traced]:
        def by_inference() -> list[Traced]:
            return self._inferred(step)

        step = Step(
            node, values, before, self._writer, self._batch, self._preference, self._others_dynamic, by_inference
        )
        if node.op_type == "Constant":
            return [_constant_of(node)]
        if node.op_type == "Shape":
            return [self._shape_of(step)]
        if node.op_type in ("If", "Loop", "Scan"):
            return control(step, self._branch)
        if node.op_type in RULES and node.domain in ("", "ai.onnx"):
            return RULES[node.op_type](step)
        return self._inferred(step)

    def _inferred(self, step: Step) -> list[Traced]:
        """By shape inference, after what is frozen among the inputs was expanded to the batch."""
        if step.node.op_type in SILENT:
            _expand_frozen(step)
        try:
            outputs = infer(step.node, step.values, self._opsets)
        except InferenceError:
            _expand_frozen(step)
            try:
                outputs = infer(step.node, step.values, self._opsets)
            except InferenceError as error:
                raise FrozenBatch(f"{step.node.op_type} {step.node.name!r} fits the frozen batch only") from error
        if outputs is not None and all(_is_small(each) for each in outputs):
            inputs = [step.values.get(name, Traced()) if name else None for name in step.node.input]
            outputs = fold(step.node, inputs, self._opsets) or outputs
        return self._completed(step, outputs or [Traced() for _ in step.node.output])

    def _completed(self, step: Step, outputs: list[Traced]) -> list[Traced]:
        """Outputs of which inference says nothing have the batch where the first input of that size has it."""
        inputs = [step.values[name] for name in step.node.input if name in step.values]
        sources = [each for each in inputs if each.axis is not None]
        for place, name in enumerate(step.node.output):
            if outputs[place].shape is not None or name not in self._known_shapes:
                continue
            kind, shape = self._known_shapes[name]
            like = next((each for each in sources if _same_batch_axis(each, shape)), None)
            if like is not None and like.axis is not None:
                outputs[place] = carrying(shape, like.axis, kind, like.inner)
            elif not sources:
                outputs[place] = Traced(kind, shape, shape)
        return outputs

    def _shape_of(self, step: Step) -> Traced:
        data = step.input(0)
        if data.shape is None or data.grown is None:
            return Traced(TensorProto.INT64)
        start, end = attribute(step.node, "start", 0), attribute(step.node, "end", None)
        one, many = np.array(data.shape[start:end], np.int64), np.array(data.grown[start:end], np.int64)
        constant = not self._others_dynamic and data.axis is None
        return Traced(TensorProto.INT64, one.shape, many.shape, 1, one, many, constant)

    def _branch(self, graph: onnx.GraphProto, values: Values) -> list[Traced]:
        scope = dict(values)
        self._walk(graph, scope)
        for value in (*graph.input, *graph.output):
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()  # the number of axes stays: ONNX Runtime's Loop asks for it
        return [scope.get(value.name, Traced()) for value in graph.output]


def _expand_frozen(step: Step) -> None:
    """Expands to the batch each input that has the frozen batch where another input's batch lies."""
    leader = next((each for place in range(len(step.node.input)) if (each := step.input(place)).axis is not None), None)
    if leader is None or leader.axis is None or leader.shape is None:
        return
    for place in range(len(step.node.input)):
        each = step.input(place)
        if each.shape is None or each.axis is not None:
            continue
        shift = 0 if step.node.op_type in LEFT_ALIGNED else len(each.shape) - len(leader.shape)
        axis = leader.axis + shift
        if 0 <= axis < len(each.shape) and each.shape[axis] == leader.shape[leader.axis]:
            step.expand(place, axis)


def _same_batch_axis(source: Traced, shape: Shape) -> bool:
    axis = source.axis
    return axis is not None and source.shape is not None and axis < len(shape) and shape[axis] == source.shape[axis]


def _is_small(traced: Traced) -> bool:
    sizes = [math.prod(shape) for shape in (traced.shape, traced.grown) if shape is not None]
    return max(sizes, default=0) <= MOST_FOLDED


def _from_tensor(tensor: onnx.TensorProto) -> Traced:
    shape = tuple(tensor.dims)
    if math.prod(shape) > MOST_FOLDED or tensor.data_type == TensorProto.STRING:
        return Traced(tensor.data_type, shape, shape, constant=True)
    return from_array(numpy_helper.to_array(tensor), tensor.data_type)


def _constant_of(node: onnx.NodeProto) -> Traced:
    (given,) = node.attribute
    value = helper.get_attribute_value(given)
    if given.name == "value":
        return _from_tensor(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return from_array(np.array(value, kinds[given.name])) if given.name in kinds else Traced()


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Removes initializers and constants that nothing takes any more."""
    used = _used(graph)
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used]
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _used(graph: onnx.GraphProto) -> set[str]:
    names = {value.name for value in graph.output} | {name for node in graph.node for name in node.input}
    return names.union(*(_used(inner) for node in graph.node for inner in graphs(node)))
