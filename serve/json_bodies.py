"""JSON bodies of the management port's own calls, as values of a type."""

from __future__ import annotations

from typing import Any

import msgspec

from model_store.errors import InvalidInput


def decoded(body: bytes, kind: Any, expected: str) -> Any:
    """The body as a value of `kind`; raises `InvalidInput` that says what the object is `expected` to hold."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"expected a JSON object with {expected}; got: {error}") from error
