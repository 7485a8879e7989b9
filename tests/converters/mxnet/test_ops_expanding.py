"""Elements repeated, and padding: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import DTYPES, check, counted, f32, refusal


@pytest.mark.parametrize("dtype", DTYPES)
def test_broadcast_to_keeps_sizes_of_0(dtype: str) -> None:
    data = np.array([[1], [0]], dtype)
    check("broadcast_to", [data], np.array([[1, 1, 1], [0, 0, 0]], dtype), shape="(0, 3)")


def test_broadcast_to_refuses_other_ranks_and_sizes() -> None:
    assert "expected 2 sizes" in refusal("broadcast_to", [counted(2, 1)], shape="(1, 2, 3)")
    assert "can't broadcast" in refusal("broadcast_to", [counted(2, 2)], shape="(0, 3)")
    assert "at most 268435456 elements" in refusal("broadcast_to", [counted(1, 1)], shape="(100000, 100000)")


def test_numpys_broadcast_to_adds_axes_and_keeps_sizes_of_minus_1() -> None:
    expected = f32([[[0, 0], [1, 1]]] * 3)
    check("_npi_broadcast_to", [counted(2, 1)], expected, shape="(3, 2, 2)", symbolic=False)
    check("_npi_broadcast_to", [counted(2, 1)], expected, shape="(3, -1, 2)")
    check("_npi_broadcast_to", [np.float32(7)], f32([7, 7]), shape="(2,)")


def test_broadcast_axis_takes_one_or_several() -> None:
    check("broadcast_axis", [counted(2, 1)], f32([[0, 0], [1, 1]]), axis=1, size=2)
    check("broadcast_axes", [counted(1, 2, 1)], f32([[[0] * 2, [1] * 2]] * 3), axis="(2, 0)", size="(2, 3)")


def test_broadcast_axis_refuses_an_axis_of_another_size() -> None:
    assert "expected a size of 1 or 4 along axis 1" in refusal("broadcast_axis", [counted(2, 3)], axis=1, size=4)


def test_broadcast_like_copies_all_sizes_or_some() -> None:
    check("broadcast_like", [counted(1, 2), counted(3, 2)], f32([[0, 1]] * 3))
    check("broadcast_like", [counted(2, 1), counted(5, 3)], f32([[0] * 3, [1] * 3]), lhs_axes="(1,)", rhs_axes="(-1,)")
    check("broadcast_like", [counted(1, 2), counted(5, 3)], f32([[0, 1]] * 5), lhs_axes="(0,)", rhs_axes="(0,)")


@pytest.mark.parametrize(
    ("reps", "expected"),
    [
        ("2", [[0, 1, 0, 1]]),
        ("(2, 1)", [[0, 1], [0, 1]]),
        ("(2, 1, 1)", [[[0, 1]], [[0, 1]]]),
        ("(1, 1)", [[0, 1]]),
        ("()", [[0, 1]]),
    ],
)
def test_tile_puts_ones_before_the_shorter_of_shape_and_reps(reps: str, expected: Any) -> None:
    check("tile", [counted(1, 2)], f32(expected), reps=reps)


def test_repeat_without_an_axis_flattens() -> None:
    check("repeat", [counted(2, 2)], f32([0, 0, 1, 1, 2, 2, 3, 3]), repeats=2)
    check("repeat", [counted(2, 2)], f32([]), repeats=0, symbolic=False)


def test_repeat_along_an_axis() -> None:
    check("repeat", [counted(2, 2)], f32([[0, 0, 1, 1], [2, 2, 3, 3]]), repeats=2, axis=-1)
    check("repeat", [counted(2, 2)], f32([[0, 1], [0, 1], [2, 3], [2, 3]]), repeats=2, axis=0)


def test_repeat_refuses_absurd_counts() -> None:
    assert "expected 0 or more, got -1" in refusal("repeat", [counted(2)], repeats=-1)
    assert "at most 268435456 elements" in refusal("repeat", [counted(2, 2)], repeats=10**12, axis=1)


ROW = counted(1, 1, 1, 3) + 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [("constant", [5, 5, 1, 2, 3, 5]), ("edge", [1, 1, 1, 2, 3, 3]), ("reflect", [3, 2, 1, 2, 3, 2])],
)
def test_pad_widths_are_before_and_after_of_each_axis(mode: str, expected: list[float], dtype: str) -> None:
    row = np.array([[[expected]]], dtype)
    check("Pad", [ROW.astype(dtype)], row, mode=mode, pad_width="(0,0,0,0,0,0,2,1)", constant_value=5)


def test_pad_of_volumes() -> None:
    expected = f32([[[[[0], [0]], [[0], [1]], [[0], [0]]]]])
    check("pad", [f32([[[[[1]]]]])], expected, mode="constant", pad_width="(0,0,0,0,1,1,1,0,0,0)")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"pad_width": "(0,0,1,0,0,0,0,0)", "mode": "edge"}, "widths after the first two"),
        ({"pad_width": "(0,0,0,0,0,0,3,0)", "mode": "reflect"}, "expected less than 3 elements along axis 3"),
        ({"pad_width": "(0,0,0,0,0,0,0,-1)", "mode": "edge"}, "widths after the first two"),
        ({"pad_width": "(0,0,0,0,0,0,0,1)", "mode": "wrap"}, "expected constant, edge or reflect, got 'wrap'"),
        ({"pad_width": "(0,0,0,0,0,0,0,1000000000)", "mode": "edge"}, "at most 268435456 elements"),
    ],
)
def test_pad_refuses_what_mxnet_does_not_pad(attributes: dict[str, Any], words: str) -> None:
    assert words in refusal("Pad", [ROW], **attributes)


@pytest.mark.parametrize("dtype", DTYPES[:-1])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("constant", [0, 0, 1, 3, 2, 0]),
        ("edge", [1, 1, 1, 3, 2, 2]),
        ("reflect", [2, 3, 1, 3, 2, 3]),
        ("symmetric", [3, 1, 1, 3, 2, 2]),
        ("maximum", [3, 3, 1, 3, 2, 3]),
        ("minimum", [1, 1, 1, 3, 2, 1]),
    ],
)
def test_numpys_pad_has_more_modes_and_dtypes(mode: str, expected: list[int], dtype: str) -> None:
    data = np.array([[1, 3, 2]], dtype)
    check("_npi_pad", [data], np.array([expected], dtype), pad_width="((0, 0), (2, 1))", mode=mode)


def test_numpys_pad_folds_more_than_once() -> None:
    expected = f32([[0, 1, 2, 1, 0, 1, 2]])
    check("_npi_pad", [counted(1, 3)], expected, pad_width="((0, 0), (4, 0))", mode="reflect")


def test_numpys_pad_reflects_a_batch_of_unknown_size() -> None:
    check("_npi_pad", [counted(3)], f32([2, 1, 0, 1, 2, 1]), pad_width="((2, 1),)", mode="reflect")


def test_numpys_pad_needs_the_size_of_a_symmetric_axis() -> None:
    words = "the size of its input float32[x0_0] along axis 0 must be known: declare it under `inputs:`"
    assert words in refusal("_npi_pad", [counted(3)], pad_width="((2, 1),)", mode="symmetric")


def test_numpys_pad_refuses_widths_of_other_axes() -> None:
    assert "expected 1 pairs" in refusal("_npi_pad", [counted(3)], pad_width="((2, 1), (0, 0))", mode="edge")
    assert "expected 'even'" in refusal("_npi_pad", [counted(3)], pad_width="((2, 1),)", reflect_type="odd")
