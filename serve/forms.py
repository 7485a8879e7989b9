"""Bodies of HTML forms, as browsers and `curl -F` send them, to named parts.

RFC 7578 (multipart/form-data) and the URL standard's application/x-www-form-urlencoded. Python's own readers of both
can be made to hold the event loop for half a minute by one body; here no body takes more than a second or so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import unquote

import numpy as np

from model_store.errors import InvalidInput
from serve.processors.body_kinds import media_type

MAX_PARTS = 1000
LARGEST_HEADERS_BYTES = 4096
"""Of one part."""

_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(rb"^content-type:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';\s*([^=;\s]+)=(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
_PARAMETERS = {b"name": "name", b"name*": "name", b"filename": "filename", b"filename*": "filename"}
_ESCAPED = re.compile(rb"\\(.)")
_PERCENT = ord("%")
_HEX_DIGITS = np.full(256, 255, np.uint8)
"""Byte of a hexadecimal digit -> its value; 255 for any other."""
_HEX_DIGITS[list(b"0123456789ABCDEF")] = range(16)
_HEX_DIGITS[list(b"abcdef")] = range(10, 16)


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a form by name, the last of each name, and the content types of those that are files."""

    fields: dict[str, bytes]
    types: dict[str, str] = field(default_factory=dict)


def read_form(content_type: str, body: bytes) -> Form | None:
    """The form in a body; None for a body that is none.

    Raises `InvalidInput` for a multipart body that is malformed.
    """
    kind = media_type(content_type)
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    if kind == "application/x-www-form-urlencoded":
        return _urlencoded(body)
    return None


def _urlencoded(body: bytes) -> Form | None:
    """None for what is no list of `name=value`: curl gives this type to all that `-d` and `--data-binary` send, JSON
    with base64 in it too, which ends in `=`."""
    if not body.isascii() or body.lstrip()[:1] in (b"{", b"[") or body.count(b"&") >= MAX_PARTS:
        return None
    pairs = [pair.partition(b"=") for pair in body.split(b"&")]
    if not all(equals for _, equals, _ in pairs):
        return None
    return Form({_unquoted(name).decode(errors="replace"): _unquoted(value) for name, _, value in pairs})


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


def _multipart(content_type: str, body: bytes) -> Form:
    # A delimiter belongs to the line break before it; the first one may stand at the very beginning.
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + _boundary(content_type), MAX_PARTS + 2)
    if not parts:
        raise InvalidInput("the body is no form: the boundary of its content type is not in it")
    if len(parts) > MAX_PARTS + 1:
        raise InvalidInput(f"a form has at most {MAX_PARTS} parts")
    *parts, end = parts
    if not end.startswith(b"--"):
        raise InvalidInput("the form ends before its last boundary")
    read = {name: (content, kind) for name, content, kind in map(_part, parts)}
    types = {name: kind for name, (_, kind) in read.items() if kind is not None}
    return Form({name: content for name, (content, _) in read.items()}, types)


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if not boundary or not boundary.isascii():
        raise InvalidInput("multipart/form-data needs a boundary in its content type")
    return boundary.encode()


def _part(part: bytes) -> tuple[str, bytes, str | None]:
    """Name and content of what stands between two boundaries, and the content type of a file."""
    # The first line break ends the boundary's own line.
    headers, found, content = part.partition(b"\r\n")[2].partition(b"\r\n\r\n")
    if len(headers) > LARGEST_HEADERS_BYTES and found:
        raise InvalidInput(f"a part of the form has {len(headers)} bytes of headers; at most {LARGEST_HEADERS_BYTES}")
    parameters = _parameters(headers) if found else {}
    if "name" not in parameters:
        raise InvalidInput(f"a part of the form has no name: {headers[:60]!r}")
    # MXNet Model Server and TorchServe look at the type of files only.
    typed = _TYPE.search(headers) if "filename" in parameters else None
    return parameters["name"], content, typed[1].decode(errors="replace").strip() if typed else None


def _parameters(headers: bytes) -> dict[str, str]:
    """`name` and `filename` of the part's Content-Disposition: in quotes, bare, or as `name*=utf-8''..` of RFC 5987."""
    disposition = _DISPOSITION.search(headers)
    parameters: dict[str, str] = {}
    for key, quoted, bare in _PARAMETER.findall(disposition[1]) if disposition else ():
        name = _PARAMETERS.get(key.lower())
        if name is None or name in parameters:
            continue
        text = _ESCAPED.sub(rb"\1", quoted) or bare.strip()
        parameters[name] = unquote(text.rpartition(b"'")[2]) if key.endswith(b"*") else text.decode(errors="replace")
    return parameters
