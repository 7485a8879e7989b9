"""Arithmetic of two tensors: `elemwise_*` (equal shapes), `broadcast_*` (numpy's rules) and their older names.

The functions of `CALCULATIONS` calculate with two values of one dtype, for `scalars.py` and `numpy_arithmetic.py` too.
MXNet knows no promotion here: operands of different dtypes are an error there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value

Calculation = Callable[[Value, Value], Value]
_NARROW = frozenset(map(np.dtype, ("int8", "uint8", "bool")))


def divide(lhs: Value, rhs: Value) -> Value:
    """The quotient; integers are cut towards zero. An integer divided by 0, which ends MXNet's process, gives 0 here.

    ONNX Runtime's own integer division ends the process too when the lowest number is divided by -1.
    """
    small = None if rhs.is_float else _small(rhs)
    return lhs / rhs if small is None else lhs.g.emit("Where", small, lhs * rhs, lhs / _one_where(small, rhs))


def modulo(lhs: Value, rhs: Value) -> Value:
    """The remainder with the sign of the divisor; x mod 0 = 0. ONNX's Mod is C's `fmod` for floats."""
    g = lhs.g
    if not rhs.is_float:
        small = _small(rhs)  # x mod 1 is 0, as it shall be for 0 and for -1
        return g.emit("Mod", lhs, rhs if small is None else _one_where(small, rhs))
    rest = g.emit("Mod", lhs, rhs, fmod=1)
    other_sign = g.emit("Less", g.emit("Sign", rest) * g.emit("Sign", rhs), g.scalar(0, rest))
    floored = g.emit("Where", other_sign, rest + rhs, rest)
    return g.emit("Where", g.emit("Equal", rhs, g.scalar(0, rhs)), g.scalar(0, rest), floored)


def _small(divisor: Value) -> Value | None:
    """Where an integer divisor is -1, 0 or 1; None where it is known to be none of them."""
    g = divisor.g
    known = g.constant(divisor)
    if known is not None and (np.abs(known.astype(np.float64)) > 1).all():
        return None
    below = g.emit("LessOrEqual", divisor, g.scalar(1, divisor))
    if divisor.dtype.kind != "i":
        return below
    return g.emit("And", below, g.emit("GreaterOrEqual", divisor, g.scalar(-1, divisor)))


def _one_where(condition: Value, value: Value) -> Value:
    return value.g.emit("Where", condition, value.g.scalar(1, value), value)


def power(lhs: Value, rhs: Value) -> Value:
    """`lhs ** rhs`; ONNX Runtime has no kernel for the narrow integers."""
    if lhs.dtype in _NARROW:
        return power(lhs.cast(np.int32), rhs.cast(np.int32)).cast(lhs.dtype)
    return lhs.g.emit("Pow", lhs, rhs)


def hypotenuse(lhs: Value, rhs: Value) -> Value:
    """`sqrt(lhs^2 + rhs^2)`, computed in floats and cut for integers."""
    a, b = (value if value.is_float else value.cast(np.float64) for value in (lhs, rhs))
    return lhs.g.emit("Sqrt", a * a + b * b).cast(lhs.dtype)


def simple(op: str) -> Calculation:
    """ONNX's own operator."""
    return lambda lhs, rhs: lhs.g.emit(op, lhs, rhs)


CALCULATIONS: Final[Mapping[str, Calculation]] = {
    "add": simple("Add"),
    "sub": simple("Sub"),
    "mul": simple("Mul"),
    "div": divide,
    "mod": modulo,
    "power": power,
    "hypot": hypotenuse,
    "maximum": simple("Max"),
    "minimum": simple("Min"),
}
"""MXNet's word for it, as in `broadcast_WORD`, to the function."""
ELEMENTWISE: Final = frozenset({"add", "sub", "mul", "div"})
"""Those whose version for equal shapes is `elemwise_WORD`; the others' is `_WORD`."""


def of_one_shape(result: Value, *operands: Value) -> Value:
    """The result of operands that have one shape, which some may know better than others: so does the result then.

    A size of 1 tells nothing: begin states of a batch that MXNet infers have it (see `creation.py`).
    """
    if any(each.rank != result.rank for each in operands):
        return result
    sizes = zip(*(each.shape for each in operands), strict=True)
    return replace(result, shape=tuple(min(known, key=_vagueness) for known in sizes))


def _vagueness(size: Size) -> int:
    return 1 if isinstance(size, str) else 2 * (size == 1)


def register_pair(elementwise: str, broadcast: str, calculate: Calculation) -> None:
    """Registers a calculation of tensors of one shape under the one name, with numpy's rules under the other.

    The result has the dtype of the operands.
    """

    @mxnet_op(broadcast)
    def of_any(node: OpNode, lhs: Value, rhs: Value) -> Value:
        if lhs.dtype != rhs.dtype:
            raise node.refuse(f"expected operands of one dtype, got {lhs} and {rhs}")
        return calculate(lhs, rhs).cast(lhs.dtype)

    @mxnet_op(elementwise)
    def of_equals(node: OpNode, lhs: Value, rhs: Value) -> Value:
        return of_one_shape(of_any(node, lhs, rhs), lhs, rhs)


for _word, _calculate in CALCULATIONS.items():
    register_pair(f"elemwise_{_word}" if _word in ELEMENTWISE else f"_{_word}", f"broadcast_{_word}", _calculate)


@mxnet_op("add_n")
def add_n(node: OpNode, *args: Value) -> Value:
    """The sum of any number of tensors of one shape. ONNX Runtime's Sum knows floats only."""
    if args[0].is_float:
        return of_one_shape(node.g.emit("Sum", *args), *args)
    total, *rest = args
    for each in rest:
        total = total + each
    return of_one_shape(total, *args)


@mxnet_op("clip")
def clip(node: OpNode, data: Value) -> Value:
    """Limits to `a_min`..`a_max` (numbers; one may be None in the numpy front end). NaN stays.

    Bounds are cut to integers towards zero for integers, which changes nothing: the limited value is cut in MXNet.
    """
    bounds = [node.attrs.number(name, None) for name in ("a_min", "a_max")]
    low, high = (None if bound is None else node.g.const(_within(bound, data.dtype)) for bound in bounds)
    return node.g.emit("Clip", data, low, high)


def _within(bound: float, dtype: np.dtype) -> np.ndarray:
    """The bound as `dtype`, within its range: MXNet compares with the number itself."""
    if dtype.kind == "f":
        return np.array(bound).astype(dtype)
    limits = np.iinfo(dtype)
    return np.array(int(min(max(bound, limits.min), limits.max)), dtype)


@mxnet_op("_contrib_quadratic")
def quadratic(node: OpNode, data: Value) -> Value:
    """`a x^2 + b x + c`, each 0 by default."""
    a, b, c = (float(node.attrs.number(name, 0.0)) for name in "abc")
    return data * data * a + data * b + c
