"""What a client of the management port makes of its errors."""

from __future__ import annotations

from typing import Any

import pytest

from model_store.errors import Conflict, InternalError
from serve.management_client import error_from


def test_a_told_error_is_raised_again_as_its_kind() -> None:
    error = error_from({"error": "generation 5 exists already", "kind": "Conflict"})
    assert (type(error), error.message) == (Conflict, "generation 5 exists already")


@pytest.mark.parametrize(
    ("answer", "text"), [({"error": "Not Found"}, "Not Found"), ({"kind": "Nonsense"}, "unknown error")]
)
def test_an_error_of_no_known_kind_is_internal(answer: dict[str, Any], text: str) -> None:
    error = error_from(answer)
    assert (type(error), error.message) == (InternalError, text)
