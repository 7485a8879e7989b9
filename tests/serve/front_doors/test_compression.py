"""gzip and deflate, both ways: what is unpacked, within which bounds, and what a client's wishes mean."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest

from model_store.errors import InvalidInput, PayloadTooLarge, Unsupported
from serve.front_doors.compression import compressed, inflated, preferred_encoding

TEXT = b"onegate " * 20_000
JSON = [("content-type", "application/json")]


def raw_deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    return stream.compress(content) + stream.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "x-gzip"),
        (gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (TEXT, "identity"),
        (TEXT, ""),
    ],
    ids=["gzip", "x-gzip", "two members", "deflate", "deflate without header", "identity", "empty"],
)
async def test_a_body_is_unpacked(body: bytes, encoding: str) -> None:
    assert await inflated(body, encoding, len(TEXT)) == TEXT


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_one_byte_more_than_may_be_is_too_large(pack: object) -> None:
    encoding = "gzip" if pack is gzip.compress else "deflate"
    with pytest.raises(PayloadTooLarge, match=r"^the body may have 159999 bytes when it is unpacked, got more$"):
        await inflated(pack(TEXT), encoding, len(TEXT) - 1)  # type: ignore[operator]


@pytest.mark.parametrize("cut", [5, 12, 100, -1])
async def test_a_body_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInput, match="cut off"):
        await inflated(gzip.compress(TEXT)[:cut], "gzip", 1_000_000)


async def test_what_goes_on_behind_its_end_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^the deflate body goes on behind its end$"):
        await inflated(zlib.compress(TEXT) + b"x", "deflate", 1_000_000)
    with pytest.raises(InvalidInput, match=r"^the body is not gzip: "):
        await inflated(gzip.compress(TEXT) + b"rubbish", "gzip", 1_000_000)


async def test_nothing_is_no_gzip() -> None:
    with pytest.raises(InvalidInput, match="cut off"):
        await inflated(b"", "gzip", 1_000_000)


async def test_other_encodings_are_unsupported_and_told_what_is_not() -> None:
    with pytest.raises(Unsupported) as refused:
        await inflated(TEXT, "br", 1_000_000)
    assert refused.value.details == {"accept_encoding": "gzip, deflate"}


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.2, deflate;q=0.8", "deflate"),
        ("GZIP; Q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("identity", None),
        ("gzip;q=0.3, identity;q=0.9", None),
        ("br, zstd", None),
        ("gzip;q=nan", None),
        ("gzip;q=?", None),
        (";,;q", None),
        ("", None),
    ],
)
def test_the_encoding_that_a_client_likes_best_is_taken(accepted: str, encoding: str | None) -> None:
    assert preferred_encoding(accepted) == encoding


@pytest.mark.parametrize("size", [1024, 64 * 1024, len(TEXT)])
async def test_a_reply_is_packed(size: int) -> None:
    body, encoding = await compressed(TEXT[:size], JSON, "gzip")
    assert encoding == "gzip"
    assert gzip.decompress(body) == TEXT[:size]


@pytest.mark.parametrize(
    ("body", "headers", "accepted"),
    [
        (TEXT[:1023], JSON, "gzip"),
        (TEXT, JSON, None),
        (TEXT, JSON, "br"),
        (TEXT, [("Content-Type", "image/png")], "gzip"),
        (TEXT, [*JSON, ("content-encoding", "br")], "gzip"),
        (TEXT, [*JSON, ("Cache-Control", "no-transform")], "gzip"),
    ],
    ids=["small", "not asked", "unknown", "a picture", "encoded already", "not to be changed"],
)
async def test_a_reply_stays_as_it_is(body: bytes, headers: list[tuple[str, str]], accepted: str | None) -> None:
    assert await compressed(body, headers, accepted) == (body, None)


async def test_a_reply_that_would_not_get_smaller_stays_as_it_is() -> None:
    noise = np.random.default_rng(1).bytes(5000)
    assert await compressed(noise, JSON, "gzip") == (noise, None)
