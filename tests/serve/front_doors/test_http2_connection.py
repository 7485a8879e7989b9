"""The beginning and the end of HTTP/2 connections, and frames that say nothing about calls (RFC 9113, 3, 5.5, 6.8)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.serve.front_doors.http2_bytes import (
    PREFACE,
    Code,
    Flag,
    Kind,
    Setting,
    call,
    data,
    frame,
    headers,
    message,
    request,
    reset,
    settings,
)
from tests.serve.front_doors.http2_service import Served, serving
from tests.serve.front_doors.http2_wire import Wire, connected, greeted
from tests.serve.waiting import PATIENCE_S, eventually

# -- the beginning ---------------------------------------------------------------------------------------------------


async def test_the_server_s_settings_come_first_and_are_in_their_bounds(wire: Wire) -> None:
    assert 16_384 <= wire.settings.get(Setting.MAX_FRAME_SIZE, 16_384) <= 16_777_215
    assert 65_535 <= wire.settings.get(Setting.INITIAL_WINDOW_SIZE, 65_535) <= 2_147_483_647
    assert wire.settings.get(Setting.ENABLE_PUSH, 0) == 0


async def test_the_server_says_how_many_streams_and_how_large_headers_may_be(wire: Wire) -> None:
    assert 100 <= wire.settings[Setting.MAX_CONCURRENT_STREAMS] <= 10_000
    assert 8192 <= wire.settings[Setting.MAX_HEADER_LIST_SIZE] <= 1_048_576


async def test_settings_are_acknowledged_each_time(wire: Wire) -> None:
    for _ in range(3):
        wire.send(settings({Setting.MAX_FRAME_SIZE: 20_000}))
    acknowledged = [each for each in await wire.settled() if each.kind == Kind.SETTINGS]
    assert [(each.flags, each.stream, each.payload) for each in acknowledged] == [(Flag.ACK, 0, b"")] * 3


async def test_calls_that_follow_the_preface_at_once_are_answered(served: Served) -> None:
    async with connected(served.port) as wire:
        wire.send(PREFACE, settings(), call(1), call(3, b"again"))
        assert (await wire.answer(1)).messages == [b"hello"]
        assert (await wire.answer(3)).messages == [b"again"]


async def test_a_connection_that_comes_byte_by_byte_is_served(served: Served) -> None:
    block = headers(1, request(), 0)
    parts = [PREFACE, settings({Setting.ENABLE_PUSH: 0}), block[:9], block[9:], frame(Kind.CONTINUATION, 1, flags=4)]
    async with connected(served.port) as wire:
        for byte in b"".join([*parts, data(1, message(b"slow"))]):
            wire.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await wire.answer(1)).messages == [b"slow"]


async def test_a_connection_that_says_nothing_stays_alone(served: Served) -> None:
    async with connected(served.port), connected(served.port) as half, greeted(served.port) as wire:
        half.send(PREFACE[:10])
        wire.send(call(1))
        assert (await wire.answer(1)).code == "OK"
        half.send(PREFACE[10:], settings(), call(1))
        assert (await half.answer(1)).code == "OK"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /test.Echo/Say HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n" + bytes(100_000),
        b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        settings(),
        b"\0",
    ],
    ids=["GET", "POST", "end", "version", "TLS", "no preface", "zero"],
)
async def test_what_does_not_begin_with_the_preface_is_closed_at_once(served: Served, sent: bytes) -> None:
    async with connected(served.port) as wire:
        wire.send(sent)
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                await wire.reader.read()
    assert served.echo.asked == []


@pytest.mark.parametrize(
    "first",
    [frame(Kind.PING, payload=bytes(8)), headers(1, request()), frame(Kind.SETTINGS, flags=Flag.ACK)],
    ids=["PING", "HEADERS", "SETTINGS ack"],
)
async def test_the_preface_ends_with_settings(served: Served, first: bytes) -> None:
    async with connected(served.port) as wire:
        wire.send(PREFACE, first)
        assert await wire.told() == ("connection", "PROTOCOL_ERROR")
    assert served.echo.asked == []


# -- frames of no stream ---------------------------------------------------------------------------------------------


async def test_a_ping_comes_back_with_what_it_held(wire: Wire) -> None:
    wire.send(frame(Kind.PING, payload=b"\0\1\2\3\xff\xfe\xfd\xfc"))
    pong = await wire.next(Kind.PING)
    assert (pong.flags, pong.payload) == (Flag.ACK, b"\0\1\2\3\xff\xfe\xfd\xfc")


async def test_the_answer_to_a_ping_is_not_answered(wire: Wire) -> None:
    wire.send(frame(Kind.PING, payload=b"whatever", flags=Flag.ACK))
    assert [each for each in await wire.settled() if each.kind == Kind.PING] == []


async def test_pings_and_settings_are_answered_in_the_middle_of_a_call(wire: Wire) -> None:
    sent = message(b"in two parts")
    wire.send(headers(1, request()), data(1, sent[:8], end=False))
    wire.send(frame(Kind.PING, payload=b"midway.."), settings({Setting.MAX_FRAME_SIZE: 17_000}))
    came = [bytes(each) for each in await wire.settled()]
    assert frame(Kind.PING, payload=b"midway..", flags=Flag.ACK) in came
    assert frame(Kind.SETTINGS, flags=Flag.ACK) in came
    wire.send(data(1, sent[8:]))
    assert (await wire.answer(1)).messages == [b"in two parts"]


@pytest.mark.parametrize("kind", [0x0A, 0x42, 0xFF])
@pytest.mark.parametrize("stream", [0, 1, 99])
async def test_frames_of_unknown_kinds_are_passed_over(wire: Wire, kind: int, stream: int) -> None:
    wire.send(frame(kind, stream, b"whatever", 0xFF), headers(1, request()), frame(kind, stream, bytes(16_384)))
    wire.send(data(1, message(b"after")))
    assert (await wire.answer(1)).messages == [b"after"]


async def test_unknown_settings_and_flags_are_passed_over(wire: Wire) -> None:
    wire.send(settings({0x99: 7, 0xFFFF: 0xFFFF_FFFF, 0: 0}))
    wire.send(headers(1, request(), Flag.END_HEADERS | 0x42), data(1, message(b"after"), flags=0xF6))
    wire.send(frame(Kind.PING, payload=b"flagged.", flags=0xFE))
    came = await wire.settled()
    assert (await wire.answer(1)).messages == [b"after"]
    assert frame(Kind.PING, payload=b"flagged.", flags=Flag.ACK) in map(bytes, came)


async def test_the_reserved_bit_of_a_stream_s_number_means_nothing(wire: Wire) -> None:
    wire.send(headers(1 | 1 << 31, request()), data(1 | 1 << 31, message(b"a")))
    assert (await wire.answer(1)).messages == [b"a"]


@pytest.mark.parametrize("flags", [0, Flag.END_HEADERS])
async def test_priorities_mean_nothing(wire: Wire, flags: int) -> None:
    wire.send(frame(Kind.PRIORITY, 7, b"\0\0\0\1\xff"), frame(Kind.PRIORITY, 2, b"\x80\0\0\0\0"))
    block = b"\x80\0\0\0\x10" + headers(1, request())[9:]
    wire.send(frame(Kind.HEADERS, 1, block, Flag.PRIORITY | flags))
    if not flags:
        wire.send(frame(Kind.CONTINUATION, 1, flags=Flag.END_HEADERS))
    wire.send(data(1, message(b"a"), end=False), frame(Kind.PRIORITY, 1, b"\0\0\0\3\0"), data(1))
    assert (await wire.answer(1)).messages == [b"a"]
    wire.send(frame(Kind.PRIORITY, 1, b"\0\0\0\3\0"), call(3))
    assert (await wire.answer(3)).code == "OK"


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_a_client_that_says_goodbye_gets_what_it_asked_for(served: Served, wire: Wire) -> None:
    wire.send(call(1, b"a", "Wait"))
    await eventually(lambda: served.echo.asked == [b"a"])
    wire.send(frame(Kind.GOAWAY, payload=bytes(8) + b"thanks"))
    await wire.settled()
    served.echo.release[b"a"].set()
    assert (await wire.answer(1)).messages == [b"a"]


async def test_a_client_that_leaves_takes_its_calls_along(served: Served) -> None:
    async with greeted(served.port) as wire:
        wire.send(*(call(2 * n + 1, b"%d" % n, "Wait") for n in range(10)))
        await eventually(lambda: served.echo.under_way == 10)
    await eventually(lambda: served.echo.under_way == 0)
    assert served.echo.cancelled == 10


async def test_when_the_server_stops_calls_under_way_end_and_none_begins() -> None:
    async with serving() as served, greeted(served.port) as wire:
        wire.send(call(1, b"a", "Wait"), call(3, b"b", "Wait"))
        await eventually(lambda: served.echo.under_way == 2)
        stopped = asyncio.ensure_future(served.door.stop(5))
        # RFC 9113, 6.8: first of no stream, so that nothing is lost that was on its way until the client has heard it.
        assert (await wire.next(Kind.GOAWAY)).payload == b"\x7f\xff\xff\xff\0\0\0\0"
        wire.send(call(5, b"on its way"))
        # The PING that came with it is answered while this is read.
        assert (await wire.next(Kind.GOAWAY)).payload == b"\0\0\0\5\0\0\0\0"
        assert (await wire.answer(5)).messages == [b"on its way"]
        wire.send(call(7, b"too late"))
        # That says that it may be sent again elsewhere (8.7).
        assert reset(7, Code.REFUSED_STREAM) in map(bytes, await wire.settled())
        assert not stopped.done()
        for content in (b"b", b"a"):
            served.echo.release[content].set()
        assert (await wire.answer(3)).messages == [b"b"]
        assert (await wire.answer(1)).messages == [b"a"]
        await wire.ended()
        async with asyncio.timeout(PATIENCE_S):
            await stopped
    assert served.echo.asked == [b"a", b"b", b"on its way"]


async def test_connections_without_calls_end_when_the_server_stops() -> None:
    async with serving() as served, greeted(served.port) as idle, connected(served.port) as silent:
        idle.send(call(1))
        assert (await idle.answer(1)).code == "OK"
        async with asyncio.timeout(PATIENCE_S):
            await served.door.stop(30)
            assert await idle.told() == ("connection", "NO_ERROR")
            await silent.ended()


async def test_what_has_not_ended_after_the_grace_is_given_up() -> None:
    async with serving() as served, greeted(served.port) as wire:
        wire.send(call(1, b"a", "Wait"), headers(3, request()), data(3, message(b"half")[:7], end=False))
        await eventually(lambda: served.echo.under_way == 1)
        await wire.settled()
        async with asyncio.timeout(PATIENCE_S):
            await served.door.stop(0.1)
        await eventually(lambda: served.echo.under_way == 0)
        assert served.echo.cancelled == 1
        await wire.ended()
