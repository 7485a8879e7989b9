"""What an HTTP dialect is: the path it claims, `decode`, `encode`, `encode_error`.

Dialects know no socket, hold no server, and do not import each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from model_store.errors import OnegateError
from serve.inference import Answer, Query


class Headers(Protocol):
    """Headers by lower-case name."""

    def get(self, name: str) -> str | None:
        """The header, or None."""

    def items(self) -> Iterable[tuple[str, str]]:
        """All headers."""


_NO_HEADERS: Headers = {}


@dataclass(slots=True)
class HttpRequest:
    """A whole request as a front door hands it over; `header` looks a header up by lower-case name."""

    method: str
    path: str
    body: bytes
    header: Callable[[str], str | None]
    headers: Headers = field(default_factory=lambda: _NO_HEADERS)


@dataclass(slots=True)
class HttpReply:
    """A whole reply for a front door to write."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


class NoSuchRoute(OnegateError):
    """The path, or the method on it, is none of the dialect's; `status` is 404 or 405."""

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message, status=status)
        self.status = status


class HttpDialect(Protocol):
    """One protocol over HTTP."""

    segment: str
    """The first path segment that it claims, as `v2`."""

    def decode(self, request: HttpRequest) -> Query:
        """The query in `request`; raises `NoSuchRoute` or `InvalidInput`."""

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The reply that carries `answer`."""

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """The reply that carries `error` in the protocol's own form."""
