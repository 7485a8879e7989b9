"""CSV bodies: a line a row (RFC 4180), with or without a first line of names.

Columns stand for inputs where each of them has one value a row, by name or in the model's order. A model with one
input takes all columns as its row, row-major where it has more dimensions. An empty cell is a missing number, NaN, and
the empty text.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from model_store.datatypes import DTYPES, is_floating
from model_store.errors import InvalidInput, first_line
from model_store.manifest import Signature, TensorSpec
from serve.admission import describe
from serve.inference import Tensors
from serve.processors.casting import cast

_BOOLS = {"true": 1, "1": 1, "false": 0, "0": 0}


class _Cells(Protocol):
    """Values one after the other, as little memory as their datatype needs."""

    def extend(self, values: Any, /) -> None:
        """Takes more values."""

    def __len__(self) -> int:
        """How many there are."""


def read_csv(body: bytes, signature: Signature) -> Tensors:
    """The inputs in a CSV body; raises `InvalidInput` for lines of different lengths, unknown names, cells that are no
    values of the datatype, and a model whose inputs no columns can be."""
    rows = _Rows(body)
    specs = _columns_of(signature.inputs, rows)
    return _matrix(specs[0], rows) if len(signature.inputs) == 1 else _columns(specs, rows)


class _Rows:
    """The lines that are not blank, each as long as the first one."""

    def __init__(self, body: bytes) -> None:
        self._lines = csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""), strict=True)
        self.first = next(self._read(), [])
        if not self.first:
            raise InvalidInput("the CSV is empty")
        self.has_names = False

    def __iter__(self) -> Iterator[list[str]]:
        if not self.has_names:
            yield self.first
        for row in self._read():
            if len(row) != len(self.first):
                raise InvalidInput(
                    f"line {self._lines.line_num} of the CSV: expected {len(self.first)} cells, got {len(row)}"
                )
            yield row

    def _read(self) -> Iterator[list[str]]:
        try:
            yield from filter(None, self._lines)
        except csv.Error as error:
            raise InvalidInput(f"line {self._lines.line_num} of the CSV: {first_line(error)}") from error
        except UnicodeDecodeError as error:
            raise InvalidInput(f"the CSV is not UTF-8 text: {error.reason}") from error


def _columns_of(specs: Sequence[TensorSpec], rows: _Rows) -> Sequence[TensorSpec]:
    """The inputs in the order of the columns; notes whether the first line is names."""
    named = {spec.name: spec for spec in specs}
    if len(rows.first) == len(named) and set(rows.first) == set(named):
        rows.has_names = True
        return [named[name] for name in rows.first]
    if len(specs) == 1:
        # Columns of one input have names of their own, which no model knows.
        rows.has_names = specs[0].datatype != "BYTES" and _are_names(rows.first)
        return specs
    _check_columns(specs, rows.first)
    return specs


def _check_columns(specs: Sequence[TensorSpec], first: list[str]) -> None:
    takes = ", ".join(map(describe, specs))
    if any(spec.shape not in ((-1,), (-1, 1)) for spec in specs):
        raise InvalidInput(f"CSV can't carry these inputs, which are no single values a row: {takes}")
    wrong = len(first) != len(specs) or not all(
        spec.datatype == "BYTES" or _is_number(cell) for spec, cell in zip(specs, first, strict=True)
    )
    if wrong:
        got = ", ".join(f"{cell!r:.40}" for cell in first[:20])
        raise InvalidInput(f"expected a column for each of the inputs {takes}, or their names first; got {got}")


def _are_names(cells: list[str]) -> bool:
    """A number among them, and they are values, of which some are wrong: as names the row would go unanswered."""
    return any(cells) and not any(cell and _is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    if not cell or cell.strip().lower() in _BOOLS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(specs: Sequence[TensorSpec], rows: _Rows) -> Tensors:
    _check_columns(specs, [""] * len(specs))
    cells = [_cells(spec) for spec in specs]
    reads = [_reader(spec) for spec in specs]
    for row in rows:
        for cell, read, values in zip(row, reads, cells, strict=True):
            values.extend(read((cell,)))
    return {
        spec.name: _tensor(spec, values, [len(values), 1][: len(spec.shape)])
        for spec, values in zip(specs, cells, strict=True)
    }


def _matrix(spec: TensorSpec, rows: _Rows) -> Tensors:
    cells, read, count = _cells(spec), _reader(spec), 0
    for row in rows:
        cells.extend(read(row))
        count += 1
    if not count and rows.first != [spec.name]:
        raise InvalidInput(f"the CSV has one line, which is no row {describe(spec)}: {rows.first[0]!r:.40}")
    return {spec.name: _tensor(spec, cells, _shape(spec, count, len(rows.first)))}


def _shape(spec: TensorSpec, rows: int, columns: int) -> list[int]:
    """The tensor's shape: a line is a row of the batch; without a batch dimension the lines are the whole tensor."""
    batched = spec.shape[:1] == (-1,)
    sizes = list(spec.shape[1:] if batched else spec.shape)
    count = columns if batched else rows * columns
    known = math.prod(size for size in sizes if size >= 0)
    free = sizes.count(-1)
    if free > 1 or not known or count % known or (not free and count != known):
        raise InvalidInput(f"{rows} lines of {columns} cells are no tensor {describe(spec)}", input=spec.name)
    sizes = [count // known if size < 0 else size for size in sizes]
    return [rows, *sizes] if batched else sizes


def _cells(spec: TensorSpec) -> _Cells:
    kind = DTYPES[spec.datatype].kind
    if kind == "O":
        return []
    return bytearray() if kind == "b" else array({"i": "q", "u": "Q"}.get(kind, "d"))


def _reader(spec: TensorSpec) -> Callable[[Sequence[str]], list[Any]]:
    """What turns cells into values of the input; it raises `InvalidInput` for the first that is none."""
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "O":
        return lambda cells: [cell.encode() for cell in cells]
    value: Callable[[str], Any] = int
    if is_floating(dtype):
        value = float
    elif dtype.kind == "b":
        value = _bool
    return _NumberReader(spec, value)


class _NumberReader:
    """Reads cells of one number each."""

    def __init__(self, spec: TensorSpec, value: Callable[[str], Any]) -> None:
        self._spec = spec
        self._value = value
        self._limits = None if value is not int else np.iinfo(DTYPES[spec.datatype])

    def __call__(self, cells: Sequence[str]) -> list[Any]:
        try:
            # Python's own numbers may have `_` within.
            if "_" not in "".join(cells):
                return self._checked(list(map(self._value, cells)))
        except ValueError:
            pass
        return self._checked([self._one(cell) for cell in cells])

    def _one(self, cell: str) -> Any:
        try:
            if not cell.strip() and self._value is float:
                return math.nan
            if "_" in cell:
                raise ValueError(cell)
            return self._value(cell)
        except ValueError:
            raise self._wrong(cell) from None

    def _checked(self, values: list[Any]) -> list[Any]:
        limits = self._limits
        if limits is not None and values and not (limits.min <= min(values) and max(values) <= limits.max):
            raise self._wrong(str(next(value for value in values if not limits.min <= value <= limits.max)))
        return values

    def _wrong(self, cell: str) -> InvalidInput:
        name, datatype = self._spec.name, self._spec.datatype
        return InvalidInput(f"input {name!r}: expected {datatype} values, got {cell!r:.40}", input=name)


def _bool(cell: str) -> int:
    value = _BOOLS.get(cell.strip().lower())
    if value is None:
        raise ValueError(cell)
    return value


def _tensor(spec: TensorSpec, cells: _Cells, shape: list[int]) -> np.ndarray:
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "O":
        flat = np.empty(len(cells), dtype=object)
        flat[:] = cells
        return flat.reshape(shape)
    wide = np.frombuffer(cells, np.bool_ if dtype.kind == "b" else np.dtype(cells.typecode))  # type: ignore[call-overload, attr-defined]
    return cast(spec.name, wide, spec.datatype).reshape(shape)
