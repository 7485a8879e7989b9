"""Rewriting a graph whose batch was frozen, so that it computes any batch.

Nodes are followed in order (`batch_axes.py`); what held the batch fast gets a target that follows the input:

    Reshape(x, [1, 768])             -> Reshape(x, [-1, 768])
    Expand(x, [4, 5, 7])             -> Expand(x, [1, 5, 7])
    Slice(x, ends=[4]) over the batch -> ends=[INT64_MAX]
    Resize(x, sizes=[1, 3, 64, 64])  -> sizes with the input's batch
    Concat(cls[1, 1, 768], x)        -> Concat(Expand(cls, [batch, 1, 1]), x); as well states of RNNs and loops

Raises `FrozenBatch` where nothing sensible can be done. Proving the result is the parity gate's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from converters.batch_axes import (
    GROWTH,
    MOST_FOLDED,
    OTHER_SIZE,
    FrozenBatch,
    Preference,
    Shape,
    Traced,
    axis_after,
    carrying,
    fold,
    from_array,
    infer,
)

BATCH = "onegate_batch"
"""The value int64[1] that holds the batch of a request."""
SYMBOL = "batch"
OLDEST_OPSET = 8
"""`Expand` came with it, and the shape inference that all this rests on with the one before."""
LAST = np.iinfo(np.int64).max
RECURRENT = ("LSTM", "GRU", "RNN")
LEFT_ALIGNED = {
    "Concat", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Gemm", "Einsum", "CumSum", "OneHot",
    "Loop", "Scan",
}  # fmt: skip
"""Operators whose inputs have equal axes at equal places; the others broadcast from the right."""
SCATTERS = ("ScatterElements", "ScatterND", "GatherElements")


class BatchRelease:
    """Frees one model, in place, with `release`. `known_shapes` are types and shapes of values that ONNX itself can't
    infer."""

    def __init__(
        self,
        model: onnx.ModelProto,
        batch: int,
        known_shapes: dict[str, tuple[int, Shape]],
        preference: Preference,
    ) -> None:
        self._graph = model.graph
        self._batch = batch
        self._known_shapes = known_shapes
        self._preference = preference
        self._opsets = {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}
        self._others_dynamic = False
        self._made = 0
        self._uses_batch = False

    def release(self) -> None:
        """Rewrites the graph and declares the batch of inputs and outputs symbolic; raises `FrozenBatch`."""
        if self._opsets.get("", 1) < OLDEST_OPSET:
            raise FrozenBatch(f"opset {self._opsets.get('', 1)} is too old to be freed")
        values: dict[str, Traced] = {}
        for value in self._graph.input:
            values[value.name] = self._input(value)
        self._walk(self._graph, values)
        for value in self._graph.output:
            traced = values.get(value.name, Traced())
            if traced.shape is not None and traced.axis != 0:
                raise FrozenBatch(f"output {value.name!r} does not grow with the batch")
        for value in (*self._graph.input, *self._graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = SYMBOL
        if self._uses_batch:
            self._graph.node.insert(0, self._constant_node(np.array([0]), f"{BATCH}_axis"))
            self._graph.node.insert(1, helper.make_node("Shape", [self._graph.input[0].name], [f"{BATCH}_shape"]))
            self._graph.node.insert(2, helper.make_node("Gather", [f"{BATCH}_shape", f"{BATCH}_axis"], [BATCH]))

    def _input(self, value: onnx.ValueInfoProto) -> Traced:
        tensor = value.type.tensor_type
        sizes = tuple(dim.dim_value if dim.HasField("dim_value") else OTHER_SIZE for dim in tensor.shape.dim)
        self._others_dynamic |= any(not dim.HasField("dim_value") for dim in tensor.shape.dim)
        return carrying(sizes, 0, tensor.elem_type)

    def _walk(self, graph: onnx.GraphProto, values: dict[str, Traced]) -> None:
        """Follows all nodes of `graph`, and leaves what is known of their outputs in `values`."""
        for tensor in graph.initializer:
            values[tensor.name] = _from_tensor(tensor)
        nodes = list(graph.node)
        del graph.node[:]
        del graph.value_info[:]
        for node in nodes:
            before: list[onnx.NodeProto] = []
            outputs = self._follow(node, values, before)
            graph.node.extend((*before, node))
            for name, traced in zip(node.output, outputs, strict=False):
                if name:
                    values[name] = traced

    def _follow(self, node: onnx.NodeProto, values: dict[str, Traced], before: list[onnx.NodeProto]) -> list[Traced]:
        inputs = [values.get(name, Traced()) if name else None for name in node.input]
        if node.op_type == "Constant":
            return [_constant_of(node)]
        if node.op_type == "Shape":
            return self._shape_of(node, inputs)
        if node.op_type in ("If", "Loop", "Scan"):
            return self._control(node, inputs, values, before)
        batched = bool(inputs and inputs[0] and inputs[0].axis is not None)
        if node.op_type in RULES and node.domain in ("", "ai.onnx") and (batched or node.op_type == "Expand"):
            return RULES[node.op_type](self, node, [each or Traced() for each in inputs], values, before)
        return self._inferred(node, values, before)

    def _inferred(self, node: onnx.NodeProto, values: dict[str, Traced], before: list[onnx.NodeProto]) -> list[Traced]:
        """By shape inference, after what is frozen among the inputs was expanded to the batch."""
        if node.op_type in SCATTERS:
            self._expand_frozen(node, values, before)
        try:
            outputs = infer(node, values, self._opsets)
        except InferenceError:
            self._expand_frozen(node, values, before)
            try:
                outputs = infer(node, values, self._opsets)
            except InferenceError as error:
                raise FrozenBatch(f"{node.op_type} {node.name!r} fits the frozen batch only") from error
        if outputs is not None and all(_is_small(each) for each in outputs):
            inputs = [values.get(name, Traced()) if name else None for name in node.input]
            outputs = fold(node, inputs, self._opsets) or outputs
        return self._completed(node, outputs, values)

    def _completed(
        self, node: onnx.NodeProto, outputs: Sequence[Traced] | None, values: dict[str, Traced]
    ) -> list[Traced]:
        """Outputs of which inference says nothing have the batch where the first input of that size has it."""
        found = list(outputs) if outputs is not None else [Traced() for _ in node.output]
        sources = [values[name] for name in node.input if name in values and values[name].axis is not None]
        for place, name in enumerate(node.output):
            if found[place].shape is not None or name not in self._known_shapes:
                continue
            kind, shape = self._known_shapes[name]
            like = next((each for each in sources if _same_batch_axis(each, shape)), None)
            if like is not None and like.axis is not None:
                found[place] = carrying(shape, like.axis, kind, like.inner)
            elif not sources:
                found[place] = Traced(kind, shape, shape)
        return found

    def _shape_of(self, node: onnx.NodeProto, inputs: Sequence[Traced | None]) -> list[Traced]:
        data = inputs[0]
        if data is None or data.shape is None or data.grown is None:
            return [Traced(TensorProto.INT64)]
        start, end = _attribute(node, "start", 0), _attribute(node, "end", None)
        one, many = np.array(data.shape[start:end], np.int64), np.array(data.grown[start:end], np.int64)
        constant = not self._others_dynamic and data.axis is None
        return [Traced(TensorProto.INT64, one.shape, many.shape, 1, one, many, constant)]

    # What froze the batch, one rule an operator.

    def _reshape(
        self, node: onnx.NodeProto, inputs: Sequence[Traced], values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> list[Traced]:
        data, target = inputs[0], inputs[1]
        if target.value is None or target.grown_value is None or data.shape is None or data.grown is None:
            return self._inferred(node, values, before)
        zero = bool(_attribute(node, "allowzero", 0))
        out = _resolved(target.value, data.shape, zero)
        if not np.array_equal(target.value, target.grown_value):  # computed from the batch already
            return [Traced(data.elem_type, out, _resolved(target.grown_value, data.grown, zero), data.inner)]
        axis = axis_after(data, out, self._batch, self._preference)
        after = carrying(out, axis, data.elem_type)
        after = replace(after, inner=data.stride // max(after.stride, 1))
        if _resolved(target.grown_value, data.grown, zero) != after.grown:
            node.input[1] = self._free_target(node.input[1], target, data, after, zero, before)
        return [after]

    def _free_target(
        self, name: str, target: Traced, data: Traced, after: Traced, zero: bool, before: list[onnx.NodeProto]
    ) -> str:
        """The name of a target that has the input's batch on the axis of `after`."""
        assert target.value is not None
        assert after.shape is not None
        assert after.axis is not None
        axis, sizes = after.axis, target.value.astype(np.int64).copy()
        others = [place for place, size in enumerate(sizes) if size == -1 and place != axis]
        if target.constant and not others:
            sizes[axis] = -1
        elif (
            target.constant and not zero and data.axis == axis and data.shape and data.shape[axis] == after.shape[axis]
        ):
            sizes[axis] = 0
        elif target.constant and not self._others_dynamic:
            sizes[others] = [after.shape[place] for place in others]
            sizes[axis] = -1
        else:
            return self._with_batch(name, len(sizes), axis, after.shape[axis] // self._batch, before)
        return self._constant(sizes, before)

    def _expand(
        self, node: onnx.NodeProto, inputs: Sequence[Traced], values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> list[Traced]:
        data, target = inputs[0], inputs[1]
        if target.value is None or target.grown_value is None or data.shape is None:
            return self._inferred(node, values, before)
        shift = len(target.value) - len(data.shape)
        grows = np.flatnonzero(target.value != target.grown_value)
        if data.axis is None and len(grows) == 1 and 0 <= (axis := int(grows[0]) - shift) and data.shape[axis] > 1:
            node.input[0] = self._first_row(data, axis, before)
            values[node.input[0]] = replace(data, shape=(one := _one_at(data.shape, axis)), grown=one, value=None)
        elif data.axis is not None and (axis := data.axis + shift) >= 0 and len(grows) == 0 and target.value[axis] > 1:
            if not target.constant:
                raise FrozenBatch("Expand has the frozen batch in a computed target")
            sizes = np.array(_one_at(target.value.tolist(), axis), np.int64)
            node.input[1] = self._constant(sizes, before)
            values[node.input[1]] = from_array(sizes)
        return self._inferred(node, values, before)

    def _slice(
        self, node: onnx.NodeProto, inputs: Sequence[Traced], values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> list[Traced]:
        """A slice that takes the whole of the frozen batch is to take the whole of any batch."""
        data, outputs = inputs[0], self._inferred(node, values, before)
        if data.axis is None or data.shape is None or outputs[0].shape is None or outputs[0].grown is None:
            return outputs
        axis = data.axis
        if outputs[0].shape[axis] != data.shape[axis] or outputs[0].grown[axis] != outputs[0].shape[axis]:
            return outputs
        given = [inputs[place].value if len(inputs) > place and node.input[place] else None for place in (2, 3)]
        ends = given[0] if given[0] is not None else _attribute(node, "ends", None)
        axes = given[1] if given[1] is not None else _attribute(node, "axes", None)
        if ends is None:
            raise FrozenBatch("a slice of the batch has a computed end")
        places = [int(a) % len(data.shape) for a in axes] if axes is not None else list(range(len(ends)))
        sizes = np.array(ends, np.int64)
        sizes[places.index(axis)] = LAST
        if len(node.input) > 2:
            node.input[2] = self._constant(sizes, before)
            values[node.input[2]] = from_array(sizes)
        else:
            next(a for a in node.attribute if a.name == "ends").ints[:] = sizes.tolist()
        return self._inferred(node, values, before)

    def _resize(
        self, node: onnx.NodeProto, inputs: Sequence[Traced], values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> list[Traced]:
        data, sizes = inputs[0], inputs[3] if len(inputs) > 3 else Traced()
        axes = _attribute(node, "axes", None)
        if sizes.value is None or sizes.grown_value is None or axes is not None or data.axis is None:
            return self._inferred(node, values, before)
        axis = data.axis
        if sizes.value[axis] == sizes.grown_value[axis]:
            many = sizes.grown_value.copy()
            many[axis] *= GROWTH
            name = self._with_batch(node.input[3], len(many), axis, int(sizes.value[axis]) // self._batch, before)
            values[name] = replace(sizes, grown_value=many, constant=False)
            node.input[3] = name
        return self._inferred(node, values, before)

    def _recurrent(
        self, node: onnx.NodeProto, inputs: Sequence[Traced], values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> list[Traced]:
        layout = int(_attribute(node, "layout", 0))
        if inputs[0].axis != 1 - layout:
            raise FrozenBatch(f"{node.op_type} {node.name!r} runs over the batch as its time")
        for place, axis in ((4, 0), (5, 1 - layout), (6, 1 - layout)):
            if len(node.input) > place and node.input[place] and inputs[place].axis is None:
                self._expand_input(node, place, axis, values, before)
        return self._inferred(node, values, before)

    def _laid_out(
        self, node: onnx.NodeProto, inputs: Sequence[Traced], values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> list[Traced]:
        """Operators that change the shape and leave the elements in their order."""
        (after,) = self._inferred(node, values, before)[:1]
        if after.axis is None:
            return [after]
        return [replace(after, inner=max(inputs[0].stride // max(replace(after, inner=1).stride, 1), 1))]

    # Control flow.

    def _control(
        self,
        node: onnx.NodeProto,
        inputs: Sequence[Traced | None],
        values: dict[str, Traced],
        before: list[onnx.NodeProto],
    ) -> list[Traced]:
        if node.op_type == "If":
            branches = [self._branch(graph, values) for graph in _graphs(node)]
            return branches[0] if branches[0] and branches[0][0].shape is not None else branches[-1]
        body, skipped, states = _graphs(node)[0], 2, len(node.input) - 2
        if node.op_type == "Scan":
            skipped, states = 0, len(node.input) - int(_attribute(node, "num_scan_inputs", 0))
        for _ in range(states + 1):
            scope = self._body_scope(node, body, values, skipped, states)
            trial = onnx.GraphProto()
            trial.CopyFrom(body)
            results = self._branch(trial, scope)
            first = 1 if node.op_type == "Loop" else 0
            frozen = [
                place
                for place in range(states)
                if results[first + place].axis is not None and _of(values, node.input[skipped + place]).axis is None
            ]
            if not frozen:
                body.CopyFrom(trial)
                return self._control_outputs(node, results[first:], states)
            for place in frozen:
                axis = results[first + place].axis
                assert axis is not None
                self._expand_input(node, skipped + place, axis, values, before)
        raise FrozenBatch(f"the states of {node.op_type} {node.name!r} do not settle")

    def _branch(self, graph: onnx.GraphProto, values: dict[str, Traced]) -> list[Traced]:
        scope = dict(values)
        self._walk(graph, scope)
        for value in (*graph.input, *graph.output):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
        return [scope.get(value.name, Traced()) for value in graph.output]

    def _body_scope(
        self, node: onnx.NodeProto, body: onnx.GraphProto, values: dict[str, Traced], skipped: int, states: int
    ) -> dict[str, Traced]:
        scope = dict(values)
        names = [value.name for value in body.input]
        if node.op_type == "Loop":
            scope[names[0]] = Traced(TensorProto.INT64, (), ())
            scope[names[1]] = Traced(TensorProto.BOOL, (), ())
        for name, given in zip(names[skipped:], node.input[skipped:], strict=True):
            scope[name] = replace(_of(values, given), value=None, grown_value=None, constant=False)
        if node.op_type == "Scan":
            axes = _attribute(node, "scan_input_axes", None) or [0] * (len(names) - states)
            for name, axis in zip(names[states:], axes, strict=True):
                scope[name] = _without_axis(scope[name], axis)
        return scope

    def _control_outputs(self, node: onnx.NodeProto, results: Sequence[Traced], states: int) -> list[Traced]:
        axes = _attribute(node, "scan_output_axes", None) or [0] * (len(results) - states)
        stacked = [_with_axis(each, axis) for each, axis in zip(results[states:], axes, strict=True)]
        return [replace(each, value=None, grown_value=None) for each in (*results[:states], *stacked)]

    # New nodes.

    def _expand_frozen(self, node: onnx.NodeProto, values: dict[str, Traced], before: list[onnx.NodeProto]) -> None:
        """Expands to the batch each input that has the frozen batch where another input's batch lies."""
        given = [(place, _of(values, name)) for place, name in enumerate(node.input) if name]
        leader = next((each for _, each in given if each.axis is not None), None)
        if leader is None or leader.axis is None or leader.shape is None:
            return
        for place, each in given:
            if each.shape is None or each.axis is not None:
                continue
            shift = 0 if node.op_type in LEFT_ALIGNED else len(each.shape) - len(leader.shape)
            axis = leader.axis + shift
            if 0 <= axis < len(each.shape) and each.shape[axis] == leader.shape[leader.axis]:
                self._expand_input(node, place, axis, values, before)

    def _expand_input(
        self, node: onnx.NodeProto, place: int, axis: int, values: dict[str, Traced], before: list[onnx.NodeProto]
    ) -> None:
        """Puts an `Expand` to the batch along `axis` in front of an input that is frozen there."""
        name, frozen = node.input[place], _of(values, node.input[place])
        if frozen.shape is None or axis >= len(frozen.shape) or frozen.shape[axis] % self._batch:
            raise FrozenBatch(f"an input of {node.op_type} {node.name!r} is frozen in an unknown way")
        if frozen.shape[axis] > 1:
            name = self._first_row(frozen, axis, before)
        pieces = [
            self._constant(np.ones(axis, np.int64), before),
            self._times_batch(frozen.shape[axis] // self._batch, before),
            self._constant(np.ones(len(frozen.shape) - axis - 1, np.int64), before),
        ]
        target, expanded = self._new_name(), self._new_name()
        before.append(helper.make_node("Concat", pieces, [target], axis=0))
        before.append(helper.make_node("Expand", [name, target], [expanded]))
        values[expanded] = carrying(frozen.shape, axis, frozen.elem_type)
        node.input[place] = expanded

    def _first_row(self, frozen: Traced, axis: int, before: list[onnx.NodeProto]) -> str:
        if frozen.value is None:
            raise FrozenBatch("a value of the frozen batch is computed from no input")
        row = np.take(frozen.value, [0], axis=axis)
        if not np.array_equal(
            np.broadcast_to(row, frozen.value.shape), frozen.value, equal_nan=frozen.value.dtype.kind == "f"
        ):
            raise FrozenBatch("a constant differs from row to row of the frozen batch")
        return self._constant(row, before)

    def _with_batch(self, name: str, rank: int, axis: int, multiple: int, before: list[onnx.NodeProto]) -> str:
        """The shape `name` with `multiple` times the batch at `axis`."""
        mask = self._constant(np.arange(rank) == axis, before)
        patched = self._new_name()
        before.append(helper.make_node("Where", [mask, self._times_batch(multiple, before), name], [patched]))
        return patched

    def _times_batch(self, multiple: int, before: list[onnx.NodeProto]) -> str:
        self._uses_batch = True
        if multiple == 1:
            return BATCH
        product = self._new_name()
        factor = self._constant(np.array([multiple], np.int64), before)
        before.append(helper.make_node("Mul", [BATCH, factor], [product]))
        return product

    def _constant(self, array: np.ndarray, before: list[onnx.NodeProto]) -> str:
        name = self._new_name()
        before.append(self._constant_node(array, name))
        return name

    def _constant_node(self, array: np.ndarray, name: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.ascontiguousarray(array)))

    def _new_name(self) -> str:
        self._made += 1
        return f"{BATCH}_{self._made}"


Rule = Callable[
    [BatchRelease, onnx.NodeProto, Sequence[Traced], "dict[str, Traced]", "list[onnx.NodeProto]"], "list[Traced]"
]
RULES: dict[str, Rule] = {
    "Reshape": BatchRelease._reshape,
    "Expand": BatchRelease._expand,
    "Slice": BatchRelease._slice,
    "Resize": BatchRelease._resize,
    **dict.fromkeys(RECURRENT, BatchRelease._recurrent),
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout"), BatchRelease._laid_out),
}


def _of(values: dict[str, Traced], name: str) -> Traced:
    return values.get(name, Traced())


def _one_at(sizes: Sequence[int], axis: int) -> Shape:
    return tuple(1 if place == axis else size for place, size in enumerate(sizes))


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
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return _from_tensor(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return from_array(np.array(value, kinds[attribute.name])) if attribute.name in kinds else Traced()


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [each.g for each in node.attribute if each.HasField("g")]


def _resolved(target: np.ndarray, shape: Shape, allow_zero: bool) -> Shape:
    """What `Reshape` makes of a target: 0 copies, -1 is what remains."""
    sizes = [int(size) for size in target]
    if not allow_zero:
        sizes = [shape[place] if size == 0 and place < len(shape) else size for place, size in enumerate(sizes)]
    if -1 in sizes:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // max(known, 1)
    if math.prod(sizes) != math.prod(shape):
        return ()
    return tuple(sizes)


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
