"""Answers as CSV: who gets them, and how outputs are written."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.processors.csv_answers import wants_csv, write_csv

ROWS = np.array([[1, 2.5], [-3, 4]], np.float32)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv", True),
        ("TEXT/CSV; charset=utf-8", True),
        ("text/csv, */*;q=0.1", True),
        ("text/csv;q=1, application/json;q=0.5", True),
        ("text/csv, application/*;q=0.5, */*", True),
        ("text/csv;q=0.5, application/json;q=0.9", False),
        ("text/csv, application/json", False),
        ("application/json, text/csv", False),
        ("text/csv, */*", False),
        ("text/csv;q=0", False),
        ("text/csv;q=x", False),
        ("text/csvx", False),
    ],
)
def test_csv_is_for_those_who_like_it_better_than_json(accept: str | None, wanted: bool) -> None:
    assert wants_csv(accept) is wanted


def test_a_line_is_a_row_and_outputs_stand_side_by_side() -> None:
    words = np.array([b"a", 'b, "ü"\n'.encode()], object)
    cubes = np.arange(8, dtype=np.int64).reshape(2, 2, 2)
    assert write_csv({"y": ROWS}, True) == b"1.0,2.5\n-3.0,4.0\n"
    assert write_csv({"s": words, "y": ROWS, "n": cubes}, True).decode() == (
        'a,1.0,2.5,0,1,2,3\n"b, ""ü""\n",-3.0,4.0,4,5,6,7\n'
    )


@pytest.mark.parametrize(
    ("tensor", "batched", "lines"),
    [
        (np.array([7, 8], np.int8), True, b"7\n8\n"),
        (np.array([7, 8], np.int8), False, b"7,8\n"),
        (np.array(7, np.int8), False, b"7\n"),
        (ROWS, False, b"1.0,2.5\n-3.0,4.0\n"),
        (np.zeros((0, 2), np.float32), True, b""),
        (np.array([True, False]), True, b"true\nfalse\n"),
        (np.array([np.nan, np.inf, -np.inf]), True, b"nan\ninf\n-inf\n"),
        (np.array([0.1], np.float32), True, b"0.10000000149011612\n"),
        (np.array([1.5], np.float16), True, b"1.5\n"),
        (np.array([1.5], ml_dtypes.bfloat16), True, b"1.5\n"),
        (np.array([2**64 - 1], np.uint64), True, b"18446744073709551615\n"),
        (np.array([b""], object), True, b'""\n'),
    ],
)
def test_each_kind_of_output_has_its_lines(tensor: np.ndarray, batched: bool, lines: bytes) -> None:
    assert write_csv({"y": tensor}, batched) == lines


def test_what_csv_cannot_carry_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        write_csv({"s": np.array([b"\xff"], object)}, True)
    with pytest.raises(InvalidInput) as caught:
        write_csv({"y": ROWS, "n": np.arange(3)}, False)
    assert caught.value.message == (
        "the outputs differ in their number of lines, 'y' [2, 2], 'n' [3]; ask for JSON in place of text/csv"
    )
