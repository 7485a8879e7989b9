"""Frames that break the protocol: each ends its stream or the connection with the reason that RFC 9113 has for it."""

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
    reset,
    settings,
    window_update,
)
from tests.serve.front_doors.http2_service import Served
from tests.serve.front_doors.http2_wire import Wire, greeted
from tests.serve.waiting import eventually

OPEN = headers(1, request("Wait"))
"""A stream whose client has more to send."""
BLOCK = literal(request())
PADDED_END = Flag.PADDED | Flag.END_HEADERS

CONNECTION_ERRORS = {
    # 4.2
    "PING of 7 bytes": ([frame(Kind.PING, payload=bytes(7))], "FRAME_SIZE_ERROR"),
    "PING of 9 bytes": ([frame(Kind.PING, payload=bytes(9))], "FRAME_SIZE_ERROR"),
    "GOAWAY of 7 bytes": ([frame(Kind.GOAWAY, payload=bytes(7))], "FRAME_SIZE_ERROR"),
    "RST_STREAM of 3 bytes": ([OPEN, frame(Kind.RST_STREAM, 1, bytes(3))], "FRAME_SIZE_ERROR"),
    "RST_STREAM of 5 bytes": ([OPEN, frame(Kind.RST_STREAM, 1, bytes(5))], "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE of 3 bytes": ([frame(Kind.WINDOW_UPDATE, 0, bytes(3))], "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE of 5 bytes": ([OPEN, frame(Kind.WINDOW_UPDATE, 1, bytes(5))], "FRAME_SIZE_ERROR"),
    # 5.1, 5.1.1
    "DATA on an idle stream": ([data(1, b"a")], "PROTOCOL_ERROR"),
    "DATA on an idle stream behind": ([call(5, b"a"), data(7, b"a")], "PROTOCOL_ERROR"),
    "DATA on a server's stream": ([data(2, b"a")], "PROTOCOL_ERROR"),
    "RST_STREAM on an idle stream": ([reset(1)], "PROTOCOL_ERROR"),
    "WINDOW_UPDATE on an idle stream": ([window_update(1, 1)], "PROTOCOL_ERROR"),
    "a stream of an even number": ([headers(2, BLOCK)], "PROTOCOL_ERROR"),
    "a stream of a lower number": ([headers(5, request("Wait")), headers(3, BLOCK)], "PROTOCOL_ERROR"),
    # 6.1
    "DATA without a stream": ([data(0, b"a")], "PROTOCOL_ERROR"),
    "DATA of nothing but a padding's length": ([OPEN, data(1, b"\1", flags=Flag.PADDED)], "PROTOCOL_ERROR"),
    "DATA with padding as long as itself": ([OPEN, data(1, b"\5abcd", flags=Flag.PADDED)], "PROTOCOL_ERROR"),
    "DATA with more padding than itself": ([OPEN, data(1, b"\xffabc", flags=Flag.PADDED)], "PROTOCOL_ERROR"),
    # 6.2
    "HEADERS without a stream": ([headers(0, BLOCK)], "PROTOCOL_ERROR"),
    "HEADERS with more padding than itself": (
        [headers(1, b"\xff" + BLOCK[:200], PADDED_END)],
        "PROTOCOL_ERROR",
    ),
    "HEADERS with padding where its priority is": (
        [headers(1, b"\6\0\0\0\0\0\0\0\0", PADDED_END | Flag.PRIORITY)],
        "PROTOCOL_ERROR",
    ),
    # 6.3
    "PRIORITY without a stream": ([frame(Kind.PRIORITY, 0, bytes(5))], "PROTOCOL_ERROR"),
    # 6.4
    "RST_STREAM without a stream": ([reset(0)], "PROTOCOL_ERROR"),
    # 6.5
    "SETTINGS on a stream": ([frame(Kind.SETTINGS, 1)], "PROTOCOL_ERROR"),
    "SETTINGS of 5 bytes": ([frame(Kind.SETTINGS, payload=bytes(5))], "FRAME_SIZE_ERROR"),
    "SETTINGS of 7 bytes": ([frame(Kind.SETTINGS, payload=bytes(7))], "FRAME_SIZE_ERROR"),
    "an ack with settings": ([frame(Kind.SETTINGS, payload=bytes(6), flags=Flag.ACK)], "FRAME_SIZE_ERROR"),
    "ENABLE_PUSH of 2": ([settings({Setting.ENABLE_PUSH: 2})], "PROTOCOL_ERROR"),
    "a window of 2^31": ([settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31})], "FLOW_CONTROL_ERROR"),
    "frames of 16383 bytes": ([settings({Setting.MAX_FRAME_SIZE: 16_383})], "PROTOCOL_ERROR"),
    "frames of 2^24 bytes": ([settings({Setting.MAX_FRAME_SIZE: 1 << 24})], "PROTOCOL_ERROR"),
    # 6.6
    "PUSH_PROMISE": ([OPEN, frame(Kind.PUSH_PROMISE, 1, b"\0\0\0\2" + BLOCK, Flag.END_HEADERS)], "PROTOCOL_ERROR"),
    # 6.7, 6.8
    "PING on a stream": ([frame(Kind.PING, 1, bytes(8))], "PROTOCOL_ERROR"),
    "GOAWAY on a stream": ([OPEN, frame(Kind.GOAWAY, 1, bytes(8))], "PROTOCOL_ERROR"),
    # 6.9
    "a connection's window grown by 0": ([window_update(0)], "PROTOCOL_ERROR"),
    "a connection's window of 2^31": ([window_update((1 << 31) - 65_535)], "FLOW_CONTROL_ERROR"),
    "a stream's window of 2^31 by settings": (
        [OPEN, window_update((1 << 31) - 65_536, 1), settings({Setting.INITIAL_WINDOW_SIZE: 65_537})],
        "FLOW_CONTROL_ERROR",
    ),
    # 6.10
    "CONTINUATION without a stream": ([frame(Kind.CONTINUATION, 0, BLOCK, Flag.END_HEADERS)], "PROTOCOL_ERROR"),
    "CONTINUATION without HEADERS": ([frame(Kind.CONTINUATION, 1, BLOCK, Flag.END_HEADERS)], "PROTOCOL_ERROR"),
    "CONTINUATION after the last one": (
        [OPEN, frame(Kind.CONTINUATION, 1, BLOCK, Flag.END_HEADERS)],
        "PROTOCOL_ERROR",
    ),
    "CONTINUATION after DATA": (
        [OPEN, data(1, b"a", end=False), frame(Kind.CONTINUATION, 1, BLOCK, Flag.END_HEADERS)],
        "PROTOCOL_ERROR",
    ),
    "CONTINUATION of another stream": (
        [headers(1, BLOCK, 0), frame(Kind.CONTINUATION, 3, flags=Flag.END_HEADERS)],
        "PROTOCOL_ERROR",
    ),
}
INTERRUPTIONS = {
    "DATA": data(1, b"a"),
    "DATA of another stream": data(3, b"a"),
    "HEADERS": headers(1, BLOCK),
    "HEADERS of another stream": headers(3, BLOCK),
    "PRIORITY": frame(Kind.PRIORITY, 1, bytes(5)),
    "RST_STREAM": reset(1),
    "SETTINGS": settings(),
    "SETTINGS ack": frame(Kind.SETTINGS, flags=Flag.ACK),
    "PING": frame(Kind.PING, payload=bytes(8)),
    "GOAWAY": frame(Kind.GOAWAY, payload=bytes(8)),
    "WINDOW_UPDATE": window_update(1),
    "an unknown frame": frame(0x42, 1, b"whatever"),
}


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
async def test_a_frame_that_breaks_the_protocol_ends_the_connection(wire: Wire, case: str) -> None:
    sent, code = CONNECTION_ERRORS[case]
    wire.send(*sent)
    assert await wire.told() == ("connection", code)


