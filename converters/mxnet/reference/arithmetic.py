"""Arithmetic, comparisons and logic of two tensors, or of a tensor and a number, in the older front end and numpy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from converters.mxnet.reference.interpreter import Context
from converters.mxnet.reference.registry import numpy_op

Binary = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    floored = a // b
    return np.asarray(floored + ((floored * b != a) & (b != 0) & ((a < 0) != (b < 0))))


def _modulo(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, np.zeros_like(b), np.mod(a, b))


def _in_doubles(function: Callable[..., Any]) -> Binary:
    return lambda a, b: np.asarray(function(a.astype(np.float64), b.astype(np.float64)))


def _of_bools(function: Callable[..., Any]) -> Binary:
    return lambda a, b: np.asarray(function(a.astype(bool), b.astype(bool)))


ARITHMETIC: Final[Mapping[str, Binary]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "mod": _modulo,
    "power": _in_doubles(np.power),
    "hypot": _in_doubles(np.hypot),
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISONS: Final[Mapping[str, Binary]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "lesser": np.less,
    "lesser_equal": np.less_equal,
    "logical_and": _of_bools(np.logical_and),
    "logical_or": _of_bools(np.logical_or),
    "logical_xor": _of_bools(np.logical_xor),
}
_NUMPY: Final[Mapping[str, Binary]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "mod": _modulo,
    "power": _in_doubles(np.power),
    "arctan2": _in_doubles(np.arctan2),
    "copysign": lambda a, b: np.where(b < 0, -np.abs(a), np.abs(a)),
    "ldexp": _in_doubles(lambda a, b: a * 2.0**b),
    "floor_divide": np.floor_divide,
    "fmod": np.fmod,
    "fmax": np.fmax,
    "fmin": np.fmin,
}
_TESTS: Final[Mapping[str, Binary]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def _pair(function: Binary, *names: str) -> None:
    @numpy_op(*names)
    def binary(node: Context, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
        return np.asarray(function(lhs, rhs)).astype(lhs.dtype)


def _wide(node: Context, x: np.ndarray) -> np.ndarray:
    """Integers that meet a Python float are doubles; bools that meet an integer are int64."""
    if x.dtype.kind == "f":
        return x
    if not node.attrs.boolean("is_int", True):
        return x.astype(np.float64)
    return x.astype(np.int64) if x.dtype.kind == "b" else x


def _number(node: Context, dtype: np.dtype[Any]) -> np.ndarray:
    number = np.float64(node.attrs.number("scalar", 1.0))
    return np.array(number if dtype.kind in "fb" else np.int64(number)).astype(dtype)


def _scalar(function: Binary, name: str, *, swapped: bool = False) -> None:
    @numpy_op(name)
    def with_number(node: Context, data: np.ndarray) -> np.ndarray:
        x = _wide(node, data)
        number = _number(node, x.dtype)
        made = function(number, x) if swapped else function(x, number)
        return np.asarray(made).astype(x.dtype)


def _numpy_pair(function: Binary, name: str) -> None:
    @numpy_op(name)
    def binary(node: Context, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
        # A float beats integers of any size, unlike in numpy.
        floats = [x.dtype for x in (x1, x2) if x.dtype.kind == "f"]
        dtype = np.result_type(*(floats or (x1, x2)))
        return np.asarray(function(x1.astype(dtype), x2.astype(dtype))).astype(dtype)


def _numpy_test(function: Binary, word: str) -> None:
    @numpy_op(f"_npi_{word}")
    def binary(node: Context, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
        return np.asarray(function(x1, x2))

    @numpy_op(f"_npi_{word}_scalar")
    def with_number(node: Context, data: np.ndarray) -> np.ndarray:
        x = data if data.dtype.kind == "b" or word.startswith("bitwise") else _wide(node, data)
        return np.asarray(function(x, _number(node, x.dtype)))


for _word, _function in {**ARITHMETIC, **COMPARISONS}.items():
    _elementwise = f"elemwise_{_word}" if _word in ("add", "sub", "mul", "div") else f"_{_word}"
    _pair(_function, _elementwise, f"broadcast_{_word}")
    _scalar(_function, f"_{ {'add': 'plus', 'sub': 'minus'}.get(_word, _word) }_scalar")
for _word, _name in {"sub": "minus", "div": "div", "mod": "mod", "power": "power"}.items():
    _scalar(ARITHMETIC[_word], f"_r{_name}_scalar", swapped=True)
for _word, _function in _NUMPY.items():
    _numpy_pair(_function, f"_npi_{_word}")
    _scalar(_function, f"_npi_{_word}_scalar")
    if _word not in ("add", "multiply", "fmax", "fmin"):
        _scalar(_function, f"_npi_r{_word}_scalar", swapped=True)
for _word, _function in _TESTS.items():
    _numpy_test(_function, _word)


@numpy_op("_npi_true_divide")
def true_divide(node: Context, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """In floats always."""
    floats = [x.dtype for x in (x1, x2) if x.dtype.kind == "f"]
    dtype = np.result_type(*floats) if floats else np.dtype(np.float32)
    return np.asarray(np.divide(x1, x2, dtype=np.float64)).astype(dtype)


@numpy_op("_npi_true_divide_scalar", "_npi_rtrue_divide_scalar")
def true_divide_scalar(node: Context, data: np.ndarray) -> np.ndarray:
    """Either way round, in floats always."""
    x = data if data.dtype.kind == "f" else data.astype(np.float32)
    number = _number(node, x.dtype)
    return np.asarray(number / x if node.node.op.startswith("_npi_r") else x / number)


@numpy_op("add_n")
def add_n(node: Context, *args: np.ndarray) -> np.ndarray:
    """The sum of tensors of one shape."""
    return np.asarray(sum(args[1:], start=args[0]))


@numpy_op("clip")
def clip(node: Context, data: np.ndarray) -> np.ndarray:
    """Limits, which are compared as numbers and then take the data's dtype."""
    low, high = (node.attrs.number(name, default) for name, default in (("a_min", -np.inf), ("a_max", np.inf)))
    with np.errstate(invalid="ignore"):
        above, below = np.trunc(high), np.trunc(low)
    bounds = (high, low) if data.dtype.kind == "f" else (above, below)
    wide = data.astype(np.float64)
    return np.where(wide > high, bounds[0], np.where(wide < low, bounds[1], wide)).astype(data.dtype)
