"""Header blocks as bytes: those of answers written, those of requests read and checked."""

from __future__ import annotations

import hpack
import pytest

from serve.front_doors.http2_frames import Code, ConnectionFault
from serve.front_doors.http2_headers import MAX_KNOWN, HeadReader, Malformed, header_block

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C"), (b"te", b"trailers")]


def block_of(*fields: tuple[bytes, bytes]) -> bytes:
    """Literals that are not put into the table."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


# -- written ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "block"),
    [
        ([], b"\x20"),
        ([(":status", "200")], b"\x20\x88"),
        ([(":status", "415")], b"\x20\x08\x03415"),
        ([("content-type", "a/b")], b"\x20\x0f\x10\x03a/b"),
        ([("grpc-status", "0"), ("x", "")], b"\x20\0\x0bgrpc-status\x010\0\x01x\0"),
        ([("x", "a" * 126)], b"\x20\0\x01x\x7e" + b"a" * 126),
        ([("x", "a" * 127)], b"\x20\0\x01x\x7f\0" + b"a" * 127),
        ([("x", "a" * 254)], b"\x20\0\x01x\x7f\x7f" + b"a" * 254),
        ([("x", "a" * 255)], b"\x20\0\x01x\x7f\x80\x01" + b"a" * 255),
        ([("x", "a" * 20_000)], b"\x20\0\x01x\x7f\xa1\x9b\x01" + b"a" * 20_000),
    ],
    ids=["nothing", "200", "another status", "type", "literals", "126", "127", "254", "255", "20000"],
)
def test_a_block_is_written(fields: list[tuple[str, str]], block: bytes) -> None:
    assert header_block(fields) == block
    assert [(str(name), str(value)) for name, value in hpack.Decoder().decode(block)] == fields


@pytest.mark.parametrize("field", [("x", "ä"), ("ä", "x")])
def test_what_is_not_ascii_is_not_written(field: tuple[str, str]) -> None:
    with pytest.raises(UnicodeEncodeError):
        header_block([field])


# -- read ------------------------------------------------------------------------------------------------------------


def test_a_request_is_read() -> None:
    head = HeadReader().request(block_of(*REQUEST, (b"content-length", b"7"), (b"x-a", b"1"), (b"x-a", b"2")))
    assert head.length == 7
    assert head.fields == dict(REQUEST) | {b"content-length": b"7", b"x-a": b"1, 2"}


def test_cookies_are_joined_as_one() -> None:
    head = HeadReader().request(block_of(*REQUEST, (b"cookie", b"a=1"), (b"cookie", b"b=2")))
    assert head.fields[b"cookie"] == b"a=1; b=2"


@pytest.mark.parametrize(
    "fields",
    [
        REQUEST[1:],
        [REQUEST[0], *REQUEST[2:]],
        [*REQUEST[:2], REQUEST[3]],
        [*REQUEST[:2], (b":path", b"")],
        [*REQUEST, REQUEST[0]],
        [REQUEST[3], *REQUEST[:3]],
        [*REQUEST[:3], (b":status", b"200")],
        [*REQUEST[:3], (b":protocol", b"websocket")],
        [*REQUEST, (b"X-A", b"1")],
        [*REQUEST, (b"", b"1")],
        [*REQUEST, (b"a b", b"1")],
        [*REQUEST, (b"a:b", b"1")],
        [*REQUEST, (b"a\x7f", b"1")],
        [*REQUEST, (b"x-a", b"a\0b")],
        [*REQUEST, (b"x-a", b"a\nb")],
        [*REQUEST, (b"x-a", b" a")],
        [*REQUEST, (b"x-a", b"a\t")],
        [*REQUEST, (b"connection", b"close")],
        [*REQUEST, (b"transfer-encoding", b"chunked")],
        [*REQUEST[:3], (b"te", b"gzip")],
        [*REQUEST, (b"content-length", b"-1")],
        [*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")],
    ],
)
def test_headers_that_no_request_may_have_are_malformed(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Malformed):
        HeadReader().request(block_of(*fields))


@pytest.mark.parametrize("block", [b"\xff", b"\x80", b"\xbe", b"\0\x05ab", b"\x3f\xe2\x1f", b"\0\x81\xff\0"])
def test_a_block_that_is_none_ends_the_connection(block: bytes) -> None:
    with pytest.raises(ConnectionFault) as raised:
        HeadReader().request(block)
    assert raised.value.code is Code.COMPRESSION_ERROR


def test_a_list_that_is_too_long_ends_the_connection() -> None:
    reader = HeadReader()
    reader.request(block_of(*REQUEST) + b"\x40\x01a\x7f\x81\x17" + b"a" * 3072)
    with pytest.raises(ConnectionFault) as raised:
        reader.request(block_of(*REQUEST) + b"\xbe" * 30)
    assert raised.value.code is Code.ENHANCE_YOUR_CALM


def test_a_block_that_comes_again_is_the_same_head_until_the_table_changes() -> None:
    reader = HeadReader()
    entry = block_of(*REQUEST[:2]) + b"\x44\x02/a"
    assert reader.request(entry).fields[b":path"] == b"/a"
    again = block_of(*REQUEST[:2]) + b"\xbe"
    head = reader.request(again)
    assert (head.fields[b":path"], reader.request(again) is head) == (b"/a", True)
    reader.trailers(b"\x40\x01x\x02/b")
    with pytest.raises(Malformed):
        # Now it is the trailer's.
        reader.request(again)


def test_no_more_heads_are_kept_than_may_be() -> None:
    reader = HeadReader()
    for number in range(MAX_KNOWN * 3):
        reader.request(block_of(*REQUEST, (b"x-a", b"%d" % number)))
    assert 0 < len(reader._known) <= MAX_KNOWN


def test_a_head_that_is_large_only_when_unpacked_is_not_kept() -> None:
    reader = HeadReader()
    reader.request(block_of(*REQUEST) + b"\x40\x01a\x7f\x81\x17" + b"a" * 3072)
    reader.request(block_of(*REQUEST) + b"\xbe" * 15)
    assert reader._known == {}