@pytest.mark.parametrize("case", INTERRUPTIONS)
async def test_nothing_may_come_between_the_parts_of_a_header_block(served: Served, wire: Wire, case: str) -> None:
    wire.send(headers(1, BLOCK[:10], 0), INTERRUPTIONS[case])
    wire.send(frame(Kind.CONTINUATION, 1, BLOCK[10:], Flag.END_HEADERS), data(1, message(b"a")))
    assert await wire.told() == ("connection", "PROTOCOL_ERROR")
    assert served.echo.asked == []


async def test_the_last_stream_that_was_begun_is_named(served: Served, wire: Wire) -> None:
    wire.send(call(1, b"a", "Wait"), call(7, b"b", "Wait"))
    await eventually(lambda: served.echo.under_way == 2)
    wire.send(frame(Kind.PING, payload=bytes(7)))
    goodbye = await wire.next(Kind.GOAWAY)
    assert goodbye.payload[:8] == b"\0\0\0\7\0\0\0\6"
    await wire.ended()
    await eventually(lambda: served.echo.cancelled == 2)


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (frame(Kind.PRIORITY, 1, bytes(4)), "FRAME_SIZE_ERROR"),
        (window_update(0, 1), "PROTOCOL_ERROR"),
        (window_update((1 << 31) - 65_535, 1), "FLOW_CONTROL_ERROR"),
    ],
    ids=["PRIORITY of 4 bytes", "a window grown by 0", "a window of 2^31"],
)
async def test_what_concerns_one_stream_ends_that_one_only(
    served: Served, wire: Wire, broken: bytes, code: str
) -> None:
    wire.send(call(1, b"a", "Wait"))
    await eventually(lambda: served.echo.under_way == 1)
    wire.send(broken)
    assert await wire.told(1) == ("stream", code)
    await eventually(lambda: served.echo.cancelled == 1)
    wire.send(call(3))
    assert (await wire.answer(3)).messages == [b"hello"]


@pytest.mark.parametrize("kind", ["DATA", "HEADERS", "CONTINUATION", "SETTINGS", "PING", "an unknown one"])
async def test_a_frame_larger_than_announced_is_refused_by_its_length(served: Served, wire: Wire, kind: str) -> None:
    length = wire.settings.get(Setting.MAX_FRAME_SIZE, 16_384) + 1
    number = Kind[kind] if kind in Kind.__members__ else 0x42
    before = headers(1, BLOCK[:5], 0) if kind == "CONTINUATION" else headers(1, request("Wait"))
    stream = {"HEADERS": 3, "SETTINGS": 0, "PING": 0}.get(kind, 1)
    # What it holds need not have come.
    wire.send(before, frame(number, stream, b"", length=length))
    how, code = await wire.told(stream)
    assert code == "FRAME_SIZE_ERROR"
    assert how == "connection" or kind == "DATA"
    assert served.echo.asked == []


async def test_a_frame_of_the_announced_size_is_taken(wire: Wire) -> None:
    size = min(wire.settings.get(Setting.MAX_FRAME_SIZE, 16_384), 65_535)
    wire.send(headers(1, request()), data(1, message(bytes(size - 5))))
    assert (await wire.answer(1)).messages == [bytes(size - 5)]


async def test_a_frame_that_is_cut_off_by_the_end_of_the_connection_is_nobody_s_mistake(served: Served) -> None:
    for length in (4, 9, 12):
        async with greeted(served.port) as wire:
            wire.send(call(1)[:length])
            wire.writer.write_eof()
            await wire.ended()
