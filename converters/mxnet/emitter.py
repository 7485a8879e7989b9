"""Writes an ONNX graph node by node, and knows the type and shape of every value on the way.

Shapes are tuples of sizes; a size is a number, or a name that stands for the same unknown number wherever it appears.
Which value has the size of that name is remembered, so a shape that is not known can still be computed in the graph.
Shape inference is ONNX's own, a node at a time (`onnx.shape_inference.infer_node_outputs`). Values whose inputs are all
known can be asked for their numbers (`constant`); nodes that nobody needs in the end are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from converters.mxnet.model_file import Weight
from converters.mxnet.onnx_nodes import Emitted, compute, declared, infer, known_shape, needed
from converters.mxnet.sizes import Sizes
from converters.mxnet.values import Initializers, Size, Value
from model_store.errors import ConversionError

SHORT_BYTES = 1024
"""Of results that are kept: sizes, axes, bounds."""


class Emitter(Sizes):
    """One graph that is being written; `subgraph` gives one for the body of a loop or branch inside of it."""

    def __init__(self, parent: Emitter | None = None) -> None:
        super().__init__(parent)
        self._root: Emitter = parent._root if parent else self
        self._nodes: list[onnx.NodeProto] = []
        self._producers: dict[str, Emitted] = parent._producers if parent else {}
        self._initializers: Initializers = parent._initializers if parent else Initializers()
        self._fixed: set[str] = parent._fixed if parent else set()
        self._numbers: dict[str, np.ndarray] = parent._numbers if parent else {}
        self._count = 0
        self._taken: set[str] = set()
        self._needed: set[str] = set()

    def subgraph(self) -> Emitter:
        """An emitter for an inner graph, which sees all values written so far."""
        return Emitter(self)

    # -- values from outside ----------------------------------------------------------------------------------------

    def input(self, name: str, dtype: np.dtype[Any], shape: Sequence[Size]) -> Value:
        """An input of this graph. A size that is a name is measured on it."""
        self._root._taken.add(name)
        return self.known(Value(self, name, np.dtype(dtype), tuple(shape)))

    def weight(self, dtype: np.dtype[Any], shape: Sequence[int], read: Callable[[], np.ndarray]) -> Value:
        """A constant that is read when it is needed, and only then."""
        name = self._initializers.lazy(self._mint(), np.dtype(dtype), tuple(shape), read)
        return Value(self, name, np.dtype(dtype), tuple(shape))

    def const(self, value: Any, dtype: Any = None) -> Value:
        """A constant, of any shape. Numbers beyond the dtype's range become infinite, as MXNet casts attributes."""
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=dtype)
        return Value(self, self._initializers.add(self._mint, array), array.dtype, array.shape)

    def scalar(self, value: float, like: Value) -> Value:
        """A constant of rank 0, of the dtype of `like`."""
        return self.const(value, like.dtype)

    def ints(self, *values: int) -> Value:
        """A constant int64[n]: axes, sizes, bounds."""
        return self.const(values, np.int64)

    def argument(self, dtype: np.dtype[Any], shape: Sequence[Size]) -> Value:
        """An input of an inner graph, under a new name."""
        return self.input(self._mint(), dtype, shape)

    def seen(self, value: Value) -> Value:
        """A value of the graph around this inner one, so that what is calculated with it is written here."""
        return Value(self, value.name, value.dtype, value.shape)

    # -- nodes ------------------------------------------------------------------------------------------------------

    def emit(self, op: str, *inputs: Value | None, shape: Sequence[Size] | None = None, **attributes: Any) -> Value:
        """A node with one output. `shape`, when given, is what the caller knows better than shape inference."""
        (value,) = self.emit_many(op, *inputs, outputs=1, **attributes)
        if shape is None:
            return value
        return self.known(Value(self, value.name, value.dtype, tuple(shape)))

    def emit_many(
        self, op: str, *inputs: Value | None, outputs: int, types: Sequence[Value] | None = None, **attributes: Any
    ) -> tuple[Value, ...]:
        """A node of ONNX's opset with several outputs.

        Attributes that are None are left out. `types` are values whose dtypes and shapes the outputs have, for nodes
        with a graph inside, where nothing is inferred. Raises `ConversionError` when the inputs don't fit the operator.
        """
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        names = [self._mint() for _ in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(op, [value.name if value else "" for value in inputs], names, **given)
        emitted = Emitted(node, inputs)
        self._nodes.append(node)
        if types is not None:
            return tuple(self.known(Value(self, name, t.dtype, t.shape)) for name, t in zip(names, types, strict=True))
        self._producers.update(dict.fromkeys(names, emitted))
        if self._depends_on_no_input(emitted):
            self._fixed.update(names)
        inferred = infer(emitted, self.constant)
        return tuple(self._value(name, inferred.get(name)) for name in names)

    def constant(self, value: Value) -> np.ndarray | None:
        """The numbers of a value that depends on no input; None for any other."""
        known = value.name in self._initializers or value.name in self._fixed
        return self._evaluated(value) if known else None

    def _depends_on_no_input(self, emitted: Emitted) -> bool:
        """Told when a node is written, from its inputs alone: graphs are too deep and too tangled to look back."""
        if emitted.node.op_type == "Shape":
            return known_shape(emitted) is not None
        names = [value.name for value in emitted.inputs if value is not None]
        return all(name in self._fixed or name in self._initializers for name in names)

    def _evaluated(self, value: Value) -> np.ndarray | None:
        """Each value that leads to it once, the deepest first: graphs may be deeper than Python's own stack.

        Short arrays are kept, so that a chain of them is not computed from its start each time.
        """
        seen: dict[str, np.ndarray | None] = {}
        waiting = [value]
        while waiting:
            emitted = self._producers.get(waiting[-1].name)
            behind = emitted.inputs if emitted and waiting[-1].name not in self._numbers else ()
            unseen = [each for each in behind if each is not None and each.name not in seen]
            if unseen and emitted and emitted.node.op_type != "Shape":
                waiting += unseen
            else:
                last = waiting.pop()
                if last.name not in seen:
                    seen[last.name] = self._numbers_of(last, emitted, seen)
        return seen[value.name]

    def _numbers_of(
        self, value: Value, emitted: Emitted | None, seen: Mapping[str, np.ndarray | None]
    ) -> np.ndarray | None:
        if emitted is None:
            return self._initializers.read(value.name)
        if value.name in self._numbers:
            return self._numbers[value.name]
        if emitted.node.op_type == "Shape":
            return known_shape(emitted)
        arrays = [seen[each.name] if each is not None else None for each in emitted.inputs]
        if any(array is None and each is not None for array, each in zip(arrays, emitted.inputs, strict=True)):
            return None
        array = compute(emitted, value, arrays)
        if array is not None and array.nbytes <= SHORT_BYTES:
            self._numbers[value.name] = array
        return array

    def folded(self, value: Value) -> Value:
        """As one constant where it depends on no input: what the files compute from weights, again and again."""
        array = None if value.name in self._initializers else self.constant(value)
        return value if array is None else self.const(array)

    def made_by(self, value: Value) -> tuple[str, tuple[Value | None, ...]]:
        """The ONNX operator that gives a value, and what it reads; nothing for inputs, constants and loops."""
        emitted = self._producers.get(value.name)
        return ("", ()) if emitted is None else (emitted.node.op_type, emitted.inputs)

    # -- the finished graph -----------------------------------------------------------------------------------------

    def finish(
        self, graph: onnx.GraphProto, inputs: Sequence[Value], outputs: Sequence[tuple[str, Value]]
    ) -> onnx.GraphProto:
        """Fills `graph` with all nodes that `outputs`, named values, need. Its constants are `weights`."""
        for public, value in outputs:
            self._nodes.append(helper.make_node("Identity", [value.name], [public]))
        nodes, self._needed = needed(self._nodes, {public for public, _ in outputs})
        graph.node.extend(nodes)
        graph.input.extend(map(declared, inputs))
        graph.output.extend(declared(Value(self, public, value.dtype, value.shape)) for public, value in outputs)
        return graph

    def body(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> onnx.GraphProto:
        """The inner graph as an attribute of the node that it belongs to."""
        named = [(self._mint(), value) for value in outputs]
        return self.finish(onnx.GraphProto(name=self._mint()), inputs, named)

    def weights(self) -> list[Weight]:
        """The constants that the finished graph reads; those of inner graphs are the outermost one's."""
        return self._initializers.weights(self._needed)

    def serialized(self, model: onnx.ModelProto) -> bytes:
        """A model of the finished graph, with its constants, for what is small enough to have in memory."""
        for weight in self.weights():
            tensor = weight.header()
            tensor.raw_data = weight.read().tobytes()
            model.graph.initializer.append(tensor)
        return bytes(model.SerializeToString())

    def number(self) -> int:
        """A number that nothing of the whole model has yet."""
        self._root._count += 1
        return self._root._count

    # -- inside -----------------------------------------------------------------------------------------------------

    def _mint(self) -> str:
        """A name that no input has; outputs end in other letters."""
        while (name := f"%{self.number()}") in self._root._taken:
            pass
        return name

    def _value(self, name: str, inferred: onnx.TypeProto | None) -> Value:
        if inferred is None or not inferred.tensor_type.HasField("shape"):
            raise ConversionError(f"the shape of {self._producers[name].node.op_type}'s output can't be inferred")
        kind = inferred.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or self.fresh_size() for dim in kind.shape.dim
        )
        return self.known(Value(self, name, dtype, shape))
