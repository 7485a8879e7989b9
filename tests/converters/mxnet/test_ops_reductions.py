"""Reductions, positions of extremes and running sums. Expected values are MXNet 1.9.1's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, f32, refusal

NAN = math.nan
CUBE = [[[1, -2, 3], [4, 5, -6]]]


@pytest.mark.parametrize(
    ("op", "whole", "axis1", "excluded"),
    [
        ("sum", 5, [[5, 3, -3]], [[5, 3, -3]]),
        ("mean", 0.8333333, [[2.5, 1.5, -1.5]], [[2.5, 1.5, -1.5]]),
        ("max", 5, [[4, 5, 3]], [[4, 5, 3]]),
        ("min", -6, [[1, -2, -6]], [[1, -2, -6]]),
        ("prod", 720, [[4, -10, -18]], [[4, -10, -18]]),
        ("nansum", 5, [[5, 3, -3]], [[5, 3, -3]]),
        ("nanprod", 720, [[4, -10, -18]], [[4, -10, -18]]),
    ],
)
def test_reductions_over_all_axes_some_and_all_others(op: str, whole: float, axis1: Any, excluded: Any) -> None:
    check(op, [CUBE], f32([whole]))
    check(op, [CUBE], f32([whole]), axis="()")
    check(op, [CUBE], f32([[[whole]]]), keepdims=True)
    check(op, [CUBE], f32(axis1), axis=-2)
    check(op, [CUBE], f32(excluded), axis="(0, -1)", exclude=True)


def test_a_reduction_over_every_axis_by_name_has_shape_1() -> None:
    check("sum", [[[1, 2], [3, 4]]], f32([10]), axis="(0, 1)")
    check("norm", [[3, 4]], f32([5]), axis=0)


def test_old_names_with_an_axis_as_a_bare_number() -> None:
    check("sum_axis", [[[1, 2], [3, 4]]], f32([3, 7]), axis="1")
    check("max_axis", [[[1, 2], [3, 4]]], f32([2, 4]), axis="(1,)")


@pytest.mark.parametrize(
    ("op", "dtype", "expected"),
    [
        ("sum", np.uint8, [44]),
        ("mean", np.uint8, [22]),
        ("mean", np.int32, [150]),
        ("prod", np.uint8, [32]),
        ("prod", np.int64, [20000]),
        ("max", np.uint8, [200]),
    ],
)
def test_integers_stay_integers_and_wrap(op: str, dtype: type, expected: list[int]) -> None:
    check(op, [np.array([[200, 100]], dtype)], np.array(expected, dtype), axis=1)


def test_means_of_integers_are_cut_towards_zero() -> None:
    check("mean", [np.array([[3, -6], [-2, 5]], np.int32)], np.array([-1, 1], np.int32), axis=1)


def test_the_batch_may_be_what_is_reduced() -> None:
    check("mean", [np.array([[3, 6], [-2, 5]], np.int32)], np.array([0, 5], np.int32), axis=0)
    check("mean", [[[3, 6], [-2, 5]]], f32([0.5, 5.5]), axis=0)


def test_nan_counts_for_nothing_where_the_name_says_so() -> None:
    check("nansum", [[[1, NAN, 3]]], f32([4]), axis=1)
    check("nanprod", [[[NAN, 2, 3]]], f32([6]), axis=1)


def test_norms_of_order_1_and_2() -> None:
    check("norm", [CUBE], f32([9.539392]))
    check("norm", [CUBE], f32([[[21]]]), ord=1, axis="(1, 2)", keepdims=True)
    check("norm", [np.array([[1, -2], [4, 5]], np.int32)], np.array([5, 7], np.int32), ord=1, axis=0)


def test_norms_that_mxnet_does_not_know_are_refused() -> None:
    assert refusal("norm", [CUBE], ord=3).endswith("attribute 'ord': expected 1 or 2, got 3")
    assert "expected floats, got int32" in refusal("norm", [np.array([1], np.int32)])


def test_moments_are_the_mean_and_the_variance_of_the_population() -> None:
    check("moments", [CUBE], [f32([[2.5, 1.5, -1.5]]), f32([[2.25, 12.25, 20.25]])], axes="(1,)")
    means, variances = f32([[[0.6666667], [1]]]), f32([[[4.2222223], [24.666666]]])
    check("moments", [CUBE], [means, variances], axes="(0, 2)", keepdims=True)


def test_moments_of_integers_start_from_a_mean_that_is_cut() -> None:
    values = np.array([[1, 4], [-2, 5], [4, 3]], np.int32)
    # Of the first column: mean 1, squares 0, 9, 9; of the second: 4 and 0, 1, 1, cut.
    check("moments", [values], [np.array([1, 4], np.int32), np.array([6, 0], np.int32)], axes="(0,)")


def test_axes_that_are_not_there_are_refused() -> None:
    assert refusal("sum", [[1, 2]], axis=1).endswith("attribute 'axis': expected an axis of a 1-D tensor, got 1")
    assert "expected different axes" in refusal("sum", [CUBE], axis="(1, -2)")


def test_positions_have_the_dtype_of_the_data() -> None:
    check("argmax", [CUBE], f32([4]))
    check("argmax", [CUBE], f32([[[2], [1]]]), axis=-1, keepdims=True)
    check("argmin", [np.array([[3, 1, 2]], np.int32)], np.array([1], np.int32), axis=1)
    check("argmax", [np.array([[3, 1, 4]])], np.array([2]), axis=1)


def test_the_first_of_equals_wins_and_nan_is_the_extreme() -> None:
    check("argmax", [[[1, NAN, 2, NAN], [1, 3, 3, 2]]], f32([1, 1]), axis=1)
    check("argmin", [[[1, NAN, 2, NAN], [1, 1, 3, 2]]], f32([1, 0]), axis=1)


def test_before_0_9_5_an_axis_of_minus_1_meant_none() -> None:
    check("argmax", [[[1, 5], [7, 2]]], f32([2]), axis=-1, version=904)
    check("argmax", [[[1, 5], [7, 2]]], f32([1, 0]), axis=-1, version=905)


def test_argmax_channel_is_over_axis_1() -> None:
    check("argmax_channel", [CUBE], f32([[1, 1, 0]]))


def test_running_sums() -> None:
    check("_np_cumsum", [CUBE], f32([1, -1, 2, 6, 11, 5]))
    check("_np_cumsum", [np.array([[200, 100]], np.uint8)], np.array([[200, 44]], np.uint8), axis=1)
    check("_np_cumsum", [np.array([[1, 2]], np.int32)], np.array([[1.0, 3]]), axis=1, dtype="float64")
    check("_np_cumsum", [np.array([True, True, False])], np.array([1, 2, 2]), axis=0)


def test_differences_of_neighbours() -> None:
    check("_npi_diff", [CUBE], f32([[[8], [-12]]]), n=2)
    assert "expected 0 to 64, got 65" in refusal("_npi_diff", [CUBE], n=65)


@pytest.mark.parametrize(
    ("op", "whole", "axis1"),
    [
        ("_np_sum", 5, [[5, 3, -3]]),
        ("_np_prod", 720, [[4, -10, -18]]),
        ("_np_max", 5, [[4, 5, 3]]),
        ("_np_min", -6, [[1, -2, -6]]),
        ("_npi_mean", 0.8333333, [[2.5, 1.5, -1.5]]),
        ("_npi_var", 14.472222, [[2.25, 12.25, 20.25]]),
        ("_npi_std", 3.8042374, [[1.5, 3.5, 4.5]]),
    ],
)
def test_reductions_of_numpy_give_scalars(op: str, whole: float, axis1: Any) -> None:
    check(op, [CUBE], np.float32(whole))
    check(op, [CUBE], f32([[[whole]]]), axis="None", keepdims=True)
    check(op, [CUBE], f32(axis1), axis=1)


def test_release_2_has_other_names_for_them() -> None:
    check("_npi_sum", [CUBE], f32([[5, 3, -3]]), axis=1)
    check("_npi_any", [CUBE], np.bool_(True))


def test_an_empty_axis_of_numpy_reduces_nothing() -> None:
    check("_np_sum", [CUBE], f32(CUBE), axis="()")
    check("_npi_std", [CUBE], f32(np.zeros((1, 2, 3))), axis="()")


def test_dtypes_of_numpys_reductions() -> None:
    bools, bytes_ = np.array([[True, False], [True, True]]), np.array([[200, 100]], np.uint8)
    check("_np_sum", [bools], np.array([1, 2]), axis=1)
    check("_np_prod", [bools], np.array([0, 1]), axis=1)
    check("_np_max", [bools], np.array([True, True]), axis=1)
    check("_np_all", [[[1, 0], [2, 3]]], np.array([False, True]), axis=1)
    check("_np_any", [np.array([[0, 0], [0, 3]], np.int32)], np.bool_(True))
    check("_npi_mean", [bytes_], f32([150]), axis=1)
    check("_npi_mean", [bytes_], np.array([150.0]), axis=1, dtype="float64")
    check("_np_sum", [np.array([1, 2], np.int32)], np.float64(3), dtype="float64")
    check("_npi_var", [bytes_], np.array([68], np.uint8), axis=1)


def test_a_degree_of_freedom_is_taken_off() -> None:
    check("_npi_std", [CUBE], f32([[[2.5166116], [6.0827627]]]), axis=2, ddof=1, keepdims=True)


def test_an_initial_value_is_refused() -> None:
    assert refusal("_np_sum", [CUBE], initial=2).endswith("attribute 'initial': expected none, got one")


def test_positions_of_numpy_are_int64() -> None:
    check("_npi_argmax", [CUBE], np.int64(4))
    check("_npi_argmin", [np.array([[3, 1, 2]], np.uint8)], np.array([1]), axis=1)


def test_averages_come_with_the_sum_of_the_weights() -> None:
    check("_npi_average", [CUBE, [1, 3]], [f32([[3.25, 3.25, -3.75]]), np.float32(4)], axis=1, returned=True)
    integers = [np.array([[1, 2], [3, 5]], np.int32), np.array([1, 2], np.int32)]
    check("_npi_average", integers, [np.array([2, 4], np.int32), np.int32(3)], axis=0, returned=True)
    check("_npi_average", [CUBE], [np.float32(0.8333333), np.float32(6)], weighted=False, returned=True)


def test_norms_of_numpy_by_flag() -> None:
    check("_npi_norm", [CUBE], np.float32(9.539392), flag=-2)
    check("_npi_norm", [CUBE], f32([[3.3019273, 7.3986359]]), flag=-1, ord=3, axis="(2,)")
    check("_npi_norm", [CUBE], f32([9.539392]), flag=1, axis="(1, 2)")
    assert "expected a vector norm" in refusal("_npi_norm", [CUBE], flag=2, axis="(1, 2)")
    assert "MXNet rounds the squares of integers" in refusal("_npi_norm", [np.array([3, 4])], flag=-2)
