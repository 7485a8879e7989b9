"""gzip and deflate: bodies that come compressed, within a bound, and replies that clients want compressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable

from model_store.errors import InvalidInput, PayloadTooLarge, Unsupported
from serve.preferences import preferences

ENCODINGS = ("gzip", "deflate")
"""What is understood both ways (RFC 9110, section 8.4.1); of two that a client likes equally, the first is taken."""

COMPRESSED_FROM_BYTES = 1024
"""Smaller replies are sent as they are."""

THREAD_FROM_BYTES = 64 * 1024
"""Beyond this a body is packed or unpacked in a thread: a hop costs 0.1 ms, and level 1 takes 1 ms for 64 KiB."""

LEVEL = 1

_WBITS = {"gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15

_PACKED_TYPES = ("image/", "video/", "audio/", "application/zip", "application/gzip", "application/zstd")


async def inflated(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """`body` without the encodings that the header `Content-Encoding` lists.

    Never holds more than `max_bytes` of it, whatever the body claims. Raises `PayloadTooLarge` beyond them,
    `InvalidInput` for a body that is not of the encoding or is cut off, `Unsupported` for other encodings.
    """
    names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
    if len(names) > 1 or any(_canonical(name) not in ENCODINGS for name in names):
        raise Unsupported(
            f"a body may be encoded as {' or '.join(ENCODINGS)}, got {encoding[:40]!r}",
            accept_encoding=", ".join(ENCODINGS),
        )
    if not names:
        return body
    inflater = _Inflater(body, _canonical(names[0]), max_bytes)
    if not inflater.read(THREAD_FROM_BYTES):
        await asyncio.to_thread(inflater.read, max_bytes + 1)
    return inflater.content()


def _canonical(name: str) -> str:
    return "gzip" if name == "x-gzip" else name


class _Inflater:
    """Unpacks a body step by step, so that a small one never leaves the loop and a large one does not hold it up."""

    def __init__(self, body: bytes, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding
        self._rest = body
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._stream = zlib.decompressobj(self._wbits(body))

    def _wbits(self, body: bytes) -> int:
        # Some clients send deflate without the zlib header that RFC 9110 asks for.
        if self._encoding == "deflate" and (len(body) < 2 or body[0] & 15 != 8 or (body[0] << 8 | body[1]) % 31):
            return _RAW_DEFLATE
        return _WBITS[self._encoding]

    def read(self, room: int) -> bool:
        """Unpacks `room` bytes more, and not more than may be; whether that was the end."""
        while room > 0:
            try:
                part = self._stream.decompress(self._rest, min(room, self._max_bytes + 1 - self._size))
            except zlib.error as error:
                raise InvalidInput(f"the body is not {self._encoding}: {error}") from error
            self._rest = self._stream.unconsumed_tail
            self._parts.append(part)
            self._size += len(part)
            room -= len(part)
            if self._size > self._max_bytes:
                raise PayloadTooLarge(
                    f"the body may have {self._max_bytes} bytes when it is unpacked, got more",
                    max_body_bytes=self._max_bytes,
                )
            if self._stream.eof:
                if not self._next_member():
                    return True
            elif not part and not self._rest:
                raise InvalidInput(f"the {self._encoding} body is cut off")
        return False

    def _next_member(self) -> bool:
        self._rest = self._stream.unused_data
        if not self._rest:
            return False
        if self._encoding != "gzip":
            raise InvalidInput(f"the {self._encoding} body goes on behind its end")
        self._stream = zlib.decompressobj(_WBITS["gzip"])
        return True

    def content(self) -> bytes:
        """All that was unpacked."""
        return b"".join(self._parts)


async def compressed(body: bytes, headers: Iterable[tuple[str, str]], accepted: str | None) -> tuple[bytes, str | None]:
    """A reply's body as the client's `Accept-Encoding` wants it, and the encoding's name; None stands for as it was.

    As it was stay small bodies, those packed already, those whose `Cache-Control` says `no-transform` (RFC 9111,
    section 5.2.2.6), and those that do not get smaller.
    """
    encoding = preferred_encoding(accepted) if accepted and len(body) >= COMPRESSED_FROM_BYTES else None
    if encoding is None or _stays(headers):
        return body, None
    if len(body) < THREAD_FROM_BYTES:
        packed = _packed(body, encoding)
    else:
        packed = await asyncio.to_thread(_packed, body, encoding)
    return (packed, encoding) if len(packed) < len(body) else (body, None)


def preferred_encoding(accepted: str) -> str | None:
    """The encoding that an `Accept-Encoding` likes best of those known here, None where it likes none better than the
    plain body (RFC 9110, section 12.5.3)."""
    weights = {_canonical(name): weight for name, weight in preferences(accepted).items()}
    others = weights.get("*", 0.0)
    known = {name: weights.get(name, others) for name in ENCODINGS}
    best = max(known, key=known.__getitem__)
    return best if known[best] > 0 and known[best] >= weights.get("identity", 0.0) else None


def _stays(headers: Iterable[tuple[str, str]]) -> bool:
    for name, value in headers:
        name = name.lower()
        if (
            name == "content-encoding"
            or (name == "content-type" and value.lower().startswith(_PACKED_TYPES))
            or (name == "cache-control" and "no-transform" in value)
        ):
            return True
    return False


def _packed(body: bytes, encoding: str) -> bytes:
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _WBITS[encoding])
    return stream.compress(body) + stream.flush()
