"""Tensors joined and split: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import DTYPES, check, counted, f32, refusal


@pytest.mark.parametrize("dtype", DTYPES)
def test_concat_joins_along_axis_1_by_default(dtype: str) -> None:
    data = np.array([[1, 0], [1, 1]], dtype)
    check("Concat", [data, data], np.array([[1, 0, 1, 0], [1, 1, 1, 1]], dtype), num_args=2)


def test_concat_along_other_axes() -> None:
    check("concat", [counted(1, 2), counted(2, 2)], f32([[0, 1], [0, 1], [2, 3]]), dim=0, num_args=2)
    check("Concat", [counted(2, 1), counted(2, 2)], f32([[0, 0, 1], [1, 2, 3]]), dim=-1, num_args=2)


def test_concat_of_one_is_itself() -> None:
    check("Concat", [counted(2, 3)], counted(2, 3), num_args=1)


def test_concat_refuses_sizes_that_differ_elsewhere() -> None:
    assert "Concat does not take" in refusal("Concat", [counted(2, 3, 2), counted(2, 3, 3)], num_args=2)


def test_numpys_concatenate_joins_along_axis_0_by_default_and_may_flatten() -> None:
    check("_npi_concatenate", [counted(1, 2), counted(1, 2)], f32([[0, 1], [0, 1]]), num_args=2)
    check("_npi_concatenate", [counted(1, 2), counted(3)], f32([0, 1, 0, 1, 2]), axis="None", num_args=2)


@pytest.mark.parametrize(("axis", "shape"), [(0, (2, 1, 3)), (1, (1, 2, 3)), (-1, (1, 3, 2)), (-3, (2, 1, 3))])
def test_stack_makes_an_axis(axis: int, shape: tuple[int, ...]) -> None:
    expected = np.stack([counted(1, 3), counted(1, 3) + 9], axis)
    assert expected.shape == shape
    check("stack", [counted(1, 3), counted(1, 3) + 9], expected, axis=axis, num_args=2)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("_npi_vstack", [[0, 1], [2, 3]]),
        ("_npi_hstack", [0, 1, 2, 3]),
        ("_npi_dstack", [[[0, 2], [1, 3]]]),
        ("_npi_column_stack", [[0, 2], [1, 3]]),
    ],
)
def test_numpys_stacks_lift_vectors(op: str, expected: Any) -> None:
    check(op, [counted(2), counted(2) + 2], f32(expected), num_args=2)


def test_numpys_stacks_lift_scalars() -> None:
    check("_npi_vstack", [np.float32(1), np.float32(2)], f32([[1], [2]]), num_args=2)
    check("_npi_hstack", [np.float32(1), np.float32(2)], f32([1, 2]), num_args=2)
    check("_npi_dstack", [np.float32(1), np.float32(2)], f32([[[1, 2]]]), num_args=2)


def test_column_stack_takes_vectors_beside_matrices() -> None:
    check("_npi_column_stack", [counted(2), counted(2, 2)], f32([[0, 0, 1], [1, 2, 3]]), num_args=2)


def test_atleast_adds_the_axes_that_lack() -> None:
    inputs = [np.float32(7), counted(2), counted(1, 2)]
    check("_np_atleast_1d", inputs, [f32([7]), counted(2), counted(1, 2)], num_args=3)
    check("_np_atleast_2d", inputs, [f32([[7]]), counted(1, 2), counted(1, 2)], num_args=3)
    check("_np_atleast_3d", inputs, [f32([[[7]]]), counted(1, 2, 1), counted(1, 2, 1)], num_args=3)


def test_slice_channel_gives_equal_pieces() -> None:
    check("SliceChannel", [counted(1, 4)], [f32([[0, 1]]), f32([[2, 3]])], num_outputs=2)
    check("split", [counted(2, 2)], [f32([0, 2]), f32([1, 3])], num_outputs=2, axis=-1, squeeze_axis=1)


def test_slice_channel_of_the_batch_gives_equal_pieces() -> None:
    check("SliceChannel", [counted(4, 1)], [f32([[0], [1]]), f32([[2], [3]])], num_outputs=2, axis=0)


def test_slice_channel_in_one_piece_may_still_drop_the_axis() -> None:
    check("SliceChannel", [counted(2, 1)], counted(2), num_outputs=1, squeeze_axis=True)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"num_outputs": 2}, "expected a size along axis 1 that 2 divides"),
        ({"num_outputs": 0}, "expected 1 to 4096 pieces, got 0"),
        ({"num_outputs": 1000000000}, "expected 1 to 4096 pieces, got 1000000000"),
        ({"num_outputs": 3, "axis": 2}, "expected an axis of a 2-D tensor, got 2"),
    ],
)
def test_slice_channel_refuses_pieces_that_can_not_be(attributes: dict[str, Any], words: str) -> None:
    assert words in refusal("SliceChannel", [counted(2, 3)], **attributes)


def test_split_v2_cuts_where_pieces_begin() -> None:
    pieces = [f32([[0, 1]]), f32([[2]]), f32([[3, 4]])]
    check("_split_v2", [counted(1, 5)], pieces, indices="(0, 2, 3)", axis=1)
    check("_split_v2", [counted(1, 5)], pieces, indices="[0, 2, 3]", sections=0, axis=-1)


def test_split_v2_by_number_makes_the_first_pieces_larger() -> None:
    pieces = [f32([[0, 1]]), f32([[2, 3]]), f32([[4]])]
    check("_split_v2", [counted(1, 5)], pieces, indices="[]", sections=3, axis=1)


@pytest.mark.parametrize("symbolic", [False, True])
def test_split_v2_by_number_of_a_batch_makes_the_first_pieces_larger(symbolic: bool) -> None:
    pieces = [f32([0, 1]), f32([2, 3]), f32([4])]
    check("_split_v2", [counted(5)], pieces, indices="[]", sections=3, axis=0, symbolic=symbolic)


def test_split_v2_may_drop_the_axis() -> None:
    check("_split_v2", [counted(2, 2)], [f32([0, 2]), f32([1, 3])], indices="()", sections=2, axis=1, squeeze_axis=True)


def test_hsplit_of_a_vector_cuts_its_only_axis() -> None:
    check("_npi_hsplit", [counted(4)], [f32([0, 1]), f32([2, 3])], indices="[]", sections=2, axis=1)
    check("_npi_hsplit", [counted(1, 4)], [f32([[0, 1]]), f32([[2, 3]])], indices="[0, 2]", axis=1)


def test_dsplit_cuts_the_third_axis() -> None:
    check("_npi_dsplit", [counted(1, 1, 3)], [f32([[[0]]]), f32([[[1, 2]]])], indices="[0, 1]", axis=2)
