"""Functions of one tensor: rounding, special functions, casts. Expected values are MXNet 1.9.1's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, refusal

NAN, INF = math.nan, math.inf
HALVES = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("round", [-3, -2, -1, 1, 2, 3]),
        ("rint", [-3, -2, -1, 0, 1, 2]),
        ("fix", [-2, -1, 0, 0, 1, 2]),
        ("trunc", [-2, -1, 0, 0, 1, 2]),
        ("ceil", [-2, -1, 0, 1, 2, 3]),
        ("floor", [-3, -2, -1, 0, 1, 2]),
        ("_npi_rint", [-3, -2, -1, 0, 1, 2]),
        ("_npi_around", [-2, -2, 0, 0, 2, 2]),
        ("_contrib_round_ste", [-3, -2, -1, 1, 2, 3]),
    ],
)
def test_halves_are_rounded_as_mxnet_rounds_them(op: str, expected: list[float]) -> None:
    check(op, [HALVES], f32(*expected))


def test_rounding_leaves_large_and_infinite_numbers_alone() -> None:
    check("round", [[1e30, INF, 0.49999997]], f32(1e30, INF, 0))
    check("rint", [[1e30, -INF, 0.49999997]], f32(1e30, -INF, 0))


@pytest.mark.parametrize("op", ["round", "rint", "fix", "ceil", "floor", "abs"])
def test_integers_are_round_already(op: str) -> None:
    check(op, [np.array([4, 0, 3], np.int8)], np.array([4, 0, 3], np.int8))


def test_around_takes_digits_on_either_side_of_the_point() -> None:
    check("_npi_around", [[0.25, 0.35, -1.45, 12.345]], f32(0.2, 0.4, -1.4, 12.3), decimals=1)
    check("_npi_around", [[5, 15, 25, -15]], f32(0, 20, 20, -20), decimals=-1)
    assert "expected 0 to 30 for int32, got -1" in refusal("_npi_around", [np.array([5], np.int32)], decimals=-1)


def test_the_sign_of_nan_is_0() -> None:
    check("sign", [[NAN, -2, 0, INF]], f32(0, -1, 0, 1))


def test_logical_not_keeps_the_dtype() -> None:
    check("logical_not", [[NAN, 0, 0.3]], f32(0, 1, 0))
    check("_npi_logical_not", [[NAN, 0, 0.3]], np.array([False, True, False]))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("cbrt", [-1.3572088, 0.7937005]),
        ("rcbrt", [-0.73680633, 1.2599211]),
        ("rsqrt", [NAN, 1.4142135]),
        ("expm1", [-0.917915, 0.6487213]),
        ("log2", [NAN, -1]),
        ("log10", [NAN, -0.30103]),
        ("log1p", [NAN, 0.4054651]),
        ("degrees", [-143.23944, 28.64789]),
        ("radians", [-0.04363323, 0.00872665]),
        ("arcsinh", [-1.6472311, 0.48121184]),
        ("arctanh", [NAN, 0.54930615]),
        ("erf", [-0.999593, 0.5204999]),
        ("erfinv", [NAN, 0.47693628]),
        ("gamma", [-0.9453086, 1.7724539]),
        ("gammaln", [-0.05624371, 0.57236494]),
    ],
)
def test_functions_without_an_onnx_operator_are_composed(op: str, expected: list[float]) -> None:
    check(op, [[-2.5, 0.5]], f32(*expected), rtol=2e-6)


def test_functions_keep_their_precision_near_zero() -> None:
    small = np.array([1e-6, -1e-6], np.float32)
    check("expm1", [small], f32(1.0000005e-6, -9.999995e-7), rtol=1e-6)
    check("log1p", [small], f32(9.999995e-7, -1.0000005e-6), rtol=1e-6)


def test_gamma_at_its_poles_and_limits() -> None:
    check("gamma", [[0, -1, -0.5, -1.5, 36, INF]], f32(INF, NAN, -3.5449078, 2.3632717, INF, INF))
    check("gamma", [[30]], f32(8.841762e30))
    check("gammaln", [[0, -1, -0.5, 1e-5, INF]], f32(INF, INF, 1.2655121, 11.512919, INF))
    check("gammaln", [[100, 1e5]], f32(359.1342, 1051287.6))
    check("gamma", [[-INF, NAN]], f32(NAN, NAN))
    check("gammaln", [[-INF, NAN]], f32(INF, NAN))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_logarithm_of_gamma_is_exactly_0_at_1_and_2(dtype: type) -> None:
    check("gammaln", [np.array([1, 2], dtype)], np.zeros(2, dtype), rtol=0)


def test_the_inverse_error_function_at_its_limits() -> None:
    check("erfinv", [[1, -1, 0, 0.999999, 1e-6, 2]], f32(INF, -INF, 0, 3.4570746, 8.862269e-7, NAN))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("exp", [2, 7, 20]),
        ("sqrt", [1, 1, 1]),
        ("cbrt", [1, 1, 1]),
        ("log2", [0, 1, 1]),
        ("gamma", [1, 1, 2]),
        ("reciprocal", [1, 0, 0]),
        ("degrees", [57, 114, 171]),
        ("_npi_exp", [2, 7, 20]),
        ("square", [1, 4, 9]),
    ],
)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_functions_of_integers_are_cut(op: str, expected: list[int], dtype: type) -> None:
    values = np.array([1, 2, 3], dtype)
    check(op, [values], np.array(expected).astype(dtype))


def test_unsigned_integers_wrap_when_negated() -> None:
    check("negative", [np.array([4, 0, 3], np.uint8)], np.array([252, 0, 253], np.uint8))


@pytest.mark.parametrize("op", ["tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "erf"])
def test_float64_is_computed_where_the_runtime_knows_single_precision(op: str) -> None:
    function = {"erf": np.vectorize(math.erf)}.get(op) or getattr(np, op)
    check(op, [np.array([0.25, -0.5])], function(np.array([0.25, -0.5])), rtol=1e-6)


def test_casts_cut_and_wrap() -> None:
    check("Cast", [[-1.5, 300, 255.9, -300]], np.array([255, 44, 255, 212], np.uint8), dtype="uint8")
    check("Cast", [[-1.5, 300, 200, -300]], np.array([-1, 44, -56, -44], np.int8), dtype="int8")
    check("cast", [[-1.5, 0, 0.3, NAN]], np.array([True, False, True, True]), dtype="bool")
    check("Cast", [np.array([1, 2], np.int32)], np.array([1, 2], np.float16), dtype="2")


def test_mixed_precision_casts_floats_alone() -> None:
    check("amp_cast", [np.array([1, 2], np.int32)], np.array([1, 2], np.int32), dtype="float16")
    check("amp_cast", [[1, 2]], np.array([1, 2], np.float16), dtype="float16")


def test_mixed_precision_chooses_the_widest_float_or_the_narrowest() -> None:
    half, single = np.array([1], np.float16), np.array([2], np.float32)
    check("amp_multicast", [half, single], [f32(1), f32(2)], num_outputs=2)
    check(
        "amp_multicast",
        [half, single],
        [np.array([1], np.float16), np.array([2], np.float16)],
        num_outputs=2,
        cast_narrow=True,
    )


def test_the_error_function_of_integers_is_refused() -> None:
    assert refusal("erf", [np.array([1], np.int32)]).endswith(
        "expected floats, got int32[x0_0]; cast to float32 before"
    )
