"""The registry of the numpy operators: MXNet's names to functions of arrays.

    @numpy_op("FullyConnected")
    def fully_connected(node: Node, data, weight, bias=None) -> np.ndarray:

They follow the reference of MXNet's operators alone, not the translations: what both get wrong in the same way is
found by nobody but MXNet itself. Operators that ONNX Runtime computes in the obvious way need none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import TypeVar

import numpy as np

Arrays = np.ndarray | Sequence[np.ndarray]
"""One array, or one for each of the operator's outputs."""
NumpyOperator = Callable[..., Arrays]
_F = TypeVar("_F", bound=NumpyOperator)

FAMILIES: tuple[str, ...] = (
    "activations",
    "arithmetic",
    "attention",
    "boxes",
    "control_flow",
    "convolutions",
    "creation",
    "detection",
    "displacements",
    "expanding",
    "heads",
    "indexing",
    "joining",
    "layout",
    "normalisations",
    "ordering",
    "pooling",
    "products",
    "quantised",
    "recurrent",
    "reductions",
    "regions",
    "resampling",
    "softmax",
    "unary",
)
"""Modules of this package."""

_OPERATORS: dict[str, NumpyOperator] = {}


def numpy_op(*names: str) -> Callable[[_F], _F]:
    """Registers a function under canonical names of MXNet's operators."""

    def register(function: _F) -> _F:
        for name in names:
            if name in _OPERATORS:
                raise ValueError(f"MXNet operator {name!r} is in numpy twice")
            _OPERATORS[name] = function
        return function

    return register


@cache
def numpy_operators() -> dict[str, NumpyOperator]:
    """All of them by name."""
    for family in FAMILIES:
        import_module(f"converters.mxnet.reference.{family}")
    return _OPERATORS
