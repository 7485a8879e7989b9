"""Slices and indexes that hold a batch fast, and what they become:

    Slice(x, ends=[4]) over the batch    -> ends=[INT64_MAX]
    Gather(flat, [0 .. 8, 9 .. 17])      -> Gather(flat, [0 .. 8] + 9 * row)
    GatherND(mask, [[0, i], [1, i] ...]) -> GatherND(mask, [[i] ...], batch_dims=1)

Functions as in `rules.py`.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from converters.freeing.axes import FrozenBatch, Traced, carrying, from_array
from converters.freeing.step import Step, attribute

LAST = np.iinfo(np.int64).max


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
