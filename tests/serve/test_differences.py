"""What differs between two documents, by path."""

from __future__ import annotations

from typing import Any

import pytest

from serve.differences import Difference, differences


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c: 2 -> 3"]),
        ({}, {"a": {"b": 1}}, ["a: unset -> {b: 1}"]),
        ({"a": 1}, {}, ["a: 1 -> unset"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, ["a[1].b: 2 -> 3"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {"b": 2, "c": None}]}, ["a[1]: unset -> {b: 2}"]),
        ({"a": ["x"]}, {"a": ["x", "y"]}, ["a: [x] -> [x, y]"]),
        ({"a": "all"}, {"a": [{"version": 1}]}, ["a: all -> [{version: 1}]"]),
        ({"a": None}, {}, []),
    ],
)
def test_every_key_that_differs_is_told(old: Any, new: Any, expected: list[str]) -> None:
    assert [each.text for each in differences(old, new)] == expected


def test_values_stay_what_they_are_for_programs() -> None:
    assert list(differences({"a": [1, 2]}, {"a": None})) == [Difference("a", [1, 2], None)]
