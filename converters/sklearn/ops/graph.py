"""Writing ONNX as arithmetic: values with Python's operators, so that a translation reads like scikit-learn's source.

All numbers are float64 between the inputs and the outputs of an estimator: scikit-learn computes in it, and its
decisions (thresholds, nearest neighbours, largest scores) must come out the same. Operators are those of ONNX's
opset 18 for which ONNX Runtime has float64 kernels on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import onnx

Operand = Union["Value", np.ndarray, "np.generic[Any]", float, int]
TEXT = np.dtype(object)
LARGEST_KEY = 64
"""Attributes longer than this are not compared."""


def floats(values: Any) -> np.ndarray:
    """What a fitted estimator holds, as float64."""
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class Value:
    """One tensor of the graph."""

    graph: Graph
    name: str
    dtype: np.dtype[Any]
    narrow: bool = False
    """Whether scikit-learn holds these numbers as float32: what keeps its input's type rounds to that."""

    __array_ufunc__ = None
    """numpy's arrays leave `array - value` to the value, instead of trying it element by element."""

    def __add__(self, other: Operand) -> Value:
        return self.graph.op("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.op("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.op("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.op("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.graph.op("Div", other, self)

    def __pow__(self, other: Operand) -> Value:
        return self.graph.op("Pow", self, other)

    def __neg__(self) -> Value:
        return self.graph.op("Neg", self)

    def __matmul__(self, other: Operand) -> Value:
        return self.graph.op("MatMul", self, other)

    def __lt__(self, other: Any) -> Value:
        return self.graph.op("Less", self, other, dtype=bool)

    def __le__(self, other: Any) -> Value:
        return self.graph.op("LessOrEqual", self, other, dtype=bool)

    def __gt__(self, other: Any) -> Value:
        return self.graph.op("Greater", self, other, dtype=bool)

    def __ge__(self, other: Any) -> Value:
        return self.graph.op("GreaterOrEqual", self, other, dtype=bool)

    def equals(self, other: Operand) -> Value:
        """Element by element; bool."""
        return self.graph.op("Equal", self, other, dtype=bool)

    def both(self, other: Value) -> Value:
        """Logical and."""
        return self.graph.op("And", self, other)

    def either(self, other: Value) -> Value:
        """Logical or."""
        return self.graph.op("Or", self, other)

    def invert(self) -> Value:
        """Logical not."""
        return self.graph.op("Not", self)

    def apply(self, op_type: str) -> Value:
        """An operator of one operand, as `x.apply("Exp")`."""
        return self.graph.op(op_type, self)

    def exp(self) -> Value:
        """e to the power of every element."""
        return self.apply("Exp")

    def log(self) -> Value:
        """Natural logarithm."""
        return self.apply("Log")

    def sqrt(self) -> Value:
        """Square root."""
        return self.apply("Sqrt")

    def abs(self) -> Value:
        """Absolute value."""
        return self.apply("Abs")

    def is_nan(self) -> Value:
        """Where a number is missing, bool."""
        return self.graph.op("IsNaN", self, dtype=bool)

    def clip(self, low: float | None = None, high: float | None = None) -> Value:
        """Into a range; NaN stays NaN."""
        value = self
        if low is not None:
            value = self.graph.where(value < low, low, value)
        if high is not None:
            value = self.graph.where(value > high, high, value)
        return value

    def cast(self, dtype: Any) -> Value:
        """As another type; nothing happens when it is that type already."""
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self
        return self.graph.op("Cast", self, dtype=wanted, to=onnx.helper.np_dtype_to_tensor_dtype(wanted))

    def double(self) -> Value:
        """As float64."""
        return self.cast(np.float64)

    def rounded(self) -> Value:
        """To float32's nearest, still float64: where scikit-learn stores its numbers as float32."""
        return self.cast(np.float32).cast(np.float64).as_narrow()

    def as_narrow(self, narrow: bool = True) -> Value:
        """The same numbers, held by scikit-learn as float32 or not."""
        return Value(self.graph, self.name, self.dtype, narrow)

    def reshape(self, *shape: int) -> Value:
        """As numpy's, a 0 standing for the same size as before."""
        return self.graph.op("Reshape", self, np.array(shape, np.int64))

    def transpose(self, *axes: int) -> Value:
        """With the axes in another order."""
        return self.graph.op("Transpose", self, perm=list(axes))

    def expand_dims(self, *axes: int) -> Value:
        """With new axes of size 1 at these places of the result."""
        return self.graph.op("Unsqueeze", self, np.array(axes, np.int64))

    def squeeze(self, axis: int) -> Value:
        """Without an axis of size 1."""
        return self.graph.op("Squeeze", self, np.array([axis], np.int64))

    def take(self, indices: Value | np.ndarray | Sequence[int], axis: int = 1) -> Value:
        """The elements at `indices` along an axis."""
        if not isinstance(indices, Value):
            indices = self.graph.constant(np.asarray(indices, np.int64))
        return self.graph.op("Gather", self, indices, axis=axis)

    def column(self, index: int) -> Value:
        """One column, as a matrix."""
        return self.take([index])

    def sum(self, axis: int = 1, keepdims: bool = True) -> Value:
        """Along one axis."""
        return self._reduce("ReduceSum", axis, keepdims)

    def mean(self, axis: int = 1, keepdims: bool = True) -> Value:
        """Along one axis."""
        return self._reduce("ReduceMean", axis, keepdims)

    def max(self, axis: int = 1, keepdims: bool = True) -> Value:
        """Along one axis."""
        return self._reduce("ReduceMax", axis, keepdims)

    def min(self, axis: int = 1, keepdims: bool = True) -> Value:
        """Along one axis."""
        return self._reduce("ReduceMin", axis, keepdims)

    def argmax(self, axis: int = 1) -> Value:
        """The first of the largest, int64, the axis dropped."""
        return self.graph.op("ArgMax", self, dtype=np.int64, axis=axis, keepdims=0)

    def argmin(self, axis: int = 1) -> Value:
        """The first of the smallest, int64, the axis dropped."""
        return self.graph.op("ArgMin", self, dtype=np.int64, axis=axis, keepdims=0)

    def _reduce(self, op_type: str, axis: int, keepdims: bool) -> Value:
        return self.graph.op(op_type, self, np.array([axis], np.int64), keepdims=int(keepdims))


class Graph:
    """The operators of one estimator, written into a container of skl2onnx."""

    def __init__(self, scope: Any, container: Any) -> None:
        self.scope = scope
        self.container = container
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._written: dict[Any, list[Value]] = {}
        self.memory: dict[Any, Any] = {}
        """What `registry.remembers` keeps."""

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """An array of the model. Floats become float64, integers int64, text stays text."""
        values = np.asarray(array)
        if dtype is None:
            dtype = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}.get(values.dtype.kind, object)
        values = np.asarray(values, dtype)
        if values.dtype == TEXT:
            return self._add_constant(np.vectorize(str, otypes=[object])(values) if values.size else values)
        key = (str(values.dtype), values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = self._add_constant(values)
        return self._constants[key]

    def _add_constant(self, values: np.ndarray) -> Value:
        name = self.scope.get_unique_variable_name("constant")
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name)
        self.container.initializers.append(tensor)
        return Value(self, name, values.dtype)

    def op(
        self, op_type: str, *inputs: Operand | None, dtype: Any = None, domain: str = "", **attributes: Any
    ) -> Value:
        """One operator of one output. The result has the first value's type unless `dtype` says otherwise; plain
        numbers among the inputs get it too, arrays of integers excepted."""
        return self.ops(op_type, *inputs, dtypes=[dtype], domain=domain, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: Operand | None, dtypes: Sequence[Any], domain: str = "", **attributes: Any
    ) -> list[Value]:
        """One operator of several outputs."""
        first = next(each for each in inputs if isinstance(each, Value))
        values = [self._operand(each, first.dtype) for each in inputs]
        # A label and its probabilities ask for the same scores: what is written already is not written again.
        key = _key(op_type, domain, values, dtypes, attributes)
        if key in self._written:
            return self._written[key]
        results = [
            Value(self, self.scope.get_unique_variable_name(op_type.lower()), np.dtype(dtype or first.dtype))
            for dtype in dtypes
        ]
        self.container.add_node(
            op_type,
            [each.name if each is not None else "" for each in values],
            [each.name for each in results],
            op_domain=domain,
            op_version={"": 18, "ai.onnx.ml": 3}.get(domain, 1),
            name=self.scope.get_unique_operator_name(op_type),
            **attributes,
        )
        if key is not None:
            self._written[key] = results
        return results

    def _operand(self, operand: Operand | None, dtype: np.dtype[Any]) -> Value | None:
        if operand is None or isinstance(operand, Value):
            return operand
        if isinstance(operand, np.ndarray) and operand.dtype.kind in "iu" and dtype.kind in "fb":
            return self.constant(operand)
        return self.constant(operand, dtype if dtype.kind in "fib" else None)

    def where(self, condition: Value, yes: Operand, no: Operand) -> Value:
        """Element by element. At least one side is a value or an array that tells the type."""
        sides = [each if isinstance(each, Value) else None for each in (yes, no)]
        known = next((each.dtype for each in sides if each), None)
        left, right = (each if isinstance(each, Value) else self.constant(each, known) for each in (yes, no))
        return self.op("Where", condition, left, right, dtype=left.dtype)

    def concat(self, values: Sequence[Value], axis: int = 1) -> Value:
        """Joined along an axis; one alone stays as it is."""
        if len(values) == 1:
            return values[0]
        return self.op("Concat", *values, axis=axis).as_narrow(all(each.narrow for each in values))

    def maximum(self, left: Value, right: Operand) -> Value:
        """The larger of both, element by element; NaN where one is."""
        return self.op("Max", left, right)

    def minimum(self, left: Value, right: Operand) -> Value:
        """The smaller of both, element by element; NaN where one is."""
        return self.op("Min", left, right)

    def rows(self, like: Value) -> Value:
        """The number of rows, int64[1]."""
        return self.op("Shape", like, dtype=np.int64, start=0, end=1)

    def repeat(self, row: np.ndarray, like: Value) -> Value:
        """`row` (1-D) once for each row of `like`."""
        shape = self.concat([self.rows(like), self.constant(np.array([len(row)], np.int64))], axis=0)
        return self.op("Expand", self.constant(np.asarray(row)[None]), shape)

    def softmax(self, scores: Value) -> Value:
        """Over the columns."""
        return self.op("Softmax", scores, axis=1)

    def log_sum_exp(self, values: Value, axis: int = 1) -> Value:
        """Stable for large values; the axis is kept."""
        top = values.max(axis)
        return (values - top).exp().sum(axis).log() + top

    def sigmoid(self, value: Value) -> Value:
        """1 / (1 + exp(-x)), from the side that can't overflow."""
        small = (-value.abs()).exp()
        return self.where(value >= 0, 1.0 / (1.0 + small), small / (1.0 + small))

    def labels(self, classes: Any, index: Value) -> Value:
        """The classes at `index` (int64): INT64 for numbers, text otherwise."""
        known = np.asarray(classes)
        table = self.constant(known.astype(np.int64) if known.dtype.kind in "iubf" else known.astype(object))
        return self.op("Gather", table, index, axis=0)


def _key(
    op_type: str, domain: str, values: Sequence[Value | None], dtypes: Sequence[Any], attributes: dict[str, Any]
) -> Any:
    """Tells operators with equal results; None for one whose attributes are more than a few numbers and words."""
    plain: list[Any] = []
    for name, value in sorted(attributes.items()):
        if isinstance(value, list) and len(value) <= LARGEST_KEY:
            plain.append((name, tuple(value)))
        elif isinstance(value, str | int | float):
            plain.append((name, value))
        else:
            return None
    return op_type, domain, tuple(each.name if each else "" for each in values), tuple(map(str, dtypes)), tuple(plain)
