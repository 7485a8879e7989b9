"""JSON documents that carry their own digest, so that a flipped bit is found wherever it is.

A sealed document is a JSON object whose first key, `sha256`, is the digest of the same text without that line. It stays
text that people and other programs can read. What the documents mean is left to their own modules.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

SEALED_FORMAT = 2
"""A document that says this `format`, or a later one, has a seal; those before were written without."""

_SEAL = re.compile(rb'\{\n  "sha256": "([0-9a-f]{64})",\n')


def seal(document: msgspec.Struct) -> bytes:
    """The struct as indented JSON, sealed. A `format` of its own must be `SEALED_FORMAT`; one without gets it."""
    body = msgspec.json.format(msgspec.json.encode(document), indent=2).removeprefix(b"{\n")
    if "format" not in document.__struct_fields__:
        body = b'  "format": %d,\n' % SEALED_FORMAT + body
    return b'{\n  "sha256": "' + _digest(body) + b'",\n' + body


def is_sealed(data: bytes) -> bool:
    """Whether `data` begins with a seal that is right; raises `ValueError` for one that is not."""
    found = _SEAL.match(data)
    if found is None:
        return False
    if (actual := _digest(data[found.end() :])) != found[1]:
        raise ValueError(f"expected sha256 {found[1].decode()}, got {actual.decode()}")
    return True


def check_format(sealed: bool, document_format: int, what: str) -> None:
    """Raises `ValueError` for a document whose seal was lost, or of a format that this release can't read."""
    if not 1 <= document_format <= SEALED_FORMAT:
        raise ValueError(f"{what} format {document_format}; this release reads 1 to {SEALED_FORMAT}")
    if sealed != (document_format == SEALED_FORMAT):
        raise ValueError(f"{what} format {document_format} {'with' if sealed else 'without'} a digest of its own")


def check_seal(data: bytes, what: str) -> None:
    """`is_sealed` and `check_format` of a document that need not know its `format`; raises `ValueError` as they do, and
    for what is no JSON object."""
    sealed = is_sealed(data)
    check_format(sealed, msgspec.json.decode(data, type=_Form).format, what)


class _Form(msgspec.Struct):
    format: int = 1


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(b"{\n" + body).hexdigest().encode()
