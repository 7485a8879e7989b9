"""Values of a graph that is being written, and the constants among them.

A `Value` can be calculated with: `(x - mean) * 2` writes the nodes. Numbers take the dtype of the value beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from converters.mxnet.model_file import Weight

if TYPE_CHECKING:
    from converters.mxnet.emitter import Emitter

Size = int | str
"""Of a dimension: a number, or a name for one that is not known before the graph runs."""
LARGEST_SHORT_BYTES = 1024
"""Constants up to this size are compared, so that each is kept once."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph."""

    g: Emitter
    name: str
    dtype: np.dtype[Any]
    shape: tuple[Size, ...]

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating point numbers."""
        return self.dtype.kind == "f"

    def axis(self, axis: int) -> int:
        """The axis counted from the front."""
        return axis + self.rank if axis < 0 else axis

    def cast(self, dtype: Any) -> Value:
        """The value as `dtype`, as C casts: floats are cut towards zero."""
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self
        return self.g.emit("Cast", self, to=helper.np_dtype_to_tensor_dtype(wanted), shape=self.shape)

    def transpose(self, *perm: int) -> Value:
        """The axes in another order."""
        return self if perm == tuple(range(self.rank)) else self.g.emit("Transpose", self, perm=list(perm))

    def unsqueeze(self, *axes: int) -> Value:
        """With new axes of size 1; they count in the result."""
        return self.g.emit("Unsqueeze", self, self.g.ints(*axes)) if axes else self

    def squeeze(self, *axes: int) -> Value:
        """Without these axes, whose size is 1."""
        return self.g.emit("Squeeze", self, self.g.ints(*axes)) if axes else self

    def slice(self, axis: int, start: int, end: int = sys.maxsize, step: int = 1) -> Value:
        """A range along one axis, with numpy's bounds (except that a negative step needs an explicit `end`)."""
        g = self.g
        return g.emit("Slice", self, g.ints(start), g.ints(end), g.ints(axis), g.ints(step))

    def reduce(self, op: str, *axes: int, keepdims: bool = False) -> Value:
        """`ReduceSum` and its like over `axes`; over none of them when there are none."""
        if not axes:
            return self
        return self.g.emit(op, self, self.g.ints(*axes), keepdims=int(keepdims))

    def _with(self, op: str, other: Value | float, *, swapped: bool = False) -> Value:
        operand = other if isinstance(other, Value) else self.g.scalar(other, self)
        return self.g.emit(op, operand, self) if swapped else self.g.emit(op, self, operand)

    def __add__(self, other: Value | float) -> Value:
        return self._with("Add", other)

    def __radd__(self, other: float) -> Value:
        return self._with("Add", other, swapped=True)

    def __sub__(self, other: Value | float) -> Value:
        return self._with("Sub", other)

    def __rsub__(self, other: float) -> Value:
        return self._with("Sub", other, swapped=True)

    def __mul__(self, other: Value | float) -> Value:
        return self._with("Mul", other)

    def __rmul__(self, other: float) -> Value:
        return self._with("Mul", other, swapped=True)

    def __truediv__(self, other: Value | float) -> Value:
        return self._with("Div", other)

    def __rtruediv__(self, other: float) -> Value:
        return self._with("Div", other, swapped=True)

    def __neg__(self) -> Value:
        return self.g.emit("Neg", self)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class Initializers:
    """Constants by name. Weights are read when the finished graph needs them; the same short constant is kept once."""

    def __init__(self) -> None:
        self._weights: dict[str, Weight] = {}
        self._short: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def lazy(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], read: Callable[[], np.ndarray]) -> str:
        """A constant that `read` gives."""
        self._weights[name] = Weight(name, dtype, shape, read)
        return name

    def add(self, mint: Callable[[], str], array: np.ndarray) -> str:
        """A constant that is at hand, under a new name unless it is short and there already."""
        if array.nbytes > LARGEST_SHORT_BYTES:
            return self.lazy(mint(), array.dtype, array.shape, lambda: array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._short:
            self._short[key] = self.lazy(mint(), array.dtype, array.shape, lambda: array)
        return self._short[key]

    def read(self, name: str) -> np.ndarray:
        """The numbers."""
        return self._weights[name].read()

    def weights(self, needed: Container[str]) -> list[Weight]:
        """Those of `needed`, not read yet."""
        return [weight for name, weight in self._weights.items() if name in needed]
