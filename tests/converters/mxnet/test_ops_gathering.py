"""Elements looked up by index: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import DTYPES, check, counted, f32, refusal


def test_take_clips_by_default() -> None:
    check("take", [f32([10, 11, 12]), f32([0, -1, 7])], f32([10, 10, 12]))
    check("take", [counted(2, 3), f32([2, -5])], f32([[2, 0], [5, 3]]), axis=1)


def test_take_wraps_around_the_end() -> None:
    check("take", [f32([10, 11, 12]), f32([-1, -4, 7])], f32([12, 12, 11]), mode="wrap")


def test_take_cuts_indices_towards_zero() -> None:
    check("take", [f32([10, 11, 12]), f32([-0.9, 1.9, 2.5])], f32([10, 11, 12]))
    check("take", [f32([10, 11, 12]), f32([-0.9, -1.5])], f32([10, 12]), mode="wrap")


@pytest.mark.parametrize("dtype", DTYPES)
def test_take_takes_slices_of_any_dtype(dtype: str) -> None:
    data = np.array([[1, 0], [0, 1]], dtype)
    check("take", [data, np.array([[1], [0]], "int64")], data[[[1], [0]]], mode="raise")


@pytest.mark.parametrize("dtype", DTYPES[:-1])
def test_indices_have_any_dtype(dtype: str) -> None:
    check("take", [f32([10, 11, 12]), np.array([2, 0], dtype)], f32([12, 10]))
    check("Embedding", [np.array([1], dtype), counted(2, 2)], f32([[2, 3]]), input_dim=2, output_dim=2)


def test_take_by_a_scalar_drops_the_axis() -> None:
    check("take", [f32([10, 11, 12]), np.float32(7)], np.float32(12))


def test_take_refuses_other_modes_and_axes() -> None:
    assert "expected clip, wrap or raise, got 'fold'" in refusal("take", [counted(3), f32([0])], mode="fold")
    assert "expected an axis of a 1-D tensor, got 1" in refusal("take", [counted(3), f32([0])], axis=1)


def test_embedding_takes_rows_and_clips() -> None:
    expected = f32([[[0, 1], [4, 5]], [[0, 1], [2, 3]]])
    check("Embedding", [f32([[-0.5, 9], [-3, 1.9]]), counted(3, 2)], expected, input_dim=3, output_dim=2)


def test_embedding_of_an_unknown_batch_with_a_constant_table() -> None:
    inputs = [f32([[2], [0]]), counted(3, 2)]
    check("Embedding", inputs, f32([[[4, 5]], [[0, 1]]]), constants=(1,), input_dim=3, output_dim=2)


@pytest.mark.parametrize(
    ("attributes", "index", "expected"),
    [
        ({}, [2, 0], [2, 3]),
        ({}, [[2], [0]], [2, 3]),
        ({"keepdims": True}, [2, 0], [[2], [3]]),
        ({"axis": 0}, [1, 0, 9], [3, 1, 5]),
        ({"axis": 0, "keepdims": 1}, [[1, 0, 9]], [[3, 1, 5]]),
        ({}, [-1, 3.9], [0, 5]),
        ({"mode": "wrap"}, [-1, 4], [2, 4]),
    ],
)
def test_pick_takes_one_element_along_an_axis(attributes: dict[str, Any], index: Any, expected: Any) -> None:
    check("pick", [counted(2, 3), f32(index)], f32(expected), **attributes)


def test_pick_of_a_vector_keeps_its_axis() -> None:
    check("choose_element_0index", [f32([5, 6]), f32([1])], f32([6]), axis=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pick_of_any_dtype(dtype: str) -> None:
    data = np.array([[1, 0], [0, 1]], dtype)
    check("pick", [data, f32([0, 0])], data[:, 0])


def test_batch_take_takes_one_element_of_each_row() -> None:
    check("batch_take", [counted(3, 2), np.array([1, 9, -1], "int32")], f32([1, 3, 4]))
    check("batch_take", [counted(3, 2), np.array([[1], [0], [0]], "int32")], f32([[1], [2], [4]]))


def test_batch_take_refuses_more_than_a_matrix() -> None:
    assert "expected a matrix" in refusal("batch_take", [counted(1, 2, 3), np.array([[1, 1]], "int32")])


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([[1, 0]], [[3, 4, 5], [0, 1, 2]]),
        ([[1, 0], [2, 1]], [5, 1]),
        ([[-1, 0], [-3, 2]], [3, 2]),
        ([[[1]], [[0]]], [[3]]),
    ],
)
def test_gather_nd_has_coordinates_first(indices: Any, expected: Any) -> None:
    for dtype in DTYPES[:-1]:
        data, wanted = counted(2, 3).astype(dtype), np.array(expected, dtype)
        check("gather_nd", [data, f32(indices)], wanted, constants=(1,), symbolic=False)
    check("gather_nd", [counted(2, 3), f32(indices)], f32(expected), constants=(1,))


def test_gather_nd_needs_the_number_of_coordinates() -> None:
    words = "the size of its input float32[x1_0,1] along axis 0 must be known: declare it under `inputs:`"
    assert words in refusal("gather_nd", [counted(2, 3), f32([[1]])])


def test_one_hot_marks_the_index_and_nothing_out_of_range() -> None:
    expected = f32([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    check("one_hot", [f32([0, 2.5, 3, -1])], expected, depth=3)


def test_one_hot_has_other_values_and_dtypes() -> None:
    expected = np.array([[[-1, 5]], [[5, -1]]], "int32")
    check("one_hot", [f32([[1], [0]])], expected, depth=2, on_value=5.7, off_value=-1.7, dtype="int32")
    check(
        "one_hot",
        [f32([1])],
        np.array([[0.25, 0.5]], "float16"),
        depth=2,
        on_value=0.5,
        off_value=0.25,
        dtype="float16",
    )


def test_one_hot_refuses_absurd_depths() -> None:
    assert "at most 268435456 elements" in refusal("one_hot", [f32([1])], depth=10**12)
    assert "at most 268435456 elements" in refusal("one_hot", [f32([1])], depth=-1)
