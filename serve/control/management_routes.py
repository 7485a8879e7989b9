"""What a route of the management port's own is, and what all of them share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from model_store.errors import InvalidInput
from serve.dialects.base import HttpReply, HttpRequest

Query = dict[str, list[str]]
"""The parameters of a request's target."""

Handler = Callable[[str, HttpRequest, Query], Awaitable[Any]]
"""Takes the model that the path names, empty where it names none, the request and its query. What it returns is told as
JSON, but for a reply that is one already."""

_JSON = [("content-type", "application/json")]


def whole_number(query: Query, name: str) -> int | None:
    """The number that a parameter of the query says, None where it says nothing; raises `InvalidInput`."""
    text = query.get(name, [""])[-1]
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput(f"{name}: expected a whole number, got {text!r:.40}")
    return int(text)


def moment(query: Query, name: str) -> float:
    """The time that a parameter of the query says, in seconds since 1970; 0 where it says nothing. Raises
    `InvalidInput`."""
    text = query.get(name, [""])[-1]
    if not text:
        return 0.0
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is None:
            raise ValueError
        return given.timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name}: expected a time as 2026-01-02T03:04:05Z, got {text!r:.40}") from error


def json_reply(status: int, answer: Any) -> HttpReply:
    """The reply that tells it."""
    return HttpReply(status, msgspec.json.encode(answer), _JSON)
