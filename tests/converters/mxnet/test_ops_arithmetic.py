"""Arithmetic, comparisons and numbers beside tensors. Expected values are MXNet 1.9.1's unless a comment says more."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, refusal

NAN = math.nan
INTEGERS = np.array([-7, 0, 5], np.int32)


def int32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("elemwise_add", [4, -2, 1]),
        ("elemwise_sub", [-10, 8, -9]),
        ("elemwise_mul", [-21, -15, -20]),
        ("_maximum", [7, 3, 5]),
        ("_power", [-27, 0.008, -1024]),
    ],
)
def test_elementwise_operators_calculate_in_pairs(op: str, expected: list[float]) -> None:
    lhs, rhs = ([-3, 3, -4], [7, -5, 5]) if op != "_power" else ([-3, 5, -4], [3, -3, 5])
    if op == "_maximum":
        lhs, rhs = [7, 3, -4], [-3, 3, 5]
    check(op, [lhs, rhs], np.array(expected, np.float32))


def test_old_names_of_the_elementwise_operators_are_known() -> None:
    check("_Plus", [[1, 2], [3, 4]], np.array([4, 6], np.float32))
    check("_RMinusScalar", [[1, 2]], np.array([4, 3], np.float32), scalar=5)


def test_integers_are_divided_towards_zero() -> None:
    check("broadcast_div", [int32(-7, 7, -7, 7), int32(2, -2, -2, 2)], int32(-3, -3, 3, 3))


def test_division_of_integers_that_ends_a_process_elsewhere_gives_numbers() -> None:
    # MXNet and ONNX Runtime's own division both stop at the first two; what they should give is nobody's contract.
    lowest = np.iinfo(np.int32).min
    check("elemwise_div", [int32(5, lowest, 6), int32(0, -1, 4)], int32(0, lowest, 1))
    check("_rdiv_scalar", [int32(0, 3)], int32(0, 2), scalar=7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_remainder_has_the_sign_of_the_divisor_and_is_0_by_0(dtype: type) -> None:
    lhs, rhs = np.array([-7, 7, -7, 7, 3], dtype), np.array([3, -3, -3, 3, 0], dtype)
    check("broadcast_mod", [lhs, rhs], np.array([2, -2, -1, 1, 0], dtype))


def test_remainder_of_unsigned_and_lowest_integers() -> None:
    check("_mod", [np.array([250, 7, 9], np.uint8), np.array([7, 1, 0], np.uint8)], np.array([5, 0, 0], np.uint8))
    check("_mod", [int32(np.iinfo(np.int32).min, -9), int32(-1, 5)], int32(0, 1))


def test_hypotenuse_of_integers_is_cut() -> None:
    check("broadcast_hypot", [int32(3, 5), int32(4, 5)], int32(5, 7))
    check("_hypot", [[3, -5], [4, 12]], np.array([5, 13], np.float32))


def test_maximum_keeps_nan() -> None:
    check("broadcast_maximum", [[NAN, 1, 2], [1, NAN, 3]], np.array([NAN, NAN, 3], np.float32))


def test_broadcast_follows_numpy_with_ranks_that_differ() -> None:
    check("broadcast_add", [[[1, 2], [3, 4]], [10, 20]], np.array([[11, 22], [13, 24]], np.float32), symbolic=False)


def test_narrow_integers_have_powers() -> None:
    check("_power", [np.array([2, 3, 0], np.int8), np.array([3, 2, 0], np.int8)], np.array([8, 9, 1], np.int8))


def test_comparisons_have_the_dtype_of_the_operands() -> None:
    check("broadcast_greater", [[1, 2, NAN], [2, 1, 1]], np.array([0, 1, 0], np.float32))
    check("_lesser_equal", [int32(1, 2, 3), int32(2, 2, 2)], int32(1, 1, 0))
    check("_not_equal", [[1, NAN], [1, NAN]], np.array([0, 1], np.float32))
    check("broadcast_equal", [np.array([1, 2], np.uint8), np.array([1, 1], np.uint8)], np.array([1, 0], np.uint8))


def test_logic_takes_whatever_differs_from_zero_as_true() -> None:
    check("broadcast_logical_and", [[0.3, NAN, 0], [2, -1, 5]], np.array([1, 1, 0], np.float32))
    check("_logical_xor", [int32(-7, 0, 5), int32(1, 0, 0)], int32(0, 0, 1))
    check("_logical_or_scalar", [[0, 0.5]], np.array([1, 1], np.float32), scalar=2)


@pytest.mark.parametrize(
    ("op", "scalar", "expected"),
    [
        ("_plus_scalar", 1.5, [-6, 1, 6]),
        ("_mul_scalar", 0.5, [0, 0, 0]),
        ("_div_scalar", 2, [-3, 0, 2]),
        ("_rminus_scalar", 1.9, [8, 1, -4]),
        ("_mod_scalar", 3, [2, 0, 2]),
        ("_maximum_scalar", -2.7, [-2, 0, 5]),
        ("_power_scalar", 2, [49, 0, 25]),
        ("_equal_scalar", 5.5, [0, 0, 1]),
        ("_greater_scalar", 0.9, [0, 0, 1]),
        ("_lesser_scalar", 0.9, [1, 0, 0]),
    ],
)
def test_a_number_is_cut_to_an_integer_beside_integers(op: str, scalar: float, expected: list[int]) -> None:
    check(op, [INTEGERS], int32(*expected), scalar=scalar)


def test_integers_beside_what_the_file_calls_a_float_give_float64() -> None:
    check("_plus_scalar", [INTEGERS], np.array([-5.5, 1.5, 6.5]), scalar=1.5, is_int=False)
    check("_equal_scalar", [INTEGERS], np.array([0.0, 0, 0]), scalar=1.5, is_int=False)
    check("_mul_scalar", [[2, 4]], np.array([3, 6], np.float32), scalar=1.5, is_int=False)


def test_a_negative_number_wraps_beside_unsigned_integers() -> None:
    check("_plus_scalar", [np.array([7, 0, 5], np.uint8)], np.array([5, 254, 3], np.uint8), scalar=-2)


def test_a_number_that_no_integer_can_be_is_refused() -> None:
    assert refusal("_plus_scalar", [INTEGERS], scalar="inf") == (
        "MXNet operator _plus_scalar (node 'node'): attribute 'scalar': expected a number that int32 can hold, got inf"
    )


def test_operands_of_different_dtypes_are_refused() -> None:
    message = refusal("broadcast_add", [np.array([1.0]), INTEGERS[:1]])
    assert message.endswith("expected operands of one dtype, got float64[x0_0] and int32[x1_0]")


def test_the_sum_of_many_tensors_is_of_any_dtype() -> None:
    check("add_n", [[1, 2], [3, 4], [5, 6]], np.array([9, 12], np.float32), num_args=3)
    check("ElementWiseSum", [int32(1, 2), int32(3, 4)], int32(4, 6))
    check("add_n", [int32(1, 2)], int32(1, 2))


def test_clip_cuts_its_bounds_beside_integers_and_keeps_nan() -> None:
    check("clip", [[-3, 0.5, NAN, 9]], np.array([-1.5, 0.5, NAN, 6], np.float32), a_min=-1.5, a_max=6)
    check("clip", [int32(-3, -1, 0, 1, 3)], int32(-1, -1, 0, 1, 1), a_min=-1.5, a_max=1.5)
    check("clip", [np.array([3, 0, 200], np.uint8)], np.array([3, 0, 200], np.uint8), a_min=-1.5, a_max=300)


def test_clip_may_be_open_on_one_side() -> None:
    check("clip", [[-3, 9]], np.array([-3, 1], np.float32), a_min="-inf", a_max=1)
    check("clip", [[-3, 9]], np.array([0, 9], np.float32), a_min=0, a_max=None)


def test_quadratic_has_coefficients_of_0_by_default() -> None:
    check("_contrib_quadratic", [[1, -2]], np.array([6, 3], np.float32), a=1, b=2, c=3)
    check("_contrib_quadratic", [[1, -2]], np.array([2, -4], np.float32), b=2)
