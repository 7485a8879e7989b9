"""Sizes of dimensions that are not known before the graph runs: what has them, and how they are calculated."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from converters.mxnet.values import Size, Value


class Sizes(ABC):
    """The part of an emitter that knows where each named size can be measured."""

    def __init__(self, around: Sizes | None) -> None:
        self._origins: dict[str, Callable[[], Value]] = dict(around._origins) if around else {}
        self._measured: dict[str, Value] = dict(around._measured) if around else {}

    @abstractmethod
    def emit(self, op: str, *inputs: Value | None, shape: Sequence[Size] | None = None, **attributes: Any) -> Value:
        """See `Emitter.emit`."""

    @abstractmethod
    def ints(self, *values: int) -> Value:
        """See `Emitter.ints`."""

    @abstractmethod
    def number(self) -> int:
        """A number that nothing has yet."""

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
        name = self.fresh_size()
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

    def fresh_size(self) -> str:
        """A name for a size that shape inference does not know."""
        return f"size_{self.number()}"

    def known(self, value: Value) -> Value:
        """The value, whose new sizes can be measured on it from now on."""
        for axis, size in enumerate(value.shape):
            if isinstance(size, str) and size not in self._origins:
                self._origins[size] = lambda axis=axis: self.emit(  # type: ignore[misc]
                    "Shape", value, start=axis, end=axis + 1, shape=(1,)
                )
        return value
