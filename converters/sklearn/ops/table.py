"""What flows into an estimator: columns that may differ in type, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.sklearn.ops.graph import TEXT, Graph, Value


@dataclass(frozen=True)
class Table:
    """Blocks of columns side by side; a matrix is one block."""

    blocks: tuple[Value, ...]
    widths: tuple[int | None, ...]
    """Columns of each block; None where the graph does not say."""
    names: tuple[str, ...] = ()
    """Of the columns, where the model was fitted on named ones."""

    @classmethod
    def of(cls, value: Value, width: int | None = None) -> Table:
        """A matrix as a table of one block."""
        return cls((value,), (width,))

    @property
    def graph(self) -> Graph:
        """That its columns are part of."""
        return self.blocks[0].graph

    def is_text(self) -> bool:
        """Whether all columns are text."""
        return all(block.dtype == TEXT for block in self.blocks)

    def matrix(self) -> Value:
        """All columns as float64[N, columns]."""
        if any(block.dtype == TEXT for block in self.blocks):
            raise TypeError("a column of text where numbers are expected")
        return self.graph.concat([numbers(block) for block in self.blocks])

    def text(self) -> Value:
        """All columns as they are, of one type."""
        return self.graph.concat(list(self.blocks))

    def column(self, index: int) -> Value:
        """One column, [N, 1], numbers as float64."""
        if len(self.blocks) == 1:
            return _plain(self.blocks[0].column(index).as_narrow(self.blocks[0].narrow))
        return _plain(self._pick(index))

    def columns(self, count: int) -> list[Value]:
        """The first `count` columns, each [N, 1]."""
        return [self.column(index) for index in range(count)]

    def select(self, chosen: Sequence[int]) -> Table:
        """Some columns, in that order."""
        names = tuple(self.names[index] for index in chosen) if self.names else ()
        if len(self.blocks) == 1:
            block = self.blocks[0]
            return Table((block.take(list(chosen)).as_narrow(block.narrow),), (len(chosen),), names)
        parts = tuple(self._pick(index) for index in chosen)
        return Table(parts, (1,) * len(parts), names)

    def _pick(self, index: int) -> Value:
        for block, width in zip(self.blocks, self.widths, strict=True):
            if width is None:
                raise TypeError("a block of unknown width among several")
            if index < width:
                return block if width == 1 else block.column(index).as_narrow(block.narrow)
            index -= width
        raise IndexError(f"column {index} beyond the table")


def numbers(block: Value) -> Value:
    """As float64, remembering whether it came as float32."""
    return block.double().as_narrow(block.narrow or block.dtype == np.float32)


def _plain(column: Value) -> Value:
    return column if column.dtype == TEXT else numbers(column)


def column_indices(chosen: Any, names: Sequence[str], count: int) -> list[int]:
    """Positions that a ColumnTransformer's choice of columns means: a name, a number, a slice, a mask, or a list."""
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            start = list(names).index(chosen.start) if chosen.start is not None else 0
            stop = list(names).index(chosen.stop) + 1 if chosen.stop is not None else count
            return list(range(start, stop, chosen.step or 1))
        return list(range(count))[chosen]
    items = [chosen] if isinstance(chosen, str | int | np.integer) else list(chosen)
    if items and all(isinstance(item, bool | np.bool_) for item in items):
        return [index for index, wanted in enumerate(items) if wanted]
    return [list(names).index(item) if isinstance(item, str) else int(item) % count for item in items]
