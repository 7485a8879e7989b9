"""Calls of the model servers' `/models`, by hand."""

from __future__ import annotations

from serve.dialects.base import HttpRequest

JSON = "application/json"


def request(method: str, path: str, body: bytes = b"", content_type: str = "", **headers: str) -> HttpRequest:
    path, _, query = path.partition("?")
    named = {"content-type": content_type} if content_type else {}
    return HttpRequest(method, path, body, (named | headers).get, named | headers, query)
