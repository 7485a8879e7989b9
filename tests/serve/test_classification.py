"""The likeliest classes of an output as text."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.classification import classify


@pytest.mark.parametrize(
    ("scores", "count", "classes"),
    [
        (np.array([[0.1, 0.7, 0.2]], np.float32), 2, [[b"0.700000:1", b"0.200000:2"]]),
        (np.array([[1, 3], [9, 2]], np.float64), 1, [[b"3.000000:1"], [b"9.000000:0"]]),
        (np.array([[1, 2]], np.float32), 5, [[b"2.000000:1", b"1.000000:0"]]),
        (np.array([[1, 2]], np.float32), 2**64, [[b"2.000000:1", b"1.000000:0"]]),
        (np.array([[5, 7, 7, 5]], np.int32), 4, [[b"7:1", b"7:2", b"5:0", b"5:3"]]),
        (np.array([[0.5, 0.5]], np.float32), 2, [[b"0.500000:0", b"0.500000:1"]]),
        (np.array([[0, 255, 3]], np.uint8), 2, [[b"255:1", b"3:2"]]),
        (np.array([[-(2**63), 5]], np.int64), 2, [[b"5:1", b"-9223372036854775808:0"]]),
        (np.array([[2**64 - 1, 5]], np.uint64), 1, [[b"18446744073709551615:0"]]),
        (np.array([[np.nan, -np.inf, np.inf]], np.float32), 3, [[b"inf:2", b"-inf:1", b"nan:0"]]),
        (np.array([[1, 2]], np.float16), 1, [[b"2.000000:1"]]),
        (np.array([[1, np.nan, 2]], ml_dtypes.bfloat16), 2, [[b"2.000000:2", b"1.000000:0"]]),
        (np.array([[16777217]], np.float64), 1, [[b"16777217.000000:0"]]),
        (np.array([[[1, 2], [4, 3]]], np.int8), 2, [[b"4:2", b"3:3"]]),
        (np.array([4.0, 5.0]), 3, [[b"4.000000:0"], [b"5.000000:0"]]),
    ],
)
def test_the_highest_scores_of_each_row_come_first(scores: np.ndarray, count: int, classes: Any) -> None:
    found = classify(scores, count)
    assert found.dtype == np.object_
    assert found.tolist() == classes


def test_labels_follow_the_index_where_there_are_some() -> None:
    scores = np.array([[1, 3, 2]], np.int32)
    assert classify(scores, 3, ["a", "dög:x"]).tolist() == [[b"3:1:d\xc3\xb6g:x", b"2:2", b"1:0:a"]]


def test_without_a_batch_all_values_are_one_row() -> None:
    assert classify(np.array([1, 3, 2]), 2, batched=False).tolist() == [b"3:1", b"2:2"]
    assert classify(np.array([[1, 3], [9, 7]]), 2, batched=False).tolist() == [b"9:2", b"7:3"]
    assert classify(np.array(3), 2, batched=False).tolist() == [b"3:0"]


@pytest.mark.parametrize(("shape", "expected"), [((0, 3), (0, 2)), ((2, 0), (2, 0)), ((0,), (0, 1))])
def test_no_rows_and_no_classes_give_none(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert classify(np.zeros(shape, np.float32), 2).shape == expected


@pytest.mark.parametrize(("output", "datatype"), [(np.array([[True]]), "BOOL"), (np.array([[b"a"]], object), "BYTES")])
def test_an_output_without_order_has_no_classes(output: np.ndarray, datatype: str) -> None:
    with pytest.raises(InvalidInput, match=f"^an output of {datatype} has no classes; ask for it without"):
        classify(output, 1)
