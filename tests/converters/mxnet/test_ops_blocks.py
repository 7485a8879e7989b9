"""Blocks, windows and diagonals: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, counted, f32, refusal

DTYPES = ["float32", "float64", "float16", "int32", "int64", "int8", "uint8"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_depth_to_space_takes_the_block_from_the_slowest_channels(dtype: str) -> None:
    data = counted(1, 8, 1, 1).astype(dtype)
    expected = np.array([[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]], dtype)
    check("depth_to_space", [data], expected, block_size=2)
    check("space_to_depth", [expected], data, block_size=2)


@pytest.mark.parametrize(
    ("op", "shape", "words"),
    [
        ("depth_to_space", (1, 6, 2, 2), "expected sizes that divide 6 elements, got 4"),
        ("space_to_depth", (1, 6, 2, 3), "expected sizes that divide 3 elements, got 2"),
        ("depth_to_space", (6, 2, 2), "expected [n, c, h, w]"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(op: str, shape: tuple[int, ...], words: str) -> None:
    assert words in refusal(op, [counted(*shape)], block_size=2)


def test_im2col_makes_columns_of_windows() -> None:
    expected = f32([[[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]])
    check("im2col", [counted(1, 1, 3, 3)], expected, kernel="(2, 2)")


def test_im2col_strides_dilates_and_pads() -> None:
    attributes = {"kernel": "(1, 2)", "stride": "(1, 2)", "dilate": "(1, 3)", "pad": "(0, 1)"}
    check("im2col", [counted(1, 1, 1, 4) + 1], f32([[[0, 2], [3, 0]]]), **attributes)


def test_col2im_sums_where_windows_overlap() -> None:
    columns = np.ones((1, 4, 4), np.float32)
    expected = f32([[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]])
    check("col2im", [columns], expected, kernel="(2, 2)", output_size="(3, 3)")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"kernel": "(4, 1)"}, "expected a kernel that fits the padded image"),
        ({"kernel": "(2,)"}, "of 2 numbers for 2 spatial axes"),
        ({"kernel": "(2, 2)", "stride": "(0, 1)"}, "of 2 numbers for 2 spatial axes"),
        ({"kernel": "(100, 100)", "pad": "(99, 99)"}, "expected at most 4096 elements"),
    ],
)
def test_windows_that_can_not_be_are_refused(attributes: dict[str, Any], words: str) -> None:
    assert words in refusal("im2col", [counted(1, 1, 3, 3)], **attributes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0, [[1, 0], [0, 2]]),
        (1, [[0, 1, 0], [0, 0, 2], [0, 0, 0]]),
        (-1, [[0, 0, 0], [1, 0, 0], [0, 2, 0]]),
    ],
)
def test_diag_makes_a_matrix_of_a_vector(k: int, expected: Any, dtype: str) -> None:
    check("diag", [np.array([1, 2], dtype)], np.array(expected, dtype), k=k)
    check("_np_diag", [np.array([1, 2], dtype)], np.array(expected, dtype), k=k)


@pytest.mark.parametrize(("k", "expected"), [(0, [0, 4]), (1, [1, 5]), (2, [2]), (-1, [3])])
def test_diag_takes_a_diagonal_of_a_matrix(k: int, expected: list[float]) -> None:
    check("diag", [counted(2, 3)], f32(expected), k=k)
    check("_np_diag", [counted(2, 3)], f32(expected), k=k)
    check("_np_diagonal", [counted(2, 3)], f32(expected), offset=k)


def test_diag_of_more_axes_puts_the_diagonal_last() -> None:
    data = counted(2, 3, 2)
    check("diag", [data], f32([[0, 8], [1, 9]]))
    check("diag", [data], f32([[0, 3], [6, 9]]), axis1=1, axis2=2)
    check("diag", [data], f32([[2, 5], [8, 11]]), axis1=-2, axis2=2, k=-1)


def test_diagflat_takes_all_elements() -> None:
    check("_np_diagflat", [f32([[1], [2]])], f32([[1, 0], [0, 2]]))


def test_np_diag_refuses_more_than_a_matrix() -> None:
    assert "expected a vector or a matrix" in refusal("_np_diag", [counted(1, 2, 3)])
    assert "expected different axes" in refusal("diag", [counted(1, 2, 3)], axis1=1, axis2=1)


@pytest.mark.parametrize(
    ("k", "expected"), [(0, [[1, 0, 0], [1, 1, 0]]), (1, [[1, 1, 0], [1, 1, 1]]), (-1, [[0, 0, 0], [1, 0, 0]])]
)
def test_tril_zeroes_what_lies_above_a_diagonal(k: int, expected: Any) -> None:
    for dtype in [*DTYPES, "bool"]:
        check("_npi_tril", [np.ones((2, 3), dtype)], np.array(expected, dtype), k=k)


def test_triu_zeroes_what_lies_below_a_diagonal() -> None:
    check("_npi_triu", [np.ones((2, 3), np.float32)], f32([[0, 1, 1], [0, 0, 1]]), k=1)
    check("_npi_triu", [np.ones((2, 3), "bool")], np.array([[1, 1, 1], [1, 1, 1]], "bool"), k=-1)


def test_tril_takes_a_vector_for_every_row() -> None:
    check("_npi_tril", [f32([1, 2])], f32([[1, 0], [1, 2]]))
