"""What stands around a body in HTTP/1.1: a request's target, a reply's first line and headers (RFC 9112)."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote

from model_store.errors import InternalError
from serve.dialects.base import HttpReply

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LONGEST_KEPT = 256
"""Characters of a header line that is kept to be written again."""

_BODILESS = frozenset((204, 304))
"""Statuses whose replies end with their headers (RFC 9110, section 6.4.1)."""

_START_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus} | {
    413: "HTTP/1.1 413 Content Too Large\r\n",
    422: "HTTP/1.1 422 Unprocessable Content\r\n",
}
"""Python's phrases are those of RFC 7231 still."""


def read_target(target: bytes) -> tuple[str, str]:
    """Path, percent-decoded, and query, as it came, of a request's target in any of its forms (RFC 9112, section 3.2).

    What is no UTF-8 becomes U+FFFD, as no name of a model has it.
    """
    path, _, query = target.partition(b"?")
    if not path.startswith(b"/"):
        path = _without_authority(path)
    text = path.decode(errors="replace")
    return unquote(text) if b"%" in path else text, query.decode(errors="replace")


kept_target = lru_cache(maxsize=1024)(read_target)
"""As `read_target`, for short ones, which come again."""


@lru_cache(maxsize=512)
def header_name(name: bytes) -> str:
    """A header's name in lower case."""
    return name.decode("latin-1").lower()


@lru_cache(maxsize=64)
def method_name(method: bytes) -> str:
    """A request's method as text."""
    return method.decode("latin-1")


def _without_authority(path: bytes) -> bytes:
    scheme, found, rest = path.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        return path
    return b"/" + rest.partition(b"/")[2]


def head_of(reply: HttpReply, size: int, date: str, connection: str) -> bytes:
    """First line and headers of a reply with a body of `size` bytes.

    `date` and `connection` are whole lines, the latter empty where nothing is to be said. Raises `InternalError` for a
    status or header that can't be sent.
    """
    status = reply.status
    start = _START_LINES.get(status)
    if start is None:
        if not 200 <= status <= 599:
            raise InternalError(f"a reply has the status {status}, which can't be sent")
        start = f"HTTP/1.1 {status} \r\n"
    lines = [start, date, connection]
    for header in reply.headers:
        lines.append(_line(header) if len(header[1]) < _LONGEST_KEPT else _checked_line(header))
    lines.append("\r\n" if status in _BODILESS else f"content-length: {size}\r\n\r\n")
    return "".join(lines).encode("latin-1")


def has_body(status: int, method: str) -> bool:
    """Whether a reply's body follows its headers."""
    return status not in _BODILESS and method != "HEAD"


def _checked_line(header: tuple[str, str]) -> str:
    name, value = header
    if name in ("connection", "content-length", "transfer-encoding", "date"):
        # The connection's own to say.
        return ""
    if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
        raise InternalError(f"a reply has the header {name!r:.80}: {value!r:.80}, which can't be sent")
    return f"{name}: {value}\r\n"


# Most replies have the same few.
_line = lru_cache(maxsize=1024)(_checked_line)
