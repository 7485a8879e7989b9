"""New nodes for a graph whose batch is freed: constants, shapes that hold the batch of a request, expansions to it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from converters.freeing.axes import FrozenBatch, Traced, carrying

BATCH = "onegate_batch"
"""The value int64[1] that holds the batch of a request; names of new values begin with it."""

Nodes = list[onnx.NodeProto]


class NodeWriter:
    """Makes nodes for one graph that was frozen at `batch`; `counted` is that of `Preference`.

    Each method appends to `before` and returns a name."""

    def __init__(self, batch: int, *, counted: bool) -> None:
        self._batch = batch
        self._counted = counted
        self._made = 0
        self._uses_batch = False

    def preamble(self, first_input: str) -> Nodes:
        """What has to stand in front of the graph, so that the batch is known in it."""
        if not self._uses_batch:
            return []
        return [
            _constant(np.array([0]), f"{BATCH}_axis"),
            helper.make_node("Shape", [first_input], [f"{BATCH}_shape"]),
            helper.make_node("Gather", [f"{BATCH}_shape", f"{BATCH}_axis"], [BATCH]),
        ]

    def constant(self, array: np.ndarray, before: Nodes) -> str:
        """A constant; as initializers of old IR versions would be inputs, it is a node."""
        name = self._new_name()
        before.append(_constant(array, name))
        return name

    def shape_with_batch(self, name: str, rank: int, axis: int, size: int, before: Nodes) -> str:
        """The shape `name` with the batch in place of what was `size` at the frozen batch."""
        mask = self.constant(np.arange(rank) == axis, before)
        return self._node("Where", [mask, self._batch_for(size, before), name], before)

    def expanded(self, name: str, frozen: Traced, axis: int, before: Nodes) -> tuple[str, Traced]:
        """A value that is frozen along `axis`, expanded to the batch. Raises `FrozenBatch` when its rows differ, unless
        they count the rows of the batch."""
        shape = frozen.shape
        if shape is None or axis >= len(shape) or shape[axis] % self._batch:
            raise FrozenBatch("a value is frozen in an unknown way")
        size = shape[axis]
        pieces = [
            self.constant(np.array(shape[:axis], np.int64), before),
            self._batch_for(size, before),
            self.constant(np.array(shape[axis + 1 :], np.int64), before),
        ]
        if size == self._batch and self._counts(frozen.value, axis):
            row = self._row_numbers(len(shape), axis, frozen.elem_type, before)
        else:
            row = self.first_row(frozen, axis, before) if size > 1 else name
        target = self._node("Concat", pieces, before, axis=0)
        return self._node("Expand", [row, target], before), carrying(shape, axis, frozen.elem_type)

    def _counts(self, value: np.ndarray | None, axis: int) -> bool:
        """Whether a constant says 0, 1, 2 ... along the batch; a single 0 may or may not mean that."""
        if value is None or value.dtype.kind != "i" or (self._batch == 1 and not self._counted):
            return False
        numbers = np.arange(self._batch).reshape([-1 if place == axis else 1 for place in range(value.ndim)])
        return bool((value == numbers).all())

    def _row_numbers(self, rank: int, axis: int, elem_type: int, before: Nodes) -> str:
        """0 to the batch - 1 along `axis` of `rank` axes."""
        self._uses_batch = True
        ends = [self.constant(np.array(number), before) for number in (0, 1)]
        scalar = self._node("Reshape", [BATCH, self.constant(np.zeros(0, np.int64), before)], before)
        numbers = self._node("Range", [ends[0], scalar, ends[1]], before)
        shape = np.array([-1 if place == axis else 1 for place in range(rank)])
        column = self._node("Reshape", [numbers, self.constant(shape, before)], before)
        return self._node("Cast", [column], before, to=elem_type)

    def row_indexes(self, first: np.ndarray, step: int, before: Nodes) -> str:
        """The indexes `first` (int[1, ...]) for each row of the batch, `step` further from row to row."""
        kind = helper.np_dtype_to_tensor_dtype(first.dtype)
        numbers = self._row_numbers(first.ndim, 0, kind, before)
        distance = self._node("Mul", [numbers, self.constant(np.array(step, first.dtype), before)], before)
        return self._node("Add", [self.constant(first, before), distance], before)

    def first_row(self, frozen: Traced, axis: int, before: Nodes) -> str:
        """One of the equal rows of a constant. Raises `FrozenBatch` when they differ, or are not known."""
        value = frozen.value
        if value is None:
            raise FrozenBatch("a value of the frozen batch is computed from no input")
        row = np.take(value, [0], axis=axis)
        if not np.array_equal(np.broadcast_to(row, value.shape), value, equal_nan=value.dtype.kind == "f"):
            raise FrozenBatch("a constant differs from row to row of the frozen batch")
        return self.constant(row, before)

    def _batch_for(self, size: int, before: Nodes) -> str:
        self._uses_batch = True
        multiple = size // self._batch
        if multiple <= 1:
            return BATCH
        return self._node("Mul", [BATCH, self.constant(np.array([multiple], np.int64), before)], before)

    def _node(self, kind: str, inputs: list[str], before: Nodes, **attributes: int) -> str:
        name = self._new_name()
        before.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _new_name(self) -> str:
        self._made += 1
        return f"{BATCH}_{self._made}"


def _constant(array: np.ndarray, name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.ascontiguousarray(array)))
