"""What an HTTP dialect is: the paths it claims, `decode`, `encode`, `encode_error`.

Dialects know no socket, hold no server, and do not import each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec

from model_store.errors import OnegateError, Overloaded
from serve.access.callers import Caller
from serve.asking import Asked
from serve.errors import status_of
from serve.inference import Answer, Query
from serve.request_record import RequestRecord


class Headers(Protocol):
    """Headers by lower-case name."""

    def get(self, name: str) -> str | None:
        """The header, or None."""

    def items(self) -> Iterable[tuple[str, str]]:
        """All headers."""


_NO_HEADERS: Headers = {}


class HttpRequest(msgspec.Struct):
    """A whole request as a front door hands it over; `header` looks a header up by lower-case name.

    `path` is percent-decoded, `query` is what follows the question mark, as it came. `content` is the body where it was
    received. `caller` is set where calls need credentials.
    """

    method: str
    path: str
    content: bytes | memoryview
    header: Callable[[str], str | None]
    headers: Headers = _NO_HEADERS
    query: str = ""
    caller: Caller | None = None
    received_ns: int = 0
    """When it was whole, of `time.perf_counter_ns()`."""
    asked: Asked | None = None
    """Its id; set by the front door that answers it, as the next."""
    record: RequestRecord | None = None
    """Of one for inference."""

    @property
    def body(self) -> bytes:
        """The content as `bytes`; copied, once, where it is not."""
        if not isinstance(self.content, bytes):
            self.content = bytes(self.content)
        return self.content

    def parameters(self) -> dict[str, str]:
        """The query's parameters; of one that comes twice, the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


class HttpReply(msgspec.Struct):
    """A whole reply for a front door to write; `tail` follows `body`, and is sent from where it lies."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = []
    tail: Sequence[bytes | memoryview] = ()

    @property
    def size(self) -> int:
        """Bytes of body and tail."""
        return len(self.body) + sum(map(len, self.tail)) if self.tail else len(self.body)


class NoSuchRoute(OnegateError):
    """The path, or the method on it, is none of the dialect's; `status` is 404 or 405."""

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message, status=status)
        self.status = status


def retry_after(error: OnegateError) -> list[tuple[str, str]]:
    """The header that tells a refused client in how many whole seconds to come again, at least 1: for `Overloaded`,
    and for any error whose details have `retry_after_s`; else no header (RFC 9110, section 10.2.3)."""
    seconds = error.details.get("retry_after_s", 1 if isinstance(error, Overloaded) else None)
    return [] if seconds is None else [("retry-after", str(max(1, math.ceil(seconds))))]


def http_status(error: OnegateError) -> int:
    """The status of an error's kind, or the one that a missing route has of its own."""
    return error.status if isinstance(error, NoSuchRoute) else status_of(error).http


def own_error(error: OnegateError) -> HttpReply:
    """`{"error": text, "kind": name}`: an error in this project's own protocols."""
    body = msgspec.json.encode({"error": error.message, "kind": type(error).__name__})
    return HttpReply(http_status(error), body, [("content-type", "application/json"), *retry_after(error)])


ANY_SEGMENT = "*"
"""Claims what no other dialect claims."""


class HttpDialect(Protocol):
    """One protocol over HTTP. It may have `tensors_begin(request) -> int`: where in the body of a request, of which the
    head is there, tensors begin that are viewed and not read; 0 where none do."""

    name: str
    """Of its family, as metrics and traces have it: `open_inference`."""
    segments: tuple[str, ...]
    """The first path segments that it claims, as `v2`."""

    def decode(self, request: HttpRequest) -> Query:
        """The query in `request`; raises `NoSuchRoute` or `InvalidInput`."""

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The reply that carries `answer`."""

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """The reply that carries `error` in the protocol's own form."""
