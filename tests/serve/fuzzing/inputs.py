"""What is sent to an endpoint, and its form as plain bytes, in which byte-level fuzzers change it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_BETWEEN_MESSAGES = b"\n\xff\xfe\xfd\n"
PIECES = (1 << 20, 4096, 61, 7, 1)
"""Bytes that come at once."""
LONGEST_BYTEWISE = 4096
"""Beyond it, pieces are not smaller than a hundredth of what is sent."""
_SENDABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class HttpInput:
    """A request as a front door gets it from the server: the path percent-decoded, the query as it came, header names
    in lower case."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def to_bytes(self) -> bytes:
        target = quote(self.path, safe="/:@!$&'()*+,;=-._~") + (f"?{self.query}" if self.query else "")
        lines = [f"{self.method} {target}", *(f"{name}: {value}" for name, value in self.headers), ""]
        return "\n".join(lines).encode(errors="replace") + b"\n" + self.body

    @staticmethod
    def from_bytes(data: bytes) -> HttpInput:
        """The request in `data`, which may be anything. What the server underneath never hands on is left out."""
        head, _, body = data.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, target = first.partition(b" ")
        path, _, query = target.partition(b"?")
        headers = []
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        return HttpInput(
            method.decode("latin-1"), unquote_to_bytes(path).decode(errors="replace"), query.decode(errors="replace"),
            tuple(headers), body,
        ).as_served()  # fmt: skip

    def as_served(self) -> HttpInput:
        """As connections pass it on: header values are Latin-1 without control characters, of a name that comes twice
        one stays, a path that is not empty and no `*` begins with a slash, and text is Unicode without surrogates."""
        kept = {
            name.lower(): value for name, value in self.headers if _TOKEN.fullmatch(name) and _SENDABLE.fullmatch(value)
        }
        kept.pop("content-length", None)
        method = self.method if _TOKEN.fullmatch(self.method) else "POST"
        path, query = (text.encode(errors="replace").decode() for text in (self.path, self.query))
        if path not in ("", "*") and not path.startswith("/"):
            path = f"/{path}"
        return HttpInput(method, path, query, tuple(kept.items()), self.body)


@dataclass(frozen=True)
class GrpcInput:
    """A call: `package.Service/Method`, and the serialised messages, of which only streams take several."""

    method: str
    messages: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """The messages."""
        return _BETWEEN_MESSAGES.join(self.messages)

    @staticmethod
    def from_bytes(method: str, data: bytes) -> GrpcInput:
        """The call with the messages in `data`, which may be anything."""
        return GrpcInput(method, tuple(data.split(_BETWEEN_MESSAGES)))


@dataclass(frozen=True)
class WireInput:
    """What is sent, `piece` bytes at a time; then the client leaves."""

    data: bytes
    piece: int

    def pieces(self) -> Iterable[bytes]:
        size = max(self.piece, len(self.data) // 100 if len(self.data) > LONGEST_BYTEWISE else 1)
        return (self.data[start : start + size] for start in range(0, len(self.data), size))

    @staticmethod
    def from_bytes(data: bytes) -> WireInput:
        return WireInput(data[1:], PIECES[data[0] % len(PIECES)] if data else 1)


@dataclass(frozen=True)
class Http2Input(WireInput):
    """The same, to the port of gRPC."""


Input = HttpInput | GrpcInput | WireInput
