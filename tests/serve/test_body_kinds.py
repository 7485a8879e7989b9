"""What a body is: by its content type, else by its first bytes."""

from __future__ import annotations

import pytest

from serve.processors.body_kinds import BodyKind, kind_of

CURL = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\x93NUMPY\x01", BodyKind.NPY),
        (b"PK\x03\x04", BodyKind.NPZ),
        (b"\xff\xd8\xff\xe0", BodyKind.PICTURE),
        (b"\x89PNG\r\n\x1a\n", BodyKind.PICTURE),
        (b"GIF87a", BodyKind.PICTURE),
        (b"GIF89a", BodyKind.PICTURE),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", BodyKind.PICTURE),
        (b"RIFF\x10\x00\x00\x00WAVE\xff", BodyKind.OTHER),
        (b"\x00\x00\x00\x00\x00\x00\x00\x00WEBP\xff", BodyKind.OTHER),
        (b"BM\x9a\x10\x00\x00\x00\x00\x00\x00\x36", BodyKind.PICTURE),
        (b"BMW,1,2,3,4", BodyKind.CSV),
        (b"1234\x00\x00\x00\x00\x00\x00", BodyKind.JSON),
        (b"{}", BodyKind.JSON),
        (b" \r\n\t[1]", BodyKind.JSON),
        (b"1.5\n", BodyKind.JSON),
        (b"1,2", BodyKind.CSV),
        (b"1\n2\n", BodyKind.CSV),
        ("größe,1".encode(), BodyKind.CSV),
        (b"a,\xff", BodyKind.OTHER),
        (b"", BodyKind.JSON),
    ],
)
@pytest.mark.parametrize("content_type", ["", CURL])
def test_without_a_type_the_first_bytes_tell(content_type: str, body: bytes, kind: BodyKind) -> None:
    assert kind_of(content_type, body) is kind


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json; charset=utf-8", BodyKind.JSON),
        ("application/ld+json", BodyKind.JSON),
        ("Text/CSV", BodyKind.CSV),
        ("image/tiff", BodyKind.PICTURE),
        ("text/plain", BodyKind.TEXT),
        ("application/pdf", BodyKind.OTHER),
    ],
)
def test_a_content_type_is_believed(content_type: str, kind: BodyKind) -> None:
    assert kind_of(content_type, b"x") is kind
