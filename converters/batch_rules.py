"""What holds a batch fast, operator by operator, and what it becomes:

    Reshape(x, [1, 768])                 -> Reshape(x, [-1, 768])
    Expand(x, [4, 5, 7])                 -> Expand(x, [1, 5, 7])
    Slice(x, ends=[4]) over the batch    -> ends=[INT64_MAX]
    Resize(x, sizes=[1, 3, 64, 64])      -> sizes with the input's batch
    LSTM(x, initial_h=zeros[1, 4, 256])  -> initial_h expanded to the batch
    Gather(flat, [0 .. 8, 9 .. 17])      -> Gather(flat, [0 .. 8] + 9 * row)
    GatherND(mask, [[0, i], [1, i] ...]) -> GatherND(mask, [[i] ...], batch_dims=1)

A rule changes the step's node and returns what is then known of its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from converters.batch_axes import GROWTH, FrozenBatch, Preference, Shape, Traced, axis_after, carrying, from_array
from converters.batch_nodes import Nodes, NodeWriter

LAST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Step:
    """One node on the way through the graph."""

    node: onnx.NodeProto
    values: dict[str, Traced]
    """All that is known in front of it."""
    before: Nodes
    """Nodes that are to stand in front of it."""
    writer: NodeWriter
    batch: int
    preference: Preference
    others_dynamic: bool
    """Whether dimensions other than the batch are dynamic."""
    infer: Callable[[], list[Traced]]
    """Its outputs, by shape inference."""

    def input(self, place: int) -> Traced:
        """What is known of an input; nothing of one that is left out."""
        names = self.node.input
        return self.values.get(names[place], Traced()) if place < len(names) and names[place] else Traced()

    def replace_constant(self, place: int, sizes: Sequence[int]) -> None:
        """Gives the node other integers for an input that is a constant."""
        array = np.array(sizes, np.int64)
        self.node.input[place] = self.writer.constant(array, self.before)
        self.values[self.node.input[place]] = from_array(array)

    def expand(self, place: int, axis: int) -> None:
        """Expands an input that is frozen along `axis` to the batch."""
        name, traced = self.writer.expanded(self.node.input[place], self.input(place), axis, self.before)
        self.node.input[place] = name
        self.values[name] = traced


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def reshape(step: Step) -> list[Traced]:
    """The batch goes where the elements' order in memory puts it."""
    data, target = step.input(0), step.input(1)
    if data.axis is None or target.value is None or target.grown_value is None or data.shape is None:
        return step.infer()
    zero = bool(attribute(step.node, "allowzero", 0))
    out = _resolved(target.value, data.shape, zero)
    grown = _resolved(target.grown_value, data.grown or (), zero)
    if not np.array_equal(target.value, target.grown_value):  # it is computed from the batch already
        return [Traced(data.elem_type, out, grown, data.inner)]
    after = carrying(out, axis_after(data, out, step.batch, step.preference), data.elem_type)
    after = replace(after, inner=data.stride // max(after.stride, 1))
    if grown != after.grown:
        _free_target(step, data, target, after, zero)
    return [after]


def _free_target(step: Step, data: Traced, target: Traced, after: Traced, zero: bool) -> None:
    """Makes the target follow the input's batch on the axis of `after`: as what remains (-1), as a copy of the input's
    axis (0), or put in at run time where -1 and 0 are taken."""
    assert target.value is not None
    assert after.shape is not None
    assert after.axis is not None
    assert data.shape is not None
    axis, sizes = after.axis, target.value.astype(np.int64).copy()
    others = [place for place, size in enumerate(sizes) if size == -1 and place != axis]
    if target.constant and not others:
        sizes[axis] = -1
    elif target.constant and not zero and data.axis == axis and data.shape[axis] == after.shape[axis]:
        sizes[axis] = 0
    elif target.constant and not step.others_dynamic:
        sizes[others] = [after.shape[place] for place in others]
        sizes[axis] = -1
    else:
        size = after.shape[axis]
        step.node.input[1] = step.writer.shape_with_batch(step.node.input[1], len(sizes), axis, size, step.before)
        return
    step.node.input[1] = step.writer.constant(sizes, step.before)


def _resolved(target: np.ndarray, shape: Shape, allow_zero: bool) -> Shape:
    """What `Reshape` makes of a target: 0 copies, -1 is what remains; nothing when the sizes do not fit."""
    sizes = [int(size) for size in target]
    if not allow_zero:
        sizes = [shape[place] if size == 0 and place < len(shape) else size for place, size in enumerate(sizes)]
    if -1 in sizes:
        known = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = math.prod(shape) // max(known, 1)
    return tuple(sizes) if math.prod(sizes) == math.prod(shape) else ()


def expand(step: Step) -> list[Traced]:
    """A constant target that says the batch says 1 instead; frozen data in front of a target that grows are one row."""
    data, target = step.input(0), step.input(1)
    if target.value is None or target.grown_value is None or data.shape is None:
        return step.infer()
    shift = len(target.value) - len(data.shape)
    grows = np.flatnonzero(target.value != target.grown_value)
    if data.axis is None and len(grows) == 1 and (axis := int(grows[0]) - shift) >= 0 and data.shape[axis] > 1:
        row = _one_at(data.shape, axis)
        step.node.input[0] = step.writer.first_row(data, axis, step.before)
        step.values[step.node.input[0]] = replace(data, shape=row, grown=row, value=None, grown_value=None)
    elif data.axis is not None and (axis := data.axis + shift) >= 0 and len(grows) == 0 and target.value[axis] > 1:
        if not target.constant:
            raise FrozenBatch("an Expand has the frozen batch in a computed target")
        step.replace_constant(1, _one_at(target.value.tolist(), axis))
    return step.infer()


def _one_at(sizes: Sequence[int], axis: int) -> Shape:
    return tuple(1 if place == axis else size for place, size in enumerate(sizes))


def cut(step: Step) -> list[Traced]:
    """A slice that takes the whole of the frozen batch is to take the whole of any batch."""
    data, (output, *_) = step.input(0), step.infer()
    axis = data.axis
    if axis is None or data.shape is None or output.shape is None or output.grown is None:
        return [output]
    if output.shape[axis] != data.shape[axis] or output.grown[axis] != output.shape[axis]:
        return [output]
    as_inputs = len(step.node.input) > 2
    ends = step.input(2).value if as_inputs else attribute(step.node, "ends", None)
    axes = step.input(3).value if as_inputs else attribute(step.node, "axes", None)
    if ends is None or (as_inputs and len(step.node.input) > 3 and step.node.input[3] and axes is None):
        raise FrozenBatch("a slice of the batch has a computed end")
    places = [int(each) % len(data.shape) for each in axes] if axes is not None else list(range(len(ends)))
    whole = [LAST if place == axis else int(end) for place, end in zip(places, ends, strict=True)]
    if as_inputs:
        step.replace_constant(2, whole)
    else:
        next(each for each in step.node.attribute if each.name == "ends").ints[:] = whole
    return step.infer()


def resize(step: Step) -> list[Traced]:
    """Sizes that hold the frozen batch hold that of the input."""
    data, sizes = step.input(0), step.input(3)
    axis = data.axis
    frozen, grown = sizes.value, sizes.grown_value
    if frozen is None or grown is None or axis is None or attribute(step.node, "axes", None) is not None:
        return step.infer()
    if frozen[axis] == grown[axis]:
        many = grown.copy()
        many[axis] *= GROWTH
        size = int(frozen[axis])
        name = step.writer.shape_with_batch(step.node.input[3], len(many), axis, size, step.before)
        step.node.input[3] = name
        step.values[name] = replace(sizes, grown_value=many, constant=False)
    return step.infer()


def recurrent(step: Step) -> list[Traced]:
    """Lengths and first states that are frozen are expanded."""
    layout = int(attribute(step.node, "layout", 0))
    if step.input(0).axis != 1 - layout:
        raise FrozenBatch(f"{step.node.op_type} runs over the batch as its time")
    for place, axis in ((4, 0), (5, 1 - layout), (6, 1 - layout)):
        if len(step.node.input) > place and step.node.input[place] and step.input(place).axis is None:
            step.expand(place, axis)
    return step.infer()


def gather(step: Step) -> list[Traced]:
    """Constant indexes into an axis that holds the batch and more, the same for each row but that row's beginning."""
    data, indexes = step.input(0), step.input(1)
    value, grown, axis = indexes.value, indexes.grown_value, data.axis
    if axis is None or data.shape is None or value is None or grown is None or value.ndim == 0:
        return step.infer()
    width = data.shape[axis] // step.batch
    first = value[:1]
    expected = first + width * np.arange(step.batch).reshape(-1, *([1] * (value.ndim - 1)))
    known = np.array_equal(value, grown) and width == data.inner and np.array_equal(value, expected)
    if attribute(step.node, "axis", 0) != axis or not known or first.min() < 0 or first.max() >= width:
        return step.infer()
    step.node.input[1] = step.writer.row_indexes(first, width, step.before)
    step.values[step.node.input[1]] = carrying(value.shape, 0, indexes.elem_type)
    shape = (*data.shape[:axis], *value.shape, *data.shape[axis + 1 :])
    return [carrying(shape, axis, data.elem_type)]


def gather_nd(step: Step) -> list[Traced]:
    """Constant indexes whose first part is the number of the row, as attention masks are built: the batch becomes a
    batch dimension of the operator (there since opset 12), and the row's number is dropped."""
    data, indexes = step.input(0), step.input(1)
    value = indexes.value
    counted = value is not None and indexes.constant and value.ndim > 1 and value.shape[-1] > 1
    if data.axis != 0 or not counted or attribute(step.node, "batch_dims", 0) or value is None:
        return step.infer()
    numbers = np.arange(step.batch).reshape(-1, *([1] * (value.ndim - 2)))
    if value.shape[0] != step.batch or not (value[..., 0] == numbers).all():
        return step.infer()
    rest = np.ascontiguousarray(value[..., 1:])
    step.node.input[1] = step.writer.constant(rest, step.before)
    step.values[step.node.input[1]] = from_array(rest)
    step.expand(1, 0)
    kept = [each for each in step.node.attribute if each.name != "batch_dims"]
    del step.node.attribute[:]
    step.node.attribute.extend([*kept, helper.make_attribute("batch_dims", 1)])
    return step.infer()


def laid_out(step: Step) -> list[Traced]:
    """Operators that may change the shape and leave the elements in their order."""
    outputs = step.infer()
    after = outputs[0]
    if after.axis is None:
        return outputs
    plain = replace(after, inner=1)
    return [replace(after, inner=max(step.input(0).stride // max(plain.stride, 1), 1)), *outputs[1:]]


RULES: dict[str, Callable[[Step], list[Traced]]] = {
    "Reshape": reshape,
    "Expand": expand,
    "Slice": cut,
    "Resize": resize,
    "Gather": gather,
    "GatherND": gather_nd,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout"), laid_out),
}
"""ONNX's own operators by name."""
