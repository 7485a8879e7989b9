"""topk, argsort, sort, and sequences of different lengths: expected values are those of MXNet 1.9.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.mxnet.operators import check, counted, f32, refusal

DATA = f32([[3, 1, 2], [7, 9, 8]])
DTYPES = ["float32", "float64", "float16", "int32", "int64", "int8", "uint8"]


def test_topk_gives_float32_indices_of_the_largest_by_default() -> None:
    check("topk", [DATA], f32([[0], [1]]))
    check("topk", [DATA], f32([[0, 2], [1, 2]]), k=2)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ret_typ": "value", "k": 2}, [[3, 2], [9, 8]]),
        ({"ret_typ": "value", "k": 2, "is_ascend": True}, [[1, 2], [7, 8]]),
        ({"ret_typ": "mask", "k": 2}, [[1, 0, 1], [0, 1, 1]]),
        ({"ret_typ": "value", "axis": 0}, [[7, 9, 8]]),
        ({"ret_typ": "mask", "axis": 0}, [[0, 0, 0], [1, 1, 1]]),
        ({"ret_typ": "value", "k": 0}, [[3, 2, 1], [9, 8, 7]]),
        ({"ret_typ": "value", "axis": "None", "k": 4}, [9, 8, 7, 3]),
        ({"ret_typ": "indices", "axis": "None", "k": 2}, [4, 5]),
        ({"ret_typ": "mask", "axis": "None", "k": 2}, [[0, 0, 0], [0, 1, 1]]),
    ],
)
def test_topk_returns_what_ret_typ_says(attributes: dict[str, Any], expected: Any) -> None:
    check("topk", [DATA], f32(expected), **attributes)


def test_topk_both_gives_values_then_indices_of_the_wanted_dtype() -> None:
    check("topk", [DATA], [f32([[3], [9]]), np.array([[0], [1]], "int32")], ret_typ="both", dtype="int32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_sorting_in_every_dtype(dtype: str) -> None:
    data = np.array([[3, 1, 2]], dtype)
    check("topk", [data], [np.array([[3, 2]], dtype), f32([[0, 2]])], ret_typ="both", k=2)
    check("topk", [data], np.array([[1, 0, 1]], dtype), ret_typ="mask", k=2)
    check("sort", [data], np.array([[1, 2, 3]], dtype))
    check("argsort", [data], f32([[1, 2, 0]]))


def test_equal_elements_keep_their_order() -> None:
    check("topk", [f32([[1, 2, 2, 1]])], f32([[1, 2, 0]]), k=3)
    check("argsort", [f32([[1, 2, 2, 1]])], f32([[0, 3, 1, 2]]))
    check("argsort", [f32([[1, 2, 2, 1]])], f32([[1, 2, 0, 3]]), is_ascend=False)


def test_sort_goes_down_and_along_other_axes() -> None:
    check("sort", [DATA], f32([[3, 2, 1], [9, 8, 7]]), is_ascend=0)
    check("sort", [DATA[::-1]], f32([[3, 1, 2], [7, 9, 8]]), axis=0)
    check("sort", [DATA], f32([1, 2, 3, 7, 8, 9]), axis="None")
    check("argsort", [DATA], np.array([1, 2, 0, 3, 5, 4]), axis="None", dtype="int64")


def test_sort_of_a_batch_of_unknown_size() -> None:
    check("argsort", [f32([2, 0, 1])], f32([1, 2, 0]), axis=0)
    check("topk", [f32([2, 0, 1])], f32([2, 1, 0]), axis=0, k=0, ret_typ="value")


def test_topk_refuses_more_than_there_is() -> None:
    assert "expected at most 3 for float32[x0_0,3], got 4" in refusal("topk", [DATA], k=4)
    assert "expected indices, value, mask or both, got 'all'" in refusal("topk", [DATA], ret_typ="all")


STEPS = counted(3, 2) + 1
"""Three steps of two sequences."""
LENGTHS = f32([1, 2.9])


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("SequenceMask", [[1, 1], [0, 0], [0, 0]]),
        ("SequenceLast", [1, 0]),
        ("SequenceReverse", [[1, 0], [1, 1], [0, 1]]),
    ],
)
def test_sequences_end_at_their_length_in_every_dtype(op: str, expected: Any, dtype: str) -> None:
    data = np.array([[1, 1], [1, 0], [0, 1]], dtype)
    check(op, [data, LENGTHS], np.array(expected, dtype), use_sequence_length=True)


def test_sequence_mask_writes_a_value() -> None:
    check("SequenceMask", [STEPS, LENGTHS], f32([[1, 2], [9, 4], [9, 9]]), use_sequence_length=True, value=9)
    check("SequenceMask", [STEPS.T, LENGTHS], f32([[1, 9, 9], [2, 4, 9]]), use_sequence_length=True, value=9, axis=1)


def test_sequence_mask_of_unsigned_integers_wraps_the_value() -> None:
    expected = np.array([[5, 5], [255, 5]], "uint8")
    check("SequenceMask", [np.full((2, 2), 5, "uint8"), f32([1, 2])], expected, use_sequence_length=True, value=-1)


def test_sequence_last_takes_the_step_before_the_length() -> None:
    check("SequenceLast", [STEPS, LENGTHS], f32([1, 4]), use_sequence_length=True)
    check("SequenceLast", [STEPS.T, LENGTHS], f32([1, 4]), use_sequence_length=True, axis=1)


def test_sequence_reverse_leaves_the_rest() -> None:
    check("SequenceReverse", [STEPS, LENGTHS], f32([[1, 4], [3, 2], [5, 6]]), use_sequence_length=True)


def test_without_lengths_every_sequence_is_whole() -> None:
    check("SequenceMask", [STEPS], STEPS)
    check("SequenceLast", [STEPS], f32([5, 6]))
    check("SequenceLast", [STEPS.T], f32([5, 6]), axis=1)
    check("SequenceReverse", [STEPS], STEPS[::-1])


def test_sequences_may_have_more_axes() -> None:
    data = counted(2, 2, 1, 2)
    expected = f32([[[0, 1]], [[6, 7]]])
    check("SequenceLast", [data, f32([1, 2])], expected, use_sequence_length=True)


def test_sequence_axes_are_time_and_batch() -> None:
    assert "expected axis 0 or 1" in refusal("SequenceMask", [counted(2, 2, 2)], axis=2)
    assert "attribute 'axis': expected 0" in refusal("SequenceReverse", [STEPS], axis=1)
    assert "expected lengths [batch]" in refusal("SequenceLast", [STEPS], use_sequence_length=True)
