"""The console's files over HTTP: what `make console` built, read once.

They are the same for everybody and hold no secret, so that nobody needs a key for them. The page asks `/api` for all
that it shows.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.compression import COMPRESSED_FROM_BYTES, preferred_encoding

BASE = "/console/"
"""Where the files are, but for the page itself, which is `/`."""

PAGE = "index.html"

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
"""Endings of files that are answered; others in the folder are for the build."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Nothing of another origin, nothing written into the page itself, and no page around it
(https://www.w3.org/TR/CSP3/)."""

_ALWAYS = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("vary", "accept-encoding"),
]

_ASKED_EACH_TIME = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"
"""For files whose names hold a digest of their content."""


class _File(msgspec.Struct, frozen=True):
    body: bytes
    packed: bytes | None
    """In gzip, where that is smaller."""
    content_type: str
    cache_control: str
    tag: str

    def reply(self, request: HttpRequest) -> HttpReply:
        packed = self.packed is not None and preferred_encoding(request.header("accept-encoding") or "") == "gzip"
        # What is packed is another representation, and has a tag of its own (RFC 9110, section 8.8.3.3).
        tag = f'"{self.tag}{"-gzip" if packed else ""}"'
        headers = [*_ALWAYS, ("cache-control", self.cache_control), ("etag", tag)]
        if _matches(request.header("if-none-match"), tag):
            return HttpReply(304, b"", headers)
        headers.append(("content-type", self.content_type))
        if packed:
            assert self.packed is not None
            return HttpReply(200, self.packed, [*headers, ("content-encoding", "gzip")])
        return HttpReply(200, self.body, headers)


class ConsoleFiles:
    """Answers for `/` and what is under `/console/`, with the files of `folder`; with none where that is not there."""

    def __init__(self, folder: Traversable | None = None) -> None:
        self._files: Mapping[str, _File] = _read(folder or files("serve.console") / "dist")

    def claims(self, request: HttpRequest) -> bool:
        """Whether the request is for the console. What else may be asked of `/` is for others."""
        if request.path == "/":
            return request.method in ("GET", "HEAD")
        return request.path.startswith(BASE)

    def answer(self, request: HttpRequest) -> HttpReply:
        """The file; 404 where there is none, 405 where it is not to be read."""
        if request.method not in ("GET", "HEAD"):
            return HttpReply(405, b"", [*_ALWAYS, ("allow", "GET, HEAD")])
        file = self._files.get(request.path[len(BASE) :] if request.path != "/" else PAGE)
        return HttpReply(404, b"", _ALWAYS) if file is None else file.reply(request)


def _read(folder: Traversable) -> dict[str, _File]:
    found: dict[str, _File] = {}
    if not folder.is_dir():
        # A controller does not stay away for want of a page.
        return found
    for path, entry in _walked(folder, ""):
        content_type = _TYPES.get(path.rpartition(".")[2])
        if content_type is None:
            continue
        body = entry.read_bytes()
        packed = gzip.compress(body, 9, mtime=0) if len(body) >= COMPRESSED_FROM_BYTES else None
        if packed is not None and len(packed) >= len(body):
            packed = None
        cache_control = _FOR_EVER if path.startswith("assets/") else _ASKED_EACH_TIME
        found[path] = _File(body, packed, content_type, cache_control, hashlib.sha256(body).hexdigest()[:32])
    return found


def _walked(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    listed: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            listed += _walked(entry, f"{prefix}{entry.name}/")
        else:
            listed.append((prefix + entry.name, entry))
    return listed


def _matches(header: str | None, tag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in header.split(","))
