"""Bodies of HTML forms, as browsers and `curl -F` send them, to named parts.

RFC 7578 (multipart/form-data) and the URL standard's application/x-www-form-urlencoded. The parts of a multipart body
are cut out as bytes: Python's email parser, which reads their headers here, goes line by line, and a picture has no
lines.
"""

from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from urllib.parse import parse_qsl

from model_store.errors import InvalidInput

MAX_PARTS = 1000


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
    """None for what is no list of `name=value`: curl gives this type to all that `-d` and `--data-binary` send."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="surrogateescape",
            max_num_fields=MAX_PARTS,
        )
    except ValueError:
        return None
    raw = [(name.encode(errors="surrogateescape"), value.encode(errors="surrogateescape")) for name, value in pairs]
    return {name.decode(errors="replace"): value for name, value in raw}


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
    described = HeaderParser().parsestr(headers.decode(errors="replace")) if found else Message()
    name = described.get_param("name", header="content-disposition")
    if name is None:
        raise InvalidInput(f"a part of the form has no name: {headers[:60]!r}")
    return collapse_rfc2231_value(name), content
