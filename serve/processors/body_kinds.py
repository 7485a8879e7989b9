"""What a body is: told by its content type, else by its first bytes."""

from __future__ import annotations

from enum import Enum


class BodyKind(Enum):
    """What can be in a body. `OTHER` is none of the rest."""

    JSON = "JSON"
    CSV = "CSV"
    NPY = ".npy"
    NPZ = ".npz"
    PICTURE = "a picture"
    TEXT = "text"
    OTHER = "bytes of another kind"


_TYPES = {
    "application/json": BodyKind.JSON,
    "text/json": BodyKind.JSON,
    "text/csv": BodyKind.CSV,
    "application/csv": BodyKind.CSV,
    "application/x-npy": BodyKind.NPY,
    "application/x-npz": BodyKind.NPZ,
    "text/plain": BodyKind.TEXT,
}

_UNTOLD = frozenset(("", "application/x-www-form-urlencoded"))
"""curl gives the second to all that `-d` and `--data-binary` send."""

_BEGINNINGS = (
    (b"\x93NUMPY", BodyKind.NPY),
    (b"PK\x03\x04", BodyKind.NPZ),
    (b"\xff\xd8\xff", BodyKind.PICTURE),
    (b"\x89PNG\r\n\x1a\n", BodyKind.PICTURE),
    (b"GIF87a", BodyKind.PICTURE),
    (b"GIF89a", BodyKind.PICTURE),
    (b"{", BodyKind.JSON),
    (b"[", BodyKind.JSON),
)
_ROOM = 64
"""Bytes that are looked at: JSON may begin with blanks, though hardly with more."""


def media_type(content_type: str) -> str:
    """`type/subtype` in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def kind_of(content_type: str, body: bytes) -> BodyKind:
    """What `body` is. Without a content type that says it, text with a comma or several lines is CSV, else JSON."""
    media = media_type(content_type)
    if media in _TYPES:
        return _TYPES[media]
    if media.endswith("+json"):
        return BodyKind.JSON
    if media.startswith("image/"):
        return BodyKind.PICTURE
    if (kind := _by_beginning(body)) is not None:
        return kind
    if media in _UNTOLD:
        return _of_untold_text(body)
    return BodyKind.OTHER


def _by_beginning(body: bytes) -> BodyKind | None:
    start = body[:_ROOM]
    if (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or (start[:2] == b"BM" and start[6:10] == bytes(4)):
        return BodyKind.PICTURE
    start = start.lstrip(b" \t\r\n") if start[:1].isspace() else start
    return next((kind for beginning, kind in _BEGINNINGS if start.startswith(beginning)), None)


def _of_untold_text(body: bytes) -> BodyKind:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return BodyKind.OTHER
    return BodyKind.CSV if b"," in body or b"\n" in body.strip() else BodyKind.JSON
