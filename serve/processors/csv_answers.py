"""Answers as CSV (RFC 4180, but for line breaks of one byte), without a line of names, for clients that ask for it."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from model_store.errors import InvalidInput
from serve.inference import Tensors
from serve.preferences import preferences
from serve.tensors import to_json_values

CSV = "text/csv"

_JSON_RANGES = ("application/json", "application/*", "*/*")
"""What of an `Accept` decides about JSON: the first that is there (RFC 9110, section 12.5.1)."""


def wants_csv(accept: str | None) -> bool:
    """Whether an `Accept` likes CSV better than JSON, which clients get that like both equally."""
    if accept is None or CSV not in accept.lower():
        return False
    weights = preferences(accept)
    json = next((weights[media] for media in _JSON_RANGES if media in weights), 0.0)
    return weights.get(CSV, 0.0) > json


def write_csv(outputs: Tensors, batched: bool) -> bytes:
    """A line for each row of the batch: the outputs side by side, the values of each row-major. Outputs without a batch
    dimension are one line, or one for each index of their first dimension where they have several.

    Booleans are `true` and `false`, and numbers that are none `nan`, `inf` and `-inf`. Raises `InvalidInput` for BYTES
    that are not UTF-8 text, and for outputs that differ in their number of lines.
    """
    tables = [_lines(tensor, batched) for tensor in outputs.values()]
    if any(len(table) != len(tables[0]) for table in tables):
        shapes = ", ".join(f"{name!r} {list(tensor.shape)}" for name, tensor in outputs.items())
        raise InvalidInput(f"the outputs differ in their number of lines, {shapes}; ask for JSON in place of {CSV}")
    text = io.StringIO()
    rows = zip(*tables, strict=True)
    csv.writer(text, lineterminator="\n").writerows([cell for cells in row for cell in cells] for row in rows)
    return text.getvalue().encode()


def _lines(tensor: np.ndarray, batched: bool) -> list[list[Any]]:
    count = len(tensor) if batched or tensor.ndim > 1 else 1
    cells = to_json_values(tensor)
    if tensor.dtype.kind == "b":
        cells = ["true" if cell else "false" for cell in cells]
    width = len(cells) // max(count, 1)
    return [cells[start * width : (start + 1) * width] for start in range(count)]
