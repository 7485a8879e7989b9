"""Bodies of requests, read within bounds of size."""

from __future__ import annotations

from typing import Any

from model_store.errors import DeadlineExceeded, InvalidInput, PayloadTooLarge
from serve.front_doors.compression import inflated


class BodyTimeout(DeadlineExceeded):
    """The client took too long to send the body."""


async def read_body(scope: Any, protocol: Any, max_bytes: int) -> bytes:
    """The body of an RSGI request, without its content encoding.

    Raises `PayloadTooLarge` before more than `max_bytes` are held, `InvalidInput` for a length that is no number, and
    what `inflated` raises.
    """
    headers = scope.headers
    length = headers.get("content-length")
    if length is not None:
        # The server underneath holds the client to this length.
        if not length.isdecimal():
            raise InvalidInput(f"content-length must be a number, got {length[:40]!r}")
        if int(length) > max_bytes:
            raise _too_large(max_bytes, f"{length} bytes")
        body: bytes = await protocol()
    elif scope.method in ("GET", "HEAD"):
        return b""
    else:
        body = await _chunks(protocol, max_bytes)
    encoding = headers.get("content-encoding")
    return body if encoding is None else await inflated(body, encoding, max_bytes)


async def _chunks(protocol: Any, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in protocol:
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes, "more")
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int, got: str) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have {max_bytes} bytes, got {got}", max_body_bytes=max_bytes)
