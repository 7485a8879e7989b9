"""Which axis of a value is the batch: shapes of one node's outputs at the frozen batch and at a much larger one.

An axis whose size follows the batch differs between the two; guessing at equal numbers would take every 1 for a
batch of one. What is changed in a graph when they disagree is `release.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

GROWTH = 1009
"""The larger batch is so many times the frozen one: a prime that no layer has for a size: nothing fits by luck."""
OTHER_SIZE = 64
"""Stands for dynamic dimensions other than the batch."""
IR_VERSION = 8
"""Of the graphs of one node that are computed here."""
MOST_FOLDED = 1 << 22
"""Elements of a constant that is still computed here."""

Shape = tuple[int, ...]


class FrozenBatch(Exception):
    """The graph can't be freed; the text says where it ended."""


@dataclass(frozen=True)
class Traced:
    """What is known of one value at both batches."""

    elem_type: int = 0
    """`onnx.TensorProto.DataType`, 0 when unknown."""
    shape: Shape | None = None
    """At the frozen batch; None when unknown."""
    grown: Shape | None = None
    """At the larger batch."""
    inner: int = 1
    """How many positions of the batch axis one step of the batch spans: 12 where [B, 12, 64] was made [12 B, 64]."""
    value: np.ndarray | None = None
    """Its elements at the frozen batch, where they follow from constants and shapes."""
    grown_value: np.ndarray | None = None
    constant: bool = False
    """Whether `value` is the same for all requests."""

    @property
    def axis(self) -> int | None:
        """The axis that the batch is on; None for a value without one. Raises `FrozenBatch` for several."""
        if self.shape is None or self.grown is None:
            return None
        if len(self.shape) != len(self.grown):
            raise FrozenBatch("the number of dimensions depends on the batch")
        axes = [axis for axis, (one, many) in enumerate(zip(self.shape, self.grown, strict=True)) if one != many]
        if not axes:
            return None
        if len(axes) > 1 or self.grown[axes[0]] != self.shape[axes[0]] * GROWTH:
            raise FrozenBatch("a value does not grow in step with the batch")
        return axes[0]

    @property
    def stride(self) -> int:
        """How many elements one step of the batch spans in memory."""
        assert self.axis is not None
        assert self.shape is not None
        return self.inner * math.prod(self.shape[self.axis + 1 :])


def from_array(array: np.ndarray, elem_type: int | None = None) -> Traced:
    """A constant of the graph."""
    kind = elem_type or helper.np_dtype_to_tensor_dtype(array.dtype)
    return Traced(kind, array.shape, array.shape, value=array, grown_value=array, constant=True)


def carrying(shape: Shape, axis: int, elem_type: int, inner: int = 1) -> Traced:
    """A value of `shape` with the batch on `axis`."""
    grown = tuple(size * GROWTH if place == axis else size for place, size in enumerate(shape))
    return Traced(elem_type, shape, grown, inner)


@dataclass(frozen=True)
class Preference:
    """Which of several equally possible axes is taken for the batch: a batch of one fits many."""

    kept: bool
    """The axis that it was on, where a reshape keeps the number of axes and those before it."""
    last: bool
    """Among axes of size one the last, and not the first."""
    counted: bool
    """An integer 0 for a batch of one is the number of the row, and not a constant."""
    moved: bool
    """A reshape that moves an axis of one is a transposition: exporters write those so for a batch of one."""


PREFERENCES = tuple(
    Preference(kept, last, counted, moved)
    for moved in (False, True)
    for counted in (False, True)
    for kept in (True, False)
    for last in (False, True)
)


