"""What holds a batch fast, operator by operator, and what it becomes:

    Reshape(x, [1, 768])                 -> Reshape(x, [-1, 768])
    Reshape(x[1, 7, 5], [7, 1, 5])       -> Transpose(x, [1, 0, 2]), if nothing else helps
    Expand(x, [4, 5, 7])                 -> Expand(x, [1, 5, 7])
    Resize(x, sizes=[1, 3, 64, 64])      -> sizes with the input's batch
    LSTM(x, initial_h=zeros[1, 4, 256])  -> initial_h expanded to the batch

A rule changes the step's node and returns what is then known of its outputs. Those of slices and indexes are in
`indexes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import helper

from converters.freeing.axes import GROWTH, FrozenBatch, Shape, Traced, axis_after, carrying
from converters.freeing.indexes import cut, gather, gather_nd
from converters.freeing.step import Step, attribute


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
    if step.preference.moved and (axis := _moved_to(data.shape, data.axis, out)) is not None:
        return _transposed(step, data.axis, axis, out)
    after = carrying(out, axis_after(data, out, step.batch, step.preference), data.elem_type)
    after = replace(after, inner=data.stride // max(after.stride, 1))
    if grown != after.grown:
        _free_target(step, data, target, after, zero)
    return [after]


def _moved_to(shape: Shape, axis: int, out: Shape) -> int | None:
    """Where the axis of a batch of one went, if that is all that a reshape changed."""
    if shape[axis] != 1 or shape == out:
        return None
    rest = shape[:axis] + shape[axis + 1 :]
    return next((place for place, size in enumerate(out) if size == 1 and out[:place] + out[place + 1 :] == rest), None)


def _transposed(step: Step, before: int, after: int, out: Shape) -> list[Traced]:
    data = step.input(0)
    order = [place for place in range(len(out)) if place != before]
    order.insert(after, before)
    node = step.node
    node.CopyFrom(helper.make_node("Transpose", node.input[:1], list(node.output), name=node.name, perm=order))
    return [carrying(out, after, data.elem_type, data.inner)]


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
    if step.input(0).axis is None:
        return step.infer()
    if step.input(0).axis != 1 - layout:
        raise FrozenBatch(f"{step.node.op_type} runs over the batch as its time")
    for place, axis in ((4, 0), (5, 1 - layout), (6, 1 - layout)):
        if len(step.node.input) > place and step.node.input[place] and step.input(place).axis is None:
            step.expand(place, axis)
    return step.infer()


def gemm(step: Step) -> list[Traced]:
    """The rows of the product and of what is added to it are the batch together, or not at all."""
    rows, added = step.input(0), step.input(2)
    axis = 1 if attribute(step.node, "transA", 0) else 0
    if rows.axis is None and added.axis == 0:
        step.expand(0, axis)
    elif rows.axis == axis and added.axis is None and len(added.shape or ()) == 2 and added.shape[0] > 1:  # type: ignore[index]
        step.expand(2, 0)
    return step.infer()


def laid_out(step: Step) -> list[Traced]:
    """Operators that may change the shape and leave the elements in their order."""
    outputs = step.infer()
    after = outputs[0]
    if after.axis is None or step.input(0).axis is None:
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
    "Gemm": gemm,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout"), laid_out),
}
"""ONNX's own operators by name."""
