"""Arithmetic, comparisons and tests of the numpy front end. Expected values are MXNet 1.9.1's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from converters.mxnet.emitter import Emitter
from converters.mxnet.translate import translate
from tests.converters.mxnet.operators import check, graph_of, refusal

NAN, INF = math.nan, math.inf
INTEGERS = np.array([-7, 0, 5], np.int32)
BOOLS = np.array([True, False, True])
FLOATS = np.array([5, 0, -7.5], np.float32)


@pytest.mark.parametrize(
    ("op", "x1", "x2", "expected"),
    [
        ("add", INTEGERS, FLOATS, np.array([-2, 0, -2.5], np.float32)),
        ("add", FLOATS, FLOATS.astype(np.float64), np.array([10.0, 0, -15])),
        ("add", INTEGERS.astype(np.int64), FLOATS.astype(np.float16), np.array([-2, 0, -2.5], np.float16)),
        ("add", INTEGERS, np.array([7, 0, 5], np.uint8), np.array([0, 0, 10], np.int32)),
        ("add", BOOLS, BOOLS, BOOLS),
        ("multiply", BOOLS, INTEGERS, np.array([-7, 0, 5], np.int32)),
        ("subtract", BOOLS, FLOATS, np.array([-4, 0, 8.5], np.float32)),
        ("mod", INTEGERS, FLOATS, np.array([3, 0, -2.5], np.float32)),
        ("power", INTEGERS, np.array([5, 0, 2]), np.array([-16807, 1, 25])),
        ("power", BOOLS, BOOLS, np.array([True, True, True])),
        ("true_divide", INTEGERS, np.array([5, 0, -7], np.int32), np.array([-1.4, NAN, -0.71428573], np.float32)),
        ("true_divide", INTEGERS, FLOATS.astype(np.float16), np.array([-1.4, NAN, -0.6667], np.float16)),
        ("arctan2", FLOATS, -FLOATS, np.array([2.3561945, math.pi, -0.7853982], np.float32)),
        ("copysign", FLOATS, np.array([-1, 5, -0.0], np.float32), np.array([-5, 0, 7.5], np.float32)),
        ("copysign", INTEGERS, np.array([5, 0, -7], np.int32), np.array([7, 0, -5], np.int32)),
        ("ldexp", FLOATS, np.array([1, 2, -1], np.float32), np.array([10, 0, -3.75], np.float32)),
        ("ldexp", INTEGERS, np.array([5, 0, -7], np.int32), np.array([-224, 0, 0], np.int32)),
        ("hypot", FLOATS, np.array([12, 0, 4], np.float32), np.array([13, 0, 8.5], np.float32)),
    ],
)
def test_operands_are_promoted_as_mxnet_promotes(op: str, x1: np.ndarray, x2: np.ndarray, expected: np.ndarray) -> None:
    check(f"_npi_{op}", [x1, x2], expected, rtol=1e-3 if expected.dtype == np.float16 else 1e-5)


@pytest.mark.parametrize(
    ("op", "x1", "x2", "expected"),
    [
        ("floor_divide", INTEGERS, np.array([2, 3, -2], np.int32), np.array([-4, 0, -3], np.int32)),
        ("floor_divide", FLOATS, np.array([2, 3, 2], np.float32), np.array([2, 0, -4], np.float32)),
        ("fmod", INTEGERS, np.array([2, 3, -2], np.int32), np.array([-1, 0, 1], np.int32)),
        ("fmod", FLOATS, np.array([2, 3, 2], np.float32), np.array([1, 0, -1.5], np.float32)),
        ("fmax", FLOATS, np.array([NAN, 3, -9], np.float32), np.array([5, 3, -7.5], np.float32)),
        ("fmin", np.array([NAN, 3], np.float32), np.array([1, NAN], np.float32), np.array([1, 3], np.float32)),
    ],
)
def test_operators_that_release_2_added(op: str, x1: np.ndarray, x2: np.ndarray, expected: np.ndarray) -> None:
    # By their definition: 1.9.1 does not know them.
    check(f"_npi_{op}", [x1, x2], expected)


def test_scalars_are_operands_too() -> None:
    check("_npi_add", [FLOATS, np.array(2, np.float32)], np.array([7, 2, -5.5], np.float32))
    check("_npi_multiply", [np.array(2, np.float32), np.array(3, np.float32)], np.float32(6))


def test_integers_that_no_dtype_suits_are_refused() -> None:
    message = refusal("_npi_add", [np.array([1], np.uint8), np.array([1], np.int8)])
    assert message.endswith("expected operands of one dtype, got uint8 and int8")


@pytest.mark.parametrize(
    ("op", "values", "scalar", "is_int", "expected"),
    [
        ("add", INTEGERS, 1, True, np.array([-6, 1, 6], np.int32)),
        ("add", INTEGERS, 1.5, False, np.array([-5.5, 1.5, 6.5])),
        ("add", BOOLS, 1, True, np.array([2, 1, 2])),
        ("multiply", FLOATS, 0.5, False, np.array([2.5, 0, -3.75], np.float32)),
        ("rsubtract", INTEGERS, 1.5, True, np.array([8, 1, -4], np.int32)),
        ("true_divide", INTEGERS, 2, True, np.array([-3.5, 0, 2.5], np.float32)),
        ("true_divide", BOOLS, 0, True, np.array([INF, NAN, INF], np.float32)),
        ("rtrue_divide", INTEGERS, 1.5, False, np.array([-0.2142857, INF, 0.3], np.float32)),
        ("mod", INTEGERS, -2, True, np.array([-1, 0, -1], np.int32)),
        ("rmod", INTEGERS, 1.5, False, np.array([-5.5, 0, 1.5])),
        ("rpower", np.array([2, 0], np.uint8), 3, True, np.array([9, 1], np.uint8)),
        ("arctan2", INTEGERS, 1.5, False, np.array([-1.3597030, 0, 1.2793395])),
        ("rarctan2", FLOATS, -2, True, np.array([-0.3805064, -1.5707964, -2.8809903], np.float32)),
        ("rcopysign", INTEGERS, 2, True, np.array([-2, 2, 2], np.int32)),
        ("rldexp", FLOATS[:2], 1.5, False, np.array([48, 1.5], np.float32)),
    ],
)
def test_a_number_beside_a_tensor(
    op: str, values: np.ndarray, scalar: float, is_int: bool, expected: np.ndarray
) -> None:
    check(f"_npi_{op}_scalar", [values], expected, scalar=scalar, is_int=is_int, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("equal", [False, True, False]),
        ("not_equal", [True, False, True]),
        ("less", [True, False, False]),
        ("less_equal", [True, True, False]),
        ("greater", [False, False, True]),
        ("greater_equal", [False, True, True]),
    ],
)
def test_comparisons_give_bool(op: str, expected: list[bool]) -> None:
    check(f"_npi_{op}", [INTEGERS, np.zeros(3, np.int32)], np.array(expected))
    check(f"_npi_{op}_scalar", [FLOATS[::-1].copy()], np.array(expected), scalar=0, is_int=True)


def test_comparisons_order_bools() -> None:
    check("_npi_less", [BOOLS, np.array([True, True, False])], np.array([False, True, False]))


def test_integers_are_compared_with_a_float_as_floats() -> None:
    values = np.array([0, 1, 2], np.uint8)
    check("_npi_less_scalar", [values], np.array([True, True, False]), scalar=1.5, is_int=False)
    check("_npi_less_scalar", [values], np.array([True, False, False]), scalar=1.5, is_int=True)


def test_a_number_counts_as_a_bool_beside_bools() -> None:
    check("_npi_equal_scalar", [BOOLS], BOOLS, scalar=0.5, is_int=False)


def test_operators_on_bits_take_integers_and_bools() -> None:
    other = np.array([3, 3, 3], np.int32)
    check("_npi_bitwise_and", [INTEGERS, other], np.array([1, 0, 1], np.int32))
    check("_npi_bitwise_or", [BOOLS, ~BOOLS], np.array([True, True, True]))
    check("_npi_bitwise_xor_scalar", [np.array([7, 0, 5], np.uint8)], np.array([6, 1, 4], np.uint8), scalar=1)
    check("_npi_bitwise_and_scalar", [np.array([7, 2])], np.array([1, 0]), scalar=1.5, is_int=False)
    check("_npi_bitwise_not", [INTEGERS], np.array([6, -1, -6], np.int32))
    check("_npi_bitwise_not", [BOOLS], ~BOOLS)


SPECIALS = [1.5, NAN, INF, -INF]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("isnan", [False, True, False, False]),
        ("isinf", [False, False, True, True]),
        ("isposinf", [False, False, True, False]),
        ("isneginf", [False, False, False, True]),
        ("isfinite", [True, False, False, False]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_that_are_none(op: str, expected: list[bool], dtype: type) -> None:
    check(f"_npi_{op}", [np.array(SPECIALS, dtype)], np.array(expected))
    check(f"_npi_{op}", [INTEGERS], np.array([op == "isfinite"] * 3))


def test_numbers_that_are_none_are_replaced() -> None:
    largest = 3.4028235e38
    attrs: dict[str, Any] = {"nan": 0.0, "posinf": None, "neginf": None}
    check("_npi_nan_to_num", [SPECIALS], np.array([1.5, 0, largest, -largest], np.float32), **attrs)
    check("_npi_nan_to_num", [SPECIALS], np.array([1.5, 3, 7, -9], np.float32), nan=3, posinf=7, neginf=-9)
    check("_npi_nan_to_num", [INTEGERS], INTEGERS)


def test_polynomials_begin_with_the_highest_power() -> None:
    check("_npi_polyval", [[1, 2, 3], [[2, 1]]], np.array([[11, 6]], np.float32), constants=[0])
    assert "along axis 0 must be known" in refusal("_npi_polyval", [[1, 2, 3], [2]])


def test_closeness_is_one_answer() -> None:
    check("_contrib_allclose", [SPECIALS, SPECIALS], np.uint8(1))
    check("_contrib_allclose", [SPECIALS, SPECIALS], np.uint8(0), equal_nan=False)
    check("_contrib_allclose", [[1.0, 2.0], [1.0, 2.1]], np.uint8(0))
    check("_contrib_allclose", [[1.0, 2.0], [1.0, 2.1]], np.uint8(1), atol=0.2)


def test_finiteness_of_several_tensors_is_one_number() -> None:
    check("all_finite", [[[1, 2]]], np.array([1], np.float32))
    check("multi_all_finite", [[1, 2], [NAN]], np.array([0], np.float32), num_arrays=2)
    check("multi_sum_sq", [[[0.5, -2.5]], [2]], np.array([6.5, 4], np.float32), num_arrays=2)


def test_what_one_operand_knows_of_the_shape_the_result_knows() -> None:
    g = Emitter()
    lhs, rhs = g.input("x0", np.dtype(np.float32), ("batch", 3)), g.input("x1", np.dtype(np.float32), ("rows", 3))
    known = g.input("x2", np.dtype(np.float32), (4, 3))
    (named,) = translate(graph_of("elemwise_add", {}, 2), g, {0: lhs, 1: rhs})
    (sized,) = translate(graph_of("add_n", {}, 2), g, {0: lhs, 1: known})
    assert (named.shape, sized.shape) == (("batch", 3), (4, 3))


def test_a_begin_state_of_an_inferred_batch_says_nothing_of_the_shape() -> None:
    g = Emitter()
    state, rows = g.input("x0", np.dtype(np.float32), (1, 3)), g.input("x1", np.dtype(np.float32), ("batch", 3))
    (total,) = translate(graph_of("elemwise_add", {}, 2), g, {0: state, 1: rows})
    assert total.shape == ("batch", 3)