def axis_after(before: Traced, out: Shape, batch: int, preference: Preference) -> int:
    """The batch's axis when `before` is laid out as `out`: the elements' order in memory stays, and with it the
    stride of the batch. An axis that holds nothing else comes first."""
    found: list[tuple[int, int, int]] = []
    for axis, size in enumerate(out):
        inner, rest = divmod(before.stride, max(math.prod(out[axis + 1 :]), 1))
        if rest == 0 and inner and size % (inner * batch) == 0:
            found.append((inner, size // (inner * batch), -axis if preference.last else axis))
    if not found:
        raise FrozenBatch("a reshape tears the rows of the batch apart")
    axes = [abs(axis) for _, _, axis in found]
    old, shape = before.axis, before.shape or ()
    if preference.kept and old in axes and len(shape) == len(out) and shape[:old] == out[:old]:
        assert old is not None
        return old
    return abs(min(found)[2])


def infer(node: onnx.NodeProto, values: Mapping[str, Traced], opsets: Mapping[str, int]) -> list[Traced] | None:
    """The node's outputs by ONNX's own shape inference at both batches; None for an operator without a definition.

    Raises `onnx.shape_inference.InferenceError` when the shapes fit at the frozen batch only.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None
    inputs = {name: values.get(name, Traced()) for name in node.input if name}
    if any(each.elem_type == 0 for each in inputs.values()):
        return None
    try:
        frozen = _outputs(schema, node, {name: (v.elem_type, v.shape, v.value) for name, v in inputs.items()})
    except Exception:  # inference says in several ways that it can't tell
        return None
    grown = _outputs(schema, node, {name: (v.elem_type, v.grown, v.grown_value) for name, v in inputs.items()})
    return [
        Traced(kind, shape, other, _inner(shape, other, inputs.values()))
        for (kind, shape), (_, other) in zip(frozen, grown, strict=True)
    ]


def _outputs(
    schema: onnx.defs.OpSchema,
    node: onnx.NodeProto,
    inputs: Mapping[str, tuple[int, Shape | None, np.ndarray | None]],
) -> list[tuple[int, Shape | None]]:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    # Outputs that are left out share the empty name, and their types would overwrite one another.
    copy.output[:] = [f"output {place}" for place in range(len(node.output))]
    types = {name: helper.make_tensor_type_proto(kind, shape) for name, (kind, shape, _) in inputs.items()}
    data = {
        name: numpy_helper.from_array(value)
        for name, (_, _, value) in inputs.items()
        if value is not None and value.size <= 64 and value.dtype.kind in "if"
    }
    inferred = onnx.shape_inference.infer_node_outputs(schema, copy, types, data)
    return [_kind_and_shape(inferred.get(name)) for name in copy.output]


def _kind_and_shape(kind: onnx.TypeProto | None) -> tuple[int, Shape | None]:
    if kind is None or not kind.HasField("tensor_type"):
        return 0, None
    tensor = kind.tensor_type
    if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(dim.dim_value for dim in tensor.shape.dim)


def _inner(shape: Shape | None, grown: Shape | None, inputs: object) -> int:
    """That of the first input whose batch axis has the output's size; steps of one position otherwise."""
    axis = Traced(1, shape, grown).axis
    if axis is None or shape is None:
        return 1
    for each in inputs:  # type: ignore[attr-defined]
        if each.axis is not None and each.shape[each.axis] == shape[axis]:
            return int(each.inner)
    return 1


def fold(node: onnx.NodeProto, inputs: Sequence[Traced | None], opsets: Mapping[str, int]) -> list[Traced] | None:
    """The node's outputs computed, where its inputs are known and small; None where they are not."""
    present = [each for each in inputs if each is not None]
    sizes = [each.value.size for each in present if each.value is not None and each.grown_value is not None]
    if len(sizes) < len(present) or sum(sizes) > MOST_FOLDED:
        return None
    frozen = _computed(node, [each.value if each else None for each in inputs], opsets)
    if frozen is None:
        return None
    constant = all(each.constant for each in present)
    grown = frozen if constant else _computed(node, [each.grown_value if each else None for each in inputs], opsets)
    if grown is None:
        return None
    return [
        Traced(helper.np_dtype_to_tensor_dtype(one.dtype), one.shape, many.shape, 1, one, many, constant)
        for one, many in zip(frozen, grown, strict=True)
    ]


def _computed(
    node: onnx.NodeProto, inputs: Sequence[np.ndarray | None], opsets: Mapping[str, int]
) -> list[np.ndarray] | None:
    known = {name: value for name, value in zip(node.input, inputs, strict=True) if name and value is not None}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in known.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        arrays = [np.asarray(output) for output in session.run(None, known)]
    except Exception:  # ONNX Runtime's errors have no base of their own; the value stays unknown
        return None
    small = all(array.size <= MOST_FOLDED and array.dtype.kind in "biuf" for array in arrays)
    return arrays if small and len(arrays) == len(node.output) else None
