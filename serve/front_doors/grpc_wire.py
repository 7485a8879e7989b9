"""What stands around the messages of a gRPC call: a prefix before each, headers, and the status behind them.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from model_store.errors import InvalidInput
from serve.dialects.grpc_base import number_of
from serve.front_doors.compression import ENCODINGS
from serve.front_doors.http2_headers import header_block

PREFIX = struct.Struct(">BI")
"""Whether the message is compressed, and its length."""

IDENTITY = "identity"
ACCEPTED_ENCODINGS = ",".join((IDENTITY, *ENCODINGS))

_CONTENT_TYPE = re.compile(rb"application/grpc(?:[+;].*)?", re.IGNORECASE | re.DOTALL)

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_ENCODED = re.compile(rb"[^\x20-\x24\x26-\x7e]|\A | \Z")
"""All but printable ASCII, the percent sign, and spaces at the ends, which HTTP/2 forbids (RFC 9113, section 8.2.1)."""


class Refusal(msgspec.Struct, frozen=True):
    """How a call fails: the name of the code, a text, and metadata beside them."""

    code: str
    text: str
    metadata: tuple[tuple[str, str], ...] = ()


def is_grpc(content_type: bytes) -> bool:
    """Whether a request's `Content-Type` is gRPC's; of what kind messages are, methods know."""
    return _CONTENT_TYPE.fullmatch(content_type) is not None


def timeout_s(value: bytes) -> float:
    """Seconds of a `grpc-timeout`; raises `InvalidInput` for what is none."""
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise InvalidInput(f"expected a grpc-timeout as 100m, got {value.decode('latin-1')!r:.40}")
    return int(found[1]) * _UNITS_S[found[2]]


def percent_encoded(text: str) -> str:
    """A text as `grpc-message` carries it."""
    return _ENCODED.sub(lambda found: b"%%%02X" % found[0][0], text.encode(errors="replace")).decode("ascii")


_HEAD = ((":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", ACCEPTED_ENCODINGS))

ANSWER_HEAD = header_block(_HEAD)
"""Before the first message."""


def ok_block(told: Iterable[tuple[str, str]]) -> bytes:
    """Behind the last one, with metadata."""
    return header_block([("grpc-status", "0"), *told])


STATUS_OK = ok_block(())


def status_block(refusal: Refusal, told: Iterable[tuple[str, str]] = (), *, headed: bool = False) -> bytes:
    """The header block that ends a call without success; of a call that is not `headed`, it is the only one. `told` is
    metadata beside the refusal's own."""
    status: Iterable[tuple[str, str]] = [
        ("grpc-status", str(number_of(refusal.code))),
        ("grpc-message", percent_encoded(refusal.text)),
        *refusal.metadata,
        *told,
    ]
    return header_block(status if headed else (*_HEAD, *status))


@lru_cache(maxsize=16)
def http_block(status: int) -> bytes:
    """The header block of an answer to what is no gRPC."""
    return header_block([(":status", str(status))])
