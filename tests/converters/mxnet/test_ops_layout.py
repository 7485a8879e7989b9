"""Axes moved, added, dropped and turned around: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import DTYPES, check, counted, f32, refusal


@pytest.mark.parametrize(
    ("shape", "flat"), [((5,), (5, 1)), ((2, 3), (2, 3)), ((2, 3, 2), (2, 6)), ((2, 3, 2, 2), (2, 12))]
)
def test_flatten_keeps_the_batch(shape: tuple[int, ...], flat: tuple[int, ...]) -> None:
    check("Flatten", [counted(*shape)], counted(*flat))


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_without_axes_reverses_them_in_every_dtype(dtype: str) -> None:
    data = counted(2, 3, 4).astype(dtype)
    check("transpose", [data], data.T)
    check("transpose", [data], data.T, axes="()")


def test_transpose_by_axes() -> None:
    check("transpose", [counted(1, 2, 3)], f32([[[0, 3]], [[1, 4]], [[2, 5]]]), axes="(2, 0, 1)")


def test_a_scalar_is_its_own_transpose() -> None:
    check("_np_transpose", [np.float32(3)], np.float32(3), axes="None")


@pytest.mark.parametrize("axes", ["(0, 0, 1)", "(0, 1)", "(0, 1, 3)"])
def test_axes_that_are_no_permutation_are_refused(axes: str) -> None:
    assert "attribute 'axes'" in refusal("transpose", [counted(1, 2, 3)], axes=axes)


def test_swapaxes_exchanges_two_and_counts_from_the_end() -> None:
    data = counted(2, 3, 4)
    check("swapaxes", [data], data.transpose(2, 1, 0), dim1=0, dim2=2)
    check("SwapAxis", [data], data.transpose(0, 2, 1), dim1=-1, dim2=1)
    check("SwapAxis", [data], data)


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (1, 2, 3)), (1, (2, 1, 3)), (2, (2, 3, 1)), (-1, (2, 3, 1)), (-3, (1, 2, 3))]
)
def test_expand_dims_counts_axes_of_the_result(axis: int, shape: tuple[int, ...]) -> None:
    check("expand_dims", [counted(2, 3)], counted(*shape), axis=axis)


def test_expand_dims_refuses_an_axis_beyond_the_result() -> None:
    assert "expected an axis of a 3-D tensor, got 3" in refusal("expand_dims", [counted(2, 3)], axis=3)


def test_squeeze_drops_the_axes_of_size_1() -> None:
    check("squeeze", [counted(2, 1, 3, 1)], counted(2, 3))
    check("squeeze", [counted(2, 1, 3, 1)], counted(2, 1, 3), axis=-1)
    check("squeeze", [counted(1, 1, 3)], counted(1, 3), axis="(1,)")


def test_squeeze_leaves_the_older_operator_one_axis_and_numpys_none() -> None:
    check("squeeze", [counted(1, 1)], f32([0]), axis="(0, 1)")
    check("squeeze", [counted(1, 1)], f32([0]), symbolic=False)
    check("_np_squeeze", [counted(1, 1)], np.float32(0), axis="(0, 1)")


def test_squeeze_keeps_a_batch_of_unknown_size() -> None:
    check("squeeze", [counted(3, 1, 2)], counted(3, 2))


def test_squeeze_refuses_an_axis_of_another_size() -> None:
    assert "expected axes of size 1, got axis 1" in refusal("squeeze", [counted(1, 3)], axis=1)


def test_moveaxis_puts_axes_where_they_are_wanted() -> None:
    data = counted(2, 3, 4)
    check("_np_moveaxis", [data], data.transpose(1, 2, 0), source="0", destination="2")
    check("_np_moveaxis", [data], data.transpose(1, 2, 0), source="(0, 2)", destination="(-1, -2)")


@pytest.mark.parametrize("dtype", DTYPES)
def test_reverse_turns_axes_around(dtype: str) -> None:
    data = counted(2, 2, 2).astype(dtype)
    check("reverse", [data], data[:, ::-1], axis=1)
    check("flip", [data], data[::-1, :, ::-1], axis="(0, 2)")


def test_numpys_flip_without_axes_turns_all_around() -> None:
    check("_npi_flip", [counted(2, 2)], f32([[3, 2], [1, 0]]), axis="None")
    check("_npi_flip", [np.float32(3)], np.float32(3), axis="None")


def test_roll_without_an_axis_goes_through_the_flattened_tensor() -> None:
    check("_np_roll", [counted(2, 3)], f32([[4, 5, 0], [1, 2, 3]]), shift=2)
    check("_np_roll", [counted(2, 3)], f32([[1, 2, 3], [4, 5, 0]]), shift=-7)


def test_roll_shifts_along_axes() -> None:
    check("_np_roll", [counted(2, 3)], f32([[2, 0, 1], [5, 3, 4]]), shift=4, axis=1)
    check("_np_roll", [counted(2, 3)], f32([[5, 3, 4], [2, 0, 1]]), shift="(1, 1)", axis="(0, 1)")
    check("_np_roll", [counted(2, 3)], f32([[1, 2, 0], [4, 5, 3]]), shift="(1, 1)", axis="(1, 1)")


@pytest.mark.parametrize(
    ("turns", "expected"),
    [(0, [[0, 1], [2, 3]]), (1, [[1, 3], [0, 2]]), (2, [[3, 2], [1, 0]]), (-1, [[2, 0], [3, 1]])],
)
def test_rot90_turns_in_a_plane(turns: int, expected: Any) -> None:
    check("_npi_rot90", [counted(2, 2)], f32(expected), k=turns, axes="(0, 1)")
    check("_npi_rot90", [counted(2, 2)], f32(expected), k=-turns, axes="(1, 0)")
