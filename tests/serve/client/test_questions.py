"""What is sent for what a caller gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.client.questions import Target, target_of, tensor_of


@pytest.mark.parametrize(
    ("given", "dtype", "values"),
    [
        ([[1, 2]], "int64", [[1, 2]]),
        ([1.5], "float64", [1.5]),
        (True, "bool", True),
        (np.array([1, 2], ">i2"), "int16", [1, 2]),
        (["a", "ü"], "object", [b"a", "ü".encode()]),
        ([b"a\0", b""], "object", [b"a\0", b""]),
        (["a\0"], "object", [b"a\0"]),
        (b"raw\0", "object", b"raw\0"),
        (np.array(["a", "ü"]), "object", [b"a", "ü".encode()]),
        (np.array([b"a", b"bc"]), "object", [b"a", b"bc"]),
        (np.array([["a", b"b"]], object), "object", [[b"a", b"b"]]),
        (np.zeros((0, 3), np.float16), "float16", []),
    ],
)
def test_arrays_keep_their_datatype_and_text_is_bytes(given: Any, dtype: str, values: Any) -> None:
    tensor = tensor_of("x", given)
    assert (tensor.dtype, tensor.tolist()) == (np.dtype(dtype), values)


def test_an_array_that_can_be_sent_as_it_is_is_not_copied() -> None:
    given = np.ones((2, 2), np.float32)
    assert tensor_of("x", given) is given


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (np.array([1j]), "input 'x': an array of complex128 can't be sent; cast it"),
        (np.array(["2026-01-02"], "datetime64[D]"), "input 'x': an array of datetime64[D] can't be sent; cast it"),
        (np.array(["a", None], object), "got an element of type NoneType in an array of objects"),
        ([["a", 1.5], ["b", None]], "got an element of type float in an array of objects"),
    ],
)
def test_what_the_protocol_has_no_datatype_for_is_refused(given: Any, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        tensor_of("x", given)
    assert refused.value.message.endswith(text)


def test_a_target_is_a_version_or_a_label() -> None:
    assert target_of("m", None, None) == Target("m")
    assert target_of("m", 3, None) == Target("m", "3")
    assert target_of("m", None, "canary") == Target("m", "canary")
