"""Attributes: Python's and C++'s spellings to typed values."""

from typing import Any

import numpy as np
import pytest

from converters.mxnet.attributes import Attributes
from model_store.errors import ConversionError


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("boolean", "True", True), ("boolean", "true", True), ("boolean", "1", True), ("boolean", "0", False),
        ("integer", "3", 3), ("integer", "-1", -1), ("integer", "4L", 4), ("integer", "2.0", 2),
        ("number", "1e-05", 1e-5), ("number", "inf", float("inf")), ("number", "-3", -3.0), ("number", ".5", 0.5),
        ("integers", "(3, 3)", (3, 3)), ("integers", "(3,3)", (3, 3)), ("integers", "[0, 2]", (0, 2)),
        ("integers", "(2L, 2L)", (2, 2)), ("integers", "(1,)", (1,)), ("integers", "7", (7,)),
        ("optional_integers", "(None, 1)", (None, 1)), ("numbers", "(0.5, 1e2)", (0.5, 100.0)),
        ("dtype", "float16", np.dtype("float16")), ("dtype", "4", np.dtype("int32")),
        ("dtype", "bfloat16", np.dtype("float32")), ("text", "valid", "valid"),
    ],
)  # fmt: skip
def test_text_becomes_a_value(kind: str, text: str, expected: Any) -> None:
    assert getattr(Attributes({"a": text}), kind)("a") == expected


@pytest.mark.parametrize("text", [None, "None"])
def test_absent_attribute_has_the_default(text: str | None) -> None:
    attributes = Attributes({} if text is None else {"a": text})
    assert attributes.integer("a", 5) == 5
    assert "a" not in attributes


def test_empty_tuple_stands_for_the_default() -> None:
    assert Attributes({"stride": "()"}).integers("stride", (1, 1)) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "1.5"), ("integer", "x"), ("boolean", "yes"), ("number", "__import__('os')"), ("integers", "(1, 2"),
     ("integers", "(1, None)"), ("dtype", "float128"), ("dtype", "99"), ("integer", "9" * 40), ("integer", "nan"),
     ("integer", "inf")],
)  # fmt: skip
def test_other_text_is_refused_with_the_place(kind: str, text: str) -> None:
    with pytest.raises(ConversionError, match=r"^here: attribute 'a' can't be "):
        getattr(Attributes({"a": text}, "here"), kind)("a")


def test_required_attribute_that_is_absent_is_refused() -> None:
    with pytest.raises(ConversionError, match="here: attribute 'kernel' is missing"):
        Attributes({}, "here").integers("kernel")
