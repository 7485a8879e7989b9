"""Elements chosen or replaced: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest

from tests.converters.mxnet.operators import DTYPES, check, counted, f32, refusal


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_chooses_by_a_condition_that_is_not_zero(dtype: str) -> None:
    x, y = np.array([[1, 0], [1, 1]], dtype), np.array([[0, 1], [0, 0]], dtype)
    check("where", [f32([[0, -0.5], [2, 0]]), x, y], np.array([[0, 0], [1, 0]], dtype))
    check("_npi_where", [np.array([[0, 1], [1, 0]], dtype), x, y], np.array([[0, 0], [1, 0]], dtype))


def test_where_takes_nan_for_true() -> None:
    check("where", [f32([np.nan, 0]), f32([1, 2]), f32([3, 4])], f32([1, 4]))


def test_where_chooses_rows_by_a_vector() -> None:
    check("where", [f32([0, 1]), counted(2, 2), counted(2, 2) + 5], f32([[5, 6], [2, 3]]))


def test_numpys_where_broadcasts() -> None:
    check("_npi_where", [f32([[0], [1]]), f32([1, 2]), np.float32(9)], f32([[9, 9], [1, 2]]))
    check("_npi_where", [f32([0, 1]), counted(2, 2), f32([[5], [6]])], f32([[5, 1], [6, 3]]))


def test_numpys_where_refuses_two_dtypes() -> None:
    assert "expected inputs of one dtype" in refusal("_npi_where", [f32([1]), f32([1]), np.array([1])])


def test_numpys_where_with_a_number_has_the_tensors_dtype() -> None:
    condition, data = np.array([True, False]), np.array([7, 8], "int32")
    check("_npi_where_rscalar", [condition, data], np.array([7, -2], "int32"), scalar=-2.7)
    check("_npi_where_lscalar", [condition, data], np.array([-2, 8], "int32"), scalar=-2.7)
    check("_npi_where_scalar2", [condition], f32([1.5, 2.5]), x=1.5, y=2.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_boolean_mask_keeps_rows(dtype: str) -> None:
    data = np.array([[1, 0], [0, 0], [1, 1]], dtype)
    check("_contrib_boolean_mask", [data, f32([1, 0, -0.5])], data[[0, 2]])
    check("_contrib_boolean_mask", [data[:, 0], np.array([0, 0, 2], "int32")], data[2:, 0])


def test_boolean_mask_refuses_a_matrix_as_mask() -> None:
    assert "expected a vector as index" in refusal("_contrib_boolean_mask", [counted(2, 2), counted(2, 2)])


def test_assignment_by_a_mask_covers_axes_from_the_start_axis_on() -> None:
    data = counted(2, 2, dtype="int32")
    rows, columns = np.array([True, False]), np.array([False, True])
    check("_npi_boolean_mask_assign_scalar", [data, rows], np.array([[9, 9], [2, 3]], "int32"), value=9, start_axis=0)
    check(
        "_npi_boolean_mask_assign_scalar", [data, columns], np.array([[0, 9], [2, 9]], "int32"), value=9, start_axis=1
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_nonzero_gives_coordinates_in_rows(dtype: str) -> None:
    check("_npx_nonzero", [np.array([[0, 1], [1, 0]], dtype)], np.array([[0, 1], [1, 0]]))


def test_nonzero_of_zeros_has_no_rows() -> None:
    check("_npx_nonzero", [f32([0, 0])], np.zeros((0, 1), np.int64))


@pytest.mark.parametrize("dtype", DTYPES[:-1])
def test_scatter_nd_puts_parts_into_zeros(dtype: str) -> None:
    data, indices = np.array([5, 6], dtype), f32([[0, 1.9], [2, 0]])
    check("scatter_nd", [data, indices], np.array([[0, 0, 5], [6, 0, 0]], dtype), constants=(1,), shape="(2, 3)")


def test_scatter_nd_puts_rows() -> None:
    inputs = [counted(2, 2) + 1, f32([[2, 0]])]
    check("scatter_nd", inputs, f32([[3, 4], [0, 0], [1, 2]]), constants=(1,), shape="(3, 2)")


def test_scatter_set_nd_puts_parts_into_another() -> None:
    inputs = [counted(3, 2), f32([[7, 8]]), f32([[1]])]
    check("_scatter_set_nd", inputs, f32([[0, 1], [7, 8], [4, 5]]), constants=(2,), shape="(3, 2)")


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32"])
def test_index_copy_replaces_rows(dtype: str) -> None:
    inputs = [counted(3, 2), np.array([2, 0], dtype), f32([[7, 8], [5, 6]])]
    check("_contrib_index_copy", inputs, f32([[5, 6], [2, 3], [7, 8]]))


def test_ravel_multi_index_counts_the_last_axis_fastest() -> None:
    check("_ravel_multi_index", [f32([[0, 1], [2, 1]])], f32([2, 4]), symbolic=False, shape="(2, 3)")
    check("_ravel_multi_index", [np.array([[0, 1], [2, 1]])], np.array([2, 4]), symbolic=False, shape="(-1, 3)")
    check(
        "_ravel_multi_index",
        [np.array([[0, 1], [2, 1]], np.int8)],
        np.array([2, 4], np.int8),
        symbolic=False,
        shape="(2, 3)",
    )


def test_unravel_index_is_the_opposite() -> None:
    check("_unravel_index", [f32([2, 4])], f32([[0, 1], [2, 1]]), shape="(2, 3)")
    check("_unravel_index", [np.array([7])], np.array([[1], [1], [1]]), shape="(-1, 2, 2)")
    check("_unravel_index", [f32([7])], f32([[2], [1]]), shape="(2, 3)")


def test_numbers_of_elements_need_sound_shapes() -> None:
    assert "expected sizes above 0" in refusal("_unravel_index", [f32([1])], shape="(2, 0)")
    assert "expected a vector" in refusal("_unravel_index", [f32([[1]])], shape="(2, 2)")
