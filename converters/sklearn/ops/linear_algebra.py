"""Small linear systems, one for each row of the batch; ONNX has no solver."""

from __future__ import annotations

import numpy as np

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import NotTranslated

LARGEST_SYSTEM = 32
"""Elimination is written out step by step: beyond it the graph would hold thousands of nodes."""


def solve_positive(g: Graph, matrix: Value, right: Value, size: int) -> Value:
    """Solves `matrix w = right` for positive definite matrices, without pivots.

    matrix: float64[N, size, size], right: float64[N, size] -> float64[N, size].
    """
    if size > LARGEST_SYSTEM:
        raise NotTranslated(f"a linear system of {size} unknowns for every row")
    if size == 1:
        return right / matrix.squeeze(2)
    system = g.concat([matrix, right.expand_dims(2)], axis=2)
    for pivot in range(size):
        row = system.take([pivot], axis=1)
        row = row / row.take([pivot], axis=2)
        column = system.take([pivot], axis=2)
        others = np.ones((1, size, 1))
        others[0, pivot] = 0.0
        own = 1.0 - others
        system = system * others - (column * others) @ row + row * own
    return system.take([size], axis=2).squeeze(2)
