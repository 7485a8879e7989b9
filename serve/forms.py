"""Bodies of HTML forms, as browsers and `curl -F` send them, to named parts.

RFC 7578 (multipart/form-data) and the URL standard's application/x-www-form-urlencoded. Python's own readers of both
can be made to hold the event loop for half a minute by one body; here no body takes more than a second or so.
"""

from __future__ import annotations

import re
from email.message import Message
from urllib.parse import unquote

import numpy as np

from model_store.errors import InvalidInput

MAX_PARTS = 1000
LARGEST_HEADERS_BYTES = 4096
"""Of one part."""

_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';\s*([^=;\s]+)=(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
_ESCAPED = re.compile(rb"\\(.)")
_PERCENT = ord("%")
_HEX_DIGITS = np.full(256, 255, np.uint8)
"""Byte of a hexadecimal digit -> its value; 255 for any other."""
_HEX_DIGITS[list(b"0123456789ABCDEF")] = range(16)
_HEX_DIGITS[list(b"abcdef")] = range(10, 16)


def form_fields(content_type: str, body: bytes) -> dict[str, bytes] | None:
    """The parts of a form by name, the last of each name; None for a body that is no form.

    Raises `InvalidInput` for a multipart body that is malformed.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    return None


def _urlencoded(body: bytes) -> dict[str, bytes] | None:
    """None for what is no list of `name=value`: curl gives this type to all that `-d` and `--data-binary` send, JSON
    with base64 in it too, which ends in `=`."""
    if not body.isascii() or body.lstrip()[:1] in (b"{", b"[") or body.count(b"&") >= MAX_PARTS:
        return None
    pairs = [pair.partition(b"=") for pair in body.split(b"&")]
    if not all(equals for _, equals, _ in pairs):
        return None
    return {_unquoted(name).decode(errors="replace"): _unquoted(value) for name, _, value in pairs}


def _unquoted(text: bytes) -> bytes:
    """With spaces for `+` and bytes for `%XX`; a `%` before anything else stays."""
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    values = np.frombuffer(bytearray(text), np.uint8)  # a copy, to be written to
    high, low = _HEX_DIGITS[values[1:-1]], _HEX_DIGITS[values[2:]]
    escapes = (values[:-2] == _PERCENT) & (high < 16) & (low < 16)
    values[:-2][escapes] = high[escapes] * 16 + low[escapes]
    kept = np.ones(len(values), np.bool_)
    kept[1:-1] &= ~escapes
    kept[2:] &= ~escapes
    return values[kept].tobytes()


def _multipart(content_type: str, body: bytes) -> dict[str, bytes]:
    # A delimiter belongs to the line break before it; the first one may stand at the very beginning.
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + _boundary(content_type), MAX_PARTS + 2)
    if not parts:
        raise InvalidInput("the body is no form: the boundary of its content type is not in it")
    if len(parts) > MAX_PARTS + 1:
        raise InvalidInput(f"a form has at most {MAX_PARTS} parts")
    *parts, end = parts
    if not end.startswith(b"--"):
        raise InvalidInput("the form ends before its last boundary")
    return dict(map(_part, parts))


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if not boundary or not boundary.isascii():
        raise InvalidInput("multipart/form-data needs a boundary in its content type")
    return boundary.encode()


def _part(part: bytes) -> tuple[str, bytes]:
    """Name and content of what stands between two boundaries."""
    # The first line break ends the boundary's own line.
    headers, found, content = part.partition(b"\r\n")[2].partition(b"\r\n\r\n")
    if len(headers) > LARGEST_HEADERS_BYTES and found:
        raise InvalidInput(f"a part of the form has {len(headers)} bytes of headers; at most {LARGEST_HEADERS_BYTES}")
    name = _name(headers) if found else None
    if name is None:
        raise InvalidInput(f"a part of the form has no name: {headers[:60]!r}")
    return name, content


def _name(headers: bytes) -> str | None:
    """`name` of the part's Content-Disposition, in quotes, bare, or as `name*=utf-8''..` of RFC 5987."""
    disposition = _DISPOSITION.search(headers)
    for parameter in _PARAMETER.finditer(disposition[1]) if disposition else ():
        key, quoted, bare = parameter.groups()
        if key.lower() == b"name":
            text: bytes = bare.strip() if quoted is None else _ESCAPED.sub(rb"\1", quoted)
            return text.decode(errors="replace")
        if key.lower() == b"name*" and bare:
            return unquote(bare.strip().rpartition(b"'")[2])
    return None
