"""Header fields of requests: split, malformed, too large (RFC 9113, 4.3, 8.1 to 8.3)."""

from __future__ import annotations

import pytest

from tests.serve.front_doors.http2_bytes import (
    Flag,
    Kind,
    Setting,
    call,
    data,
    frame,
    headers,
    literal,
    message,
    request,
    text,
)
from tests.serve.front_doors.http2_service import Served
from tests.serve.front_doors.http2_wire import Wire

Fields = list[tuple[str, str]]

END = Flag.END_HEADERS | Flag.END_STREAM
METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE = request()


# -- taken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 50])
async def test_a_header_block_in_many_parts_is_put_together(wire: Wire, size: int) -> None:
    block = literal(request())
    parts = [block[start : start + size] for start in range(0, len(block), size)]
    wire.send(headers(1, b"", 0), *(frame(Kind.CONTINUATION, 1, part) for part in parts[:-1]))
    wire.send(frame(Kind.CONTINUATION, 1, parts[-1], Flag.END_HEADERS), data(1, message(b"a")))
    assert (await wire.answer(1)).messages == [b"a"]


async def test_the_end_of_a_stream_in_split_headers_is_that_of_the_whole_block(served: Served, wire: Wire) -> None:
    block = literal(request())
    wire.send(headers(1, block[:9], Flag.END_STREAM), frame(Kind.CONTINUATION, 1, block[9:], Flag.END_HEADERS))
    assert (await wire.answer(1)).code in ("UNIMPLEMENTED", "INTERNAL")
    assert served.echo.asked == []


@pytest.mark.parametrize("padding", [0, 1, 255])
async def test_padding_of_headers_and_data_is_dropped(wire: Wire, padding: int) -> None:
    length = bytes([padding])
    wire.send(headers(1, length + literal(request()) + bytes(padding), Flag.END_HEADERS | Flag.PADDED))
    wire.send(data(1, length + message(b"ab")[:6] + bytes(padding), end=False, flags=Flag.PADDED))
    wire.send(data(1, length + b"b" + bytes(padding), flags=Flag.PADDED))
    assert (await wire.answer(1)).messages == [b"ab"]


async def test_padding_beside_a_priority_and_a_split_block_is_dropped(wire: Wire) -> None:
    block = literal(request())
    wire.send(headers(1, b"\3" + b"\0\0\0\0\1" + block[:20] + bytes(3), Flag.PADDED | Flag.PRIORITY))
    wire.send(frame(Kind.CONTINUATION, 1, block[20:], Flag.END_HEADERS), data(1, message(b"ab")))
    assert (await wire.answer(1)).messages == [b"ab"]


@pytest.mark.parametrize(
    "fields",
    [
        [PATH, SCHEME, METHOD, AUTHORITY, TYPE, TE],
        [METHOD, SCHEME, PATH, ("host", "localhost"), TE, TYPE],
        [METHOD, (":scheme", "https"), PATH, AUTHORITY, TE, TYPE],
        [METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE, ("x-a", "1"), ("x-a", "2"), ("cookie", "a"), ("cookie", "b")],
        [METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE, ("x-a", ""), ("x-b", "gr\xfcn \x80\xff"), ("x-c-bin", "AAE")],
        [METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE, ("user-agent", "a" * 4000), ("x_a.b", "!#$%&'*+-.^_`|~")],
        [METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE, ("content-length", "10")],
    ],
    ids=["another order", "host", "https", "repeated", "bytes", "long", "content-length"],
)
async def test_fields_that_are_right_are_taken(wire: Wire, fields: Fields) -> None:
    wire.send(headers(1, fields), data(1, message(b"hello")))
    assert (await wire.answer(1)).messages == [b"hello"]


# -- malformed -------------------------------------------------------------------------------------------------------

