"""Writes an ONNX graph node by node, and knows the type and shape of every value on the way.

Shapes are tuples of sizes; a size is a number, or a name that stands for the same unknown number wherever it appears.
Which value has the size of that name is remembered, so a shape that is not known can still be computed in the graph.
Shape inference is ONNX's own, a node at a time (`onnx.shape_inference.infer_node_outputs`). Values whose inputs are all
known can be asked for their numbers (`constant`); nodes that nobody needs in the end are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from converters.mxnet.model_file import Weight
from converters.mxnet.values import Initializers, Size, Value
from model_store.errors import ConversionError, first_line

OPSET = 21
IR_VERSION = 10
_OPSETS = [helper.make_opsetid("", OPSET)]
LARGEST_HINT = 64
"""Elements of a constant that shape inference is told: axes, sizes and bounds are short."""


@dataclass(frozen=True)
class _Emitted:
    """A node and the values it reads."""

    node: onnx.NodeProto
    inputs: tuple[Value | None, ...]


class Emitter:
    """One graph that is being written; `subgraph` gives one for the body of a loop or branch inside of it."""

    def __init__(self, parent: Emitter | None = None) -> None:
        self._parent = parent
        self._root: Emitter = parent._root if parent else self
        self._nodes: list[onnx.NodeProto] = []
        self._producers: dict[str, _Emitted] = parent._producers if parent else {}
        self._origins: dict[str, Callable[[], Value]] = dict(parent._origins) if parent else {}
        self._measured: dict[str, Value] = dict(parent._measured) if parent else {}
        self._initializers: Initializers = parent._initializers if parent else Initializers()
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
        return self._known(Value(self, name, np.dtype(dtype), tuple(shape)))

    def weight(self, dtype: np.dtype[Any], shape: Sequence[int], read: Callable[[], np.ndarray]) -> Value:
        """A constant that is read when it is needed, and only then."""
        name = self._initializers.lazy(self._mint(), np.dtype(dtype), tuple(shape), read)
        return Value(self, name, np.dtype(dtype), tuple(shape))

    def const(self, value: Any, dtype: Any = None) -> Value:
        """A constant, of any shape."""
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
        return self._known(Value(self, value.name, value.dtype, tuple(shape)))

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
        emitted = _Emitted(node, inputs)
        self._nodes.append(node)
        if types is not None:
            return tuple(self._known(Value(self, name, t.dtype, t.shape)) for name, t in zip(names, types, strict=True))
        self._producers.update(dict.fromkeys(names, emitted))
        inferred = self._infer(emitted)
        return tuple(self._value(name, inferred.get(name)) for name in names)

    def constant(self, value: Value) -> np.ndarray | None:
        """The numbers of a value that depends on no input; None for any other."""
        if value.name in self._initializers:
            return self._initializers.read(value.name)
        emitted = self._producers.get(value.name)
        if emitted is None:
            return None
        if emitted.node.op_type == "Shape":
            return _known_shape(emitted)
        arrays = [self.constant(each) if each is not None else None for each in emitted.inputs]
        if any(array is None and each is not None for array, each in zip(arrays, emitted.inputs, strict=True)):
            return None
        feeds = {each.name: array for each, array in zip(emitted.inputs, arrays, strict=True) if each is not None}
        return np.asarray(_evaluate(emitted.node, feeds)[list(emitted.node.output).index(value.name)])

    # -- sizes ------------------------------------------------------------------------------------------------------

    def size(self, size: Size) -> Value:
        """A size as int64[1], measured in the graph where it is no number."""
        if isinstance(size, int):
            return self.ints(size)
        if size not in self._measured:
            self._measured[size] = self._origins[size]()
        return self._measured[size]

    def sizes(self, sizes: Sequence[Size]) -> Value:
        """Sizes as int64[n]."""
        if all(isinstance(size, int) for size in sizes):
            return self.ints(*[size for size in sizes if isinstance(size, int)])
        parts = [self.size(size) for size in sizes]
        return parts[0] if len(parts) == 1 else self.emit("Concat", *parts, axis=0)

    def product(self, sizes: Iterable[Size]) -> Size:
        """The product of sizes, under a new name where it is not known."""
        listed = list(sizes)
        known = math.prod(size for size in listed if isinstance(size, int))
        names = [size for size in listed if isinstance(size, str)]
        if not names:
            return known
        if len(names) == 1 and known == 1:
            return names[0]

        def measure() -> Value:
            product = self.size(names[0])
            for name in names[1:]:
                product = self.emit("Mul", product, self.size(name))
            return product if known == 1 else self.emit("Mul", product, self.ints(known))

        return self.new_size(measure)

    def new_size(self, measure: Callable[[], Value]) -> str:
        """A name for a size that `measure` computes as int64[1] when it is asked for."""
        self._root._count += 1
        name = f"size_{self._root._count}"
        self._origins[name] = measure
        return name

    def reshape(self, value: Value, shape: Sequence[Size]) -> Value:
        """The same elements in another shape. At most one size may be unknown to everybody: then it is -1."""
        target = tuple(shape)
        if target == value.shape:
            return value
        empty = 1 if 0 in target else None
        return self.emit("Reshape", value, self._reshape_target(value, target), shape=target, allowzero=empty)

    def _reshape_target(self, value: Value, target: tuple[Size, ...]) -> Value:
        """Numbers alone where 0 (copy) and -1 (infer) suffice."""
        if any(size == 0 for size in target):
            return self.sizes(target)
        codes = [
            size if isinstance(size, int) else (0 if value.shape[axis : axis + 1] == (size,) else -1)
            for axis, size in enumerate(target)
        ]
        return self.ints(*codes) if codes.count(-1) <= 1 else self.sizes(target)

    # -- the finished graph -----------------------------------------------------------------------------------------

    def finish(
        self, graph: onnx.GraphProto, inputs: Sequence[Value], outputs: Sequence[tuple[str, Value]]
    ) -> onnx.GraphProto:
        """Fills `graph` with all nodes that `outputs`, named values, need. Its constants are `weights`."""
        for public, value in outputs:
            self._nodes.append(helper.make_node("Identity", [value.name], [public]))
        nodes, self._needed = _needed(self._nodes, {public for public, _ in outputs})
        graph.node.extend(nodes)
        graph.input.extend(map(_declared, inputs))
        graph.output.extend(_declared(Value(self, public, value.dtype, value.shape)) for public, value in outputs)
        return graph

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

    # -- inside -----------------------------------------------------------------------------------------------------

    def _mint(self) -> str:
        """A name that no input has; outputs end in other letters."""
        root = self._root
        root._count += 1
        while f"%{root._count}" in root._taken:
            root._count += 1
        return f"%{root._count}"

    def _known(self, value: Value) -> Value:
        """Notes on which value each new size can be measured."""
        for axis, size in enumerate(value.shape):
            if isinstance(size, str) and size not in self._origins:
                self._origins[size] = lambda axis=axis: self.emit(  # type: ignore[misc]
                    "Shape", value, start=axis, end=axis + 1, shape=(1,)
                )
        return value

    def _value(self, name: str, inferred: onnx.TypeProto | None) -> Value:
        if inferred is None or not inferred.tensor_type.HasField("shape"):
            raise ConversionError(f"the shape of {self._producers[name].node.op_type}'s output can't be inferred")
        kind = inferred.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or self._fresh() for dim in kind.shape.dim
        )
        return self._known(Value(self, name, dtype, shape))

    def _fresh(self) -> str:
        self._root._count += 1
        return f"size_{self._root._count}"

    def _infer(self, emitted: _Emitted) -> dict[str, onnx.TypeProto]:
        node = emitted.node
        schema = defs.get_schema(node.op_type, OPSET, "")
        values = [value for value in emitted.inputs if value is not None]
        types = {value.name: _declared(value).type for value in values}
        hints = {value.name: hint for value in values if (hint := self._hint(value)) is not None}
        try:
            found: dict[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
                schema, node, types, hints, opset_imports=_OPSETS, ir_version=IR_VERSION
            )
        except onnx.shape_inference.InferenceError as error:
            shapes = ", ".join(map(str, values))
            raise ConversionError(f"{node.op_type} does not take {shapes}: {first_line(error)}") from error
        return found

    def _hint(self, value: Value) -> onnx.TensorProto | None:
        """The numbers of a short int64 vector: what shape inference may want to know."""
        if value.dtype != np.int64 or len(value.shape) > 1 or any(isinstance(size, str) for size in value.shape):
            return None
        if math.prod(size for size in value.shape if isinstance(size, int)) > LARGEST_HINT:
            return None
        array = self.constant(value)
        return None if array is None else numpy_helper.from_array(np.array(array, order="C"), value.name)


def new_model(name: str) -> onnx.ModelProto:
    """A model without nodes, for `Emitter.finish` to fill its graph."""
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="onegate")
    model.opset_import.extend(_OPSETS)
    model.graph.name = name
    return model


def _declared(value: Value) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(value.name, kind, list(value.shape))


def _known_shape(emitted: _Emitted) -> np.ndarray | None:
    """What a Shape node gives, where the shape is known: without the numbers of the tensor."""
    (tensor,) = emitted.inputs
    bounds = {attribute.name: attribute.i for attribute in emitted.node.attribute}
    sizes = tensor.shape[bounds.get("start", 0) : bounds.get("end")] if tensor else ()
    return None if any(isinstance(size, str) for size in sizes) else np.array(sizes, dtype=np.int64)


def _evaluate(node: onnx.NodeProto, feeds: dict[str, Any]) -> list[Any]:
    graph = onnx.GraphProto(name="node")
    graph.node.append(node)
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in feeds)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    results: list[Any] = ReferenceEvaluator(helper.make_model(graph, opset_imports=_OPSETS)).run(None, feeds)
    return results


def _needed(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """Those nodes that lead to `wanted`, in order, and all names that they read."""
    kept: list[onnx.NodeProto] = []
    names = set(wanted)
    for node in reversed(nodes):
        if names.isdisjoint(node.output):
            continue
        kept.append(node)
        names.update(name for name in node.input if name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names.update(name for inner in attribute.g.node for name in _reads(inner))
    return kept[::-1], names


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from _reads(inner)
