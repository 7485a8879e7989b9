"""Rewriting a graph whose batch was frozen, so that it computes any batch.

Nodes are followed in order, graphs inside of them included. `batch_axes.py` says which axis of a value is the batch,
`batch_rules.py` what an operator that froze it becomes. Proving the result is the parity gate's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from converters.batch_axes import (
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
from converters.batch_nodes import Nodes, NodeWriter
from converters.batch_rules import RULES, Step, attribute

SYMBOL = "batch"
OLDEST_OPSET = 8
"""`Expand` came with it, and the shape inference that all this rests on with the one before."""
LEFT_ALIGNED = (
    "Concat", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Gemm", "Einsum", "Loop", "Scan",
)  # fmt: skip
"""Operators whose inputs have equal axes at equal places; the others broadcast from the right."""
SILENT = ("ScatterElements", "ScatterND", "GatherElements")
"""Operators whose shape inference does not compare the inputs' batches."""

Values = dict[str, Traced]


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
            return self._control(step)
        if node.op_type in RULES and node.domain in ("", "ai.onnx"):
            batched = step.input(0).axis is not None
            return RULES[node.op_type](step) if batched or node.op_type == "Expand" else self._inferred(step)
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

    def _control(self, step: Step) -> list[Traced]:
        """`If` has the outputs of its branches. States of `Loop` and `Scan` that begin frozen and come out with the
        batch are expanded, until none is left."""
        if step.node.op_type == "If":
            branches = [self._branch(graph, step.values) for graph in _graphs(step.node)]
            return branches[0] if all(each.shape is not None for each in branches[0]) else branches[-1]
        body = _graphs(step.node)[0]
        skipped = 2 if step.node.op_type == "Loop" else 0
        scanned = int(attribute(step.node, "num_scan_inputs", 0))
        states = len(step.node.input) - skipped - scanned
        for _ in range(states + 1):
            trial = onnx.GraphProto()
            trial.CopyFrom(body)
            results = self._branch(trial, _body_scope(step, body, skipped, states))[1 if skipped else 0 :]
            frozen = [
                (place, axis)
                for place, result in enumerate(results[:states])
                if (axis := result.axis) is not None and step.input(skipped + place).axis is None
            ]
            if not frozen:
                body.CopyFrom(trial)
                return _control_outputs(step.node, results, states)
            for place, axis in frozen:
                step.expand(skipped + place, axis)
        raise FrozenBatch(f"the states of {step.node.op_type} {step.node.name!r} do not settle")

    def _branch(self, graph: onnx.GraphProto, values: Values) -> list[Traced]:
        scope = dict(values)
        self._walk(graph, scope)
        for value in (*graph.input, *graph.output):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
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


def _body_scope(step: Step, body: onnx.GraphProto, skipped: int, states: int) -> Values:
    """What is known inside of a `Loop`'s or `Scan`'s body at its start."""
    scope = dict(step.values)
    names = [value.name for value in body.input]
    if skipped:
        scope[names[0]] = Traced(TensorProto.INT64, (), ())
        scope[names[1]] = Traced(TensorProto.BOOL, (), ())
    for place, name in enumerate(names[skipped:], skipped):
        scope[name] = replace(step.input(place), value=None, grown_value=None, constant=False)
    scanned = names[skipped + states :]
    axes = attribute(step.node, "scan_input_axes", None) or [0] * len(scanned)
    for name, axis in zip(scanned, axes, strict=True):
        scope[name] = _without_axis(scope[name], axis)
    return scope


def _control_outputs(node: onnx.NodeProto, results: Sequence[Traced], states: int) -> list[Traced]:
    axes = attribute(node, "scan_output_axes", None) or [0] * (len(results) - states)
    stacked = [_with_axis(each, axis) for each, axis in zip(results[states:], axes, strict=True)]
    return [replace(each, value=None, grown_value=None) for each in (*results[:states], *stacked)]


def _without_axis(traced: Traced, axis: int) -> Traced:
    if traced.shape is None or traced.grown is None:
        return Traced(traced.elem_type)
    place = axis % len(traced.shape)
    if traced.axis == place:
        raise FrozenBatch("a Scan runs over the batch")
    shape = traced.shape[:place] + traced.shape[place + 1 :]
    return Traced(traced.elem_type, shape, traced.grown[:place] + traced.grown[place + 1 :], traced.inner)


def _with_axis(traced: Traced, axis: int) -> Traced:
    """One output of all runs of a body, of a number of runs that is unknown here."""
    if traced.shape is None or traced.grown is None:
        return Traced(traced.elem_type)
    place = axis % (len(traced.shape) + 1)
    shape = (*traced.shape[:place], OTHER_SIZE, *traced.shape[place:])
    return Traced(traced.elem_type, shape, (*traced.grown[:place], OTHER_SIZE, *traced.grown[place:]), traced.inner)


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


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [each.g for each in node.attribute if each.HasField("g")]


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
    return names.union(*(_used(inner) for node in graph.node for inner in _graphs(node)))