RIGHT = [METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE]
MALFORMED: dict[str, Fields] = {
    # 8.3
    "no method": [SCHEME, PATH, AUTHORITY, TE, TYPE],
    "no scheme": [METHOD, PATH, AUTHORITY, TE, TYPE],
    "no path": [METHOD, SCHEME, AUTHORITY, TE, TYPE],
    "an empty path": [METHOD, SCHEME, (":path", ""), AUTHORITY, TE, TYPE],
    "no pseudo-header": [TE, TYPE],
    "nothing": [],
    "two methods": [METHOD, METHOD, SCHEME, PATH, AUTHORITY, TE, TYPE],
    "two paths": [METHOD, SCHEME, PATH, (":path", "/test.Echo/Shout"), AUTHORITY, TE, TYPE],
    "two schemes": [METHOD, SCHEME, SCHEME, PATH, AUTHORITY, TE, TYPE],
    "two authorities": [METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY, TE, TYPE],
    "an unknown pseudo-header": [METHOD, SCHEME, PATH, AUTHORITY, (":proto", "a"), TE, TYPE],
    "one of answers": [METHOD, SCHEME, PATH, AUTHORITY, (":status", "200"), TE, TYPE],
    "a pseudo-header after another field": [METHOD, SCHEME, AUTHORITY, TE, TYPE, PATH],
    # 8.2.1
    "a name in upper case": [*RIGHT, ("X-a", "b")],
    "a known name in upper case": [METHOD, SCHEME, PATH, AUTHORITY, TE, ("Content-Type", "application/grpc")],
    "an empty name": [*RIGHT, ("", "b")],
    "a name with a space": [*RIGHT, ("x a", "b")],
    "a name with a colon": [*RIGHT, ("x:a", "b")],
    "a name with a zero": [*RIGHT, ("x\0a", "b")],
    "a name that is not ASCII": [*RIGHT, ("x\xe4", "b")],
    "a value with a zero": [*RIGHT, ("x-a", "a\0b")],
    "a value with a new line": [*RIGHT, ("x-a", "a\nb")],
    "a value with a return": [*RIGHT, ("x-a", "a\rb")],
    "a path with a new line": [METHOD, SCHEME, (":path", "/test.Echo/Say\n"), AUTHORITY, TE, TYPE],
    # 8.2.2
    "connection": [*RIGHT, ("connection", "close")],
    "keep-alive": [*RIGHT, ("keep-alive", "5")],
    "proxy-connection": [*RIGHT, ("proxy-connection", "keep-alive")],
    "transfer-encoding": [*RIGHT, ("transfer-encoding", "chunked")],
    "upgrade": [*RIGHT, ("upgrade", "h2c")],
    "te with more": [METHOD, SCHEME, PATH, AUTHORITY, ("te", "trailers, deflate"), TYPE],
    # 8.1.1: the message has 10 bytes.
    "a larger content-length": [*RIGHT, ("content-length", "11")],
    "a smaller content-length": [*RIGHT, ("content-length", "9")],
    "a content-length that is no number": [*RIGHT, ("content-length", "ten")],
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_resets_its_stream(served: Served, wire: Wire, case: str) -> None:
    wire.send(headers(1, MALFORMED[case]), data(1, message(b"hello")))
    assert await wire.told(1) == ("stream", "PROTOCOL_ERROR")
    assert served.echo.asked == []
    wire.send(call(3))
    assert (await wire.answer(3)).messages == [b"hello"]


@pytest.mark.parametrize("flags", [Flag.END_HEADERS, END])
async def test_a_malformed_request_without_data_resets_its_stream(wire: Wire, flags: int) -> None:
    wire.send(headers(1, MALFORMED["no path"], flags), headers(3, MALFORMED["connection"], flags))
    assert await wire.told(1) == ("stream", "PROTOCOL_ERROR")
    assert await wire.told(3) == ("stream", "PROTOCOL_ERROR")


# -- too large -------------------------------------------------------------------------------------------------------


def too_large(wire: Wire) -> Fields:
    """Fields of more bytes than the server says that it takes, counted as 6.5.2 does."""
    count = wire.settings[Setting.MAX_HEADER_LIST_SIZE] // 2000 + 1
    return [*RIGHT, *((f"x-{number}", "v" * 2000) for number in range(count))]


def in_frames(stream: int, block: bytes) -> bytes:
    """A block in frames of the usual size."""
    parts = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
    first, *others = parts
    sent = [headers(stream, first, 0), *(frame(Kind.CONTINUATION, stream, part) for part in others)]
    return b"".join([*sent, frame(Kind.CONTINUATION, stream, flags=Flag.END_HEADERS)])


async def test_headers_that_are_too_large_are_refused(served: Served, wire: Wire) -> None:
    wire.send(in_frames(1, literal(too_large(wire))), data(1, message(b"a")))
    how, code = await refusal(wire)
    assert (how, code) in (("status", "431"), ("code", "RESOURCE_EXHAUSTED"), ("end", "ENHANCE_YOUR_CALM"))
    assert served.echo.asked == []


async def test_headers_that_grow_by_being_unpacked_are_refused(served: Served, wire: Wire) -> None:
    """One entry of the table, named by a byte each time: a block of 16 KB with 48 MB in it (RFC 7541, 7.3)."""
    inserted = b"\x40" + text(b"x-a") + text(b"v" * 4000)
    wire.send(headers(1, literal(RIGHT) + inserted + b"\xbe" * 12_000), data(1, message(b"a")))
    how, code = await refusal(wire)
    assert (how, code) in (("status", "431"), ("code", "RESOURCE_EXHAUSTED"), ("end", "ENHANCE_YOUR_CALM"))
    assert served.echo.asked == []


async def refusal(wire: Wire) -> tuple[str, str]:
    """How stream 1 is refused: by an answer, or with the end of the stream or the connection."""
    while (got := await wire.read()) is not None:
        answer = wire.answers.get(1)
        if got.kind == Kind.HEADERS and answer is not None and answer.headers:
            status = answer.headers[":status"]
            return ("code", answer.code) if status == "200" else ("status", status)
        if got.kind == Kind.RST_STREAM:
            return "end", str(answer and answer.reset)
        if got.kind == Kind.GOAWAY:
            return "end", "ENHANCE_YOUR_CALM" if got.payload[7] == 11 else str(got.payload)
    return "end", "nothing"
