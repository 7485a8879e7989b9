"""Ranges along axes: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import DTYPES, check, counted, f32, refusal


@pytest.mark.parametrize("dtype", DTYPES)
def test_slice_takes_ranges_of_the_leading_axes(dtype: str) -> None:
    data = counted(3, 4).astype(dtype)
    check("slice", [data], data[1:, 1:3], begin="(1, 1)", end="(3, 3)")
    check("slice", [data], data[:, ::-1], begin="(None, None)", end="(None, None)", step="(1, -1)")


@pytest.mark.parametrize(
    ("begin", "end", "step", "expected"),
    [
        ("(None, -3)", "(None, -1)", "()", [[1, 2], [5, 6]]),
        ("(1,)", "(2,)", "None", [[4, 5, 6, 7]]),
        ("1", "2", "None", [[4, 5, 6, 7]]),
        ("(0, 0)", "(9, 9)", "(1, 3)", [[0, 3], [4, 7]]),
        ("(0, 2)", "(2, 0)", "(1, -1)", [[2, 1], [6, 5]]),
        ("(0, 9)", "(2, None)", "(1, -2)", [[3, 1], [7, 5]]),
        ("(0, 2)", "(2, -9)", "(1, -1)", [[2, 1, 0], [6, 5, 4]]),
        ("[0]", "[1]", "()", [[0, 1, 2, 3]]),
    ],
)
def test_slice_clamps_bounds_and_counts_them_from_the_end(begin: str, end: str, step: str, expected: Any) -> None:
    check("slice", [counted(2, 4)], f32(expected), begin=begin, end=end, step=step)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"begin": "(0,)", "end": "(1,)", "step": "(0,)"}, "a step can't be 0"),
        ({"begin": "(0, 0, 0)", "end": "(1, 1, 1)"}, "at most 2"),
        ({"begin": "(0, 0)", "end": "(1,)"}, "expected as many of 'begin', 'end' and 'step'"),
        ({"begin": "(0,)"}, "attribute 'end' is missing"),
    ],
)
def test_slice_refuses_ranges_that_can_not_be(attributes: dict[str, Any], words: str) -> None:
    assert words in refusal("slice", [counted(2, 4)], **attributes)


@pytest.mark.parametrize(
    ("axis", "begin", "end", "expected"),
    [
        (1, 0, 2, [[0, 1], [4, 5]]),
        (1, -3, -1, [[1, 2], [5, 6]]),
        (-1, 2, None, [[2, 3], [6, 7]]),
        (0, -1, None, [[4, 5, 6, 7]]),
    ],
)
def test_slice_axis_takes_a_range_of_one_axis(axis: int, begin: int, end: int | None, expected: Any) -> None:
    check("slice_axis", [counted(2, 4)], f32(expected), axis=axis, begin=begin, end=end)


def test_slice_like_cuts_to_the_sizes_of_another() -> None:
    check("slice_like", [counted(2, 3), counted(1, 2)], f32([[0, 1]]))
    check("slice_like", [counted(2, 3), counted(9, 2)], f32([[0, 1], [3, 4]]), axes="(1,)")
    check("slice_like", [counted(2, 3), counted(4, 2, 2)], f32([[0, 1], [3, 4]]), axes="(-1,)")


def test_slice_like_cuts_a_batch_to_another_batch() -> None:
    check("slice_like", [counted(4, 2), counted(3, 5)], counted(3, 2), axes="(0,)")


def test_slice_like_refuses_what_is_too_small() -> None:
    assert "expected at most 3 along axis 1" in refusal("slice_like", [counted(2, 3), counted(2, 4)])
    assert "expected inputs of one rank" in refusal("slice_like", [counted(2, 3), counted(2)])


IMAGE = counted(1, 1, 4, 5)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"h_w": "(2, 2)"}, IMAGE[:, :, :2, :2]),
        ({"h_w": "(2, 2)", "offset": "(1, 3)"}, IMAGE[:, :, 1:3, 3:5]),
        ({"h_w": "(3, 2)", "center_crop": True}, IMAGE[:, :, 0:3, 1:3]),
        ({"h_w": "(2, 2)", "center_crop": True, "offset": "(9, 9)"}, IMAGE[:, :, 1:3, 1:3]),
    ],
)
def test_crop_takes_a_window(attributes: dict[str, Any], expected: np.ndarray) -> None:
    check("Crop", [IMAGE], expected, num_args=1, **attributes)


def test_crop_as_large_as_another_starts_at_the_offset() -> None:
    other = np.zeros((1, 3, 2, 3), np.float32)
    check("Crop", [IMAGE, other], IMAGE[:, :, :2, :3], num_args=2)
    check("Crop", [IMAGE, other], IMAGE[:, :, 1:3, 2:5], num_args=2, offset="(1, 2)")
    check("Crop", [IMAGE, other], IMAGE[:, :, 1:3, 1:4], num_args=2, center_crop=True)


def test_crop_refuses_windows_outside_of_the_image() -> None:
    assert "expected at most 4 along axis 2" in refusal("Crop", [IMAGE], h_w="(5, 2)", num_args=1)
    assert "expected a size above 0" in refusal("Crop", [IMAGE], num_args=1)
    assert "expected [n, c, h, w]" in refusal("Crop", [counted(2, 3)], h_w="(1, 1)", num_args=1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slice_assign_replaces_a_range(dtype: str) -> None:
    data, new = np.zeros((2, 3), dtype), np.ones((2, 2), dtype)
    expected = np.array([[1, 0, 1], [1, 0, 1]], dtype)
    check("_slice_assign", [data, new], expected, begin="(None, 0)", end="(None, 3)", step="(None, 2)")


def test_slice_assign_keeps_the_order_of_a_range_that_goes_backwards() -> None:
    inputs = [counted(2, 3), f32([[7, 8], [5, 6]])]
    expected = f32([[0, 8, 7], [3, 6, 5]])
    check("_slice_assign", inputs, expected, begin="(None, 2)", end="(None, 0)", step="(None, -1)")


def test_slice_assign_scalar_cuts_the_number_to_the_dtype() -> None:
    data = counted(1, 3, dtype="int32")
    check("_slice_assign_scalar", [data], np.array([[0, 2, 2]], "int32"), begin="(0, 1)", end="(1, 3)", scalar=2.7)
    check("_slice_assign_scalar", [counted(1, 3)], f32([[0, 2.5, 2.5]]), begin="(0, 1)", end="(1, 3)", scalar=2.5)
