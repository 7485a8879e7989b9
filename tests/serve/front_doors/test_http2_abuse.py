"""Clients that cost without asking for anything: what they may take is counted, and other clients notice nothing."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from serve.front_doors.http2_stream import Stream
from tests.serve.front_doors.http2_bytes import (
    LARGEST,
    PREFACE,
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
from tests.serve.front_doors.http2_service import Served, serving
from tests.serve.front_doors.http2_wire import Wire, connected, greeted
from tests.serve.front_doors.slow_clients import read_for_a_second
from tests.serve.fuzzing.verdict import peak_bytes, reset_peak
from tests.serve.waiting import eventually

CALMED = ("connection", "ENHANCE_YOUR_CALM")


@contextmanager
def little_memory(most_mib: int = 64) -> Iterator[None]:
    """Within it, the process must not need so much more."""
    reset_peak()
    before = peak_bytes()
    yield
    assert (peak_bytes() - before) >> 20 < most_mib


async def flood(wire: Wire, each: bytes, times: int, *, at_once: int = 500) -> tuple[str, str]:
    """What a client is told that sends it so often."""
    told = asyncio.ensure_future(wire.told())
    for _ in range(times // at_once):
        if told.done():
            break
        wire.send(each * at_once)
        with suppress(ConnectionError):
            await wire.writer.drain()
        await asyncio.sleep(0)
    wire.writer.write_eof()
    return await told


async def open_and_spoil(wire: Wire, spoilt: Callable[[int], bytes]) -> tuple[str, str]:
    """What a client is told that makes 20,000 calls, each spoilt as soon as it is made."""
    told = asyncio.ensure_future(wire.told())
    for stream in range(1, 40_001, 2):
        wire.send(call(stream, b"a", "Wait"), spoilt(stream))
        if stream % 100 == 1:
            with suppress(ConnectionError):
                await wire.writer.drain()
            await asyncio.sleep(0)
        if told.done():
            break
    return await told


# -- streams ---------------------------------------------------------------------------------------------------------


async def test_calls_that_are_reset_at_once_by_the_thousand_end_the_connection(served: Served, wire: Wire) -> None:
    """CVE-2023-44487."""
    most = wire.settings[Setting.MAX_CONCURRENT_STREAMS]
    assert await open_and_spoil(wire, reset) == CALMED
    await eventually(lambda: served.echo.under_way == 0)
    assert served.echo.most_under_way <= most


async def test_some_calls_may_be_reset_without_harm(served: Served, wire: Wire) -> None:
    for stream in range(1, 401, 2):
        wire.send(call(stream, b"a", "Wait"), reset(stream))
    wire.send(call(401))
    assert (await wire.answer(401)).code == "OK"
    await eventually(lambda: served.echo.under_way == 0)


async def test_streams_that_the_server_is_made_to_reset_end_the_connection(wire: Wire) -> None:
    """CVE-2025-8671: the client itself resets nothing."""
    assert await open_and_spoil(wire, lambda stream: window_update(0, stream)) == CALMED


async def test_answers_that_nobody_takes_keep_their_streams(served: Served) -> None:
    async with greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 0}) as wire:
        most = wire.settings[Setting.MAX_CONCURRENT_STREAMS]
        with little_memory():
            wire.send(*(call(2 * number + 1, b"1000", "Large") for number in range(most + 500)))
            await wire.settled()
        assert len(served.echo.asked) == most
        refused = {number for number, answer in wire.answers.items() if answer.reset == 7}
        assert refused == set(range(2 * most + 1, 2 * most + 1001, 2))
        wire.send(settings({Setting.INITIAL_WINDOW_SIZE: 2000}), window_update(1 << 21))
        assert [len((await wire.answer(2 * number + 1)).messages[0]) for number in range(most)] == [1000] * most


async def test_clients_may_reset_all_that_they_have_again_and_again(wire: Wire) -> None:
    """As in an overload, when the deadlines of a thousand calls pass at once; other calls go on."""
    most = wire.settings[Setting.MAX_CONCURRENT_STREAMS]
    wire.send(headers(1, request("Each")))
    for wave in range(4):
        first = 3 + 2 * most * wave
        streams = range(first, first + 2 * (most - 1), 2)
        wire.send(*(call(stream, b"a", "Wait") for stream in streams))
        await wire.settled()
        wire.send(*(reset(stream) for stream in streams))
        await wire.settled()
    wire.send(data(1, message(b"a")))
    assert (await wire.answer(1)).messages == [b"a"]


async def test_answers_that_nobody_takes_count() -> None:
    async with (
        serving(max_requests=2) as served,
        greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 0}) as wire,
        greeted(served.port) as other,
    ):
        wire.send(call(1), call(3))
        await wire.settled()
        other.send(call(1))
        assert (await other.answer(1)).code == "RESOURCE_EXHAUSTED"
        wire.send(window_update(100, 1), reset(3))
        assert (await wire.answer(1)).code == "OK"
        await wire.settled()
        other.send(call(3))
        assert (await other.answer(3)).code == "OK"


async def test_a_stream_whose_answers_nobody_takes_is_not_read_any_further(served: Served) -> None:
    async with greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 0}) as wire:
        wire.send(headers(1, request("Each")))
        wire.send(*(data(1, message(bytes(100)), end=False) for _ in range(500)))
        await wire.settled()
        assert len(served.echo.asked) <= 100
        wire.send(window_update(1 << 20, 1), data(1))
        assert (await wire.answer(1)).messages == [bytes(100)] * 500


async def test_a_client_that_makes_no_room_for_an_answer_is_given_up() -> None:
    async with serving(timeout_s=0.2) as served, greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 10}) as wire:
        wire.send(call(1, b"1000", "Large"))
        assert await wire.told(1) == ("stream", "CANCEL")


async def test_a_slow_client_that_reads_is_not_given_up() -> None:
    async with serving(timeout_s=0.2) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        most = (1 << 31) - 1
        writer.write(PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: most}) + window_update(most - 65_535))
        writer.write(call(1, b"20000000", "Large"))
        # On the whole much longer than it may read nothing.
        await read_for_a_second(reader, 20_000_000)
        writer.transport.abort()


async def test_a_stream_without_a_message_may_last() -> None:
    async with serving(timeout_s=0.1) as served, greeted(served.port) as wire:
        wire.send(headers(1, request("Each")))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await wire.ended()
        wire.send(data(1, message(b"a")))
        assert (await wire.answer(1)).messages == [b"a"]


# -- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 16_384])
async def test_a_header_block_without_end_ends_the_connection(served: Served, wire: Wire, size: int) -> None:
    """CVE-2024-27316 and others."""
    wire.send(headers(1, literal(request()), 0))
    with little_memory():
        assert await flood(wire, frame(Kind.CONTINUATION, 1, bytes(size)), 20_000, at_once=100) == CALMED
    assert served.echo.asked == []


# -- frames of nothing -----------------------------------------------------------------------------------------------

NOTHINGS = {
    "PING": frame(Kind.PING, payload=bytes(8)),
    "PING ack": frame(Kind.PING, payload=bytes(8), flags=Flag.ACK),
    "SETTINGS": settings(),
    "SETTINGS that change": settings({Setting.INITIAL_WINDOW_SIZE: 1}) + settings({Setting.INITIAL_WINDOW_SIZE: 2}),
    "SETTINGS ack": frame(Kind.SETTINGS, flags=Flag.ACK),
    "PRIORITY": frame(Kind.PRIORITY, 1, bytes(5)),
    "WINDOW_UPDATE": window_update(1),
    "WINDOW_UPDATE of a stream": window_update(1, 1),
    "RST_STREAM": reset(3),
    "GOAWAY": frame(Kind.GOAWAY, payload=bytes(8)),
    "an unknown frame": frame(0x42),
    "empty DATA": data(1, end=False),
    "DATA of padding": data(1, b"\x05" + bytes(5), end=False, flags=Flag.PADDED),
}


@pytest.mark.parametrize("what", NOTHINGS)
async def test_frames_of_nothing_end_the_connection(served: Served, wire: Wire, what: str) -> None:
    wire.send(headers(1, request("Each")), call(3))
    await wire.answer(3)
    with little_memory():
        assert await flood(wire, NOTHINGS[what], 100_000) == CALMED
    await eventually(lambda: served.echo.under_way == 0)


async def test_settings_that_change_the_window_ten_thousand_times_cost_as_one(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    widened: list[int] = []
    monkeypatch.setattr(Stream, "widen", lambda _, change: widened.append(change))
    wire.send(headers(1, request("Each")))
    window = struct.pack(">HI", Setting.INITIAL_WINDOW_SIZE, 0)
    wire.send(frame(Kind.SETTINGS, payload=window * 10_000 + struct.pack(">HI", Setting.INITIAL_WINDOW_SIZE, 70_000)))
    await wire.next(Kind.SETTINGS)
    assert widened == [70_000 - 65_535]


@pytest.mark.parametrize("what", ["PING", "SETTINGS"])
async def test_a_client_that_does_not_read_what_it_asks_for_is_held_back_or_ended(served: Served, what: str) -> None:
    async with greeted(served.port) as wire:
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
        with little_memory(), suppress(ConnectionError, TimeoutError):
            for _ in range(1000):
                wire.send(NOTHINGS[what] * 1000)
                async with asyncio.timeout(1):
                    await wire.writer.drain()


async def test_frames_of_nothing_are_no_matter_among_calls(served: Served, wire: Wire) -> None:
    """As clients of gRPC send them: a PING and a window for each answer."""
    for number in range(3000):
        stream = 2 * number + 1
        wire.send(call(stream), frame(Kind.PING, payload=bytes(8)), window_update(10), window_update(10, stream))
        assert (await wire.answer(stream)).code == "OK"


async def test_a_large_message_in_small_frames_is_taken(wire: Wire) -> None:
    sent = message(bytes(200_000))
    wire.send(headers(1, request()))
    for start in range(0, len(sent), 20):
        wire.send(data(1, sent[start : start + 20], end=False))
    wire.send(data(1), window_update(1 << 20), window_update(1 << 20, 1))
    assert (await wire.answer(1)).messages == [bytes(200_000)]


# -- messages --------------------------------------------------------------------------------------------------------


def bomb(size_mib: int) -> bytes:
    """So many bytes of nothing, packed a thousandfold."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size_mib)), packer.flush()])


@pytest.mark.parametrize("limit", [-1, 1 << 30])
async def test_a_length_is_only_a_promise(limit: int) -> None:
    async with serving(max_message_bytes=limit) as served, greeted(served.port) as wire:
        with little_memory():
            for number in range(100):
                sent = message(b"abc", length=LARGEST if limit == -1 else limit)
                wire.send(headers(2 * number + 1, request()), data(2 * number + 1, sent, end=False))
            wire.send(call(201))
            assert (await wire.answer(201)).code == "OK"
        assert served.echo.asked == [b"hello"]


async def test_a_bomb_is_not_unpacked() -> None:
    packed = bomb(200)
    assert len(packed) < 220_000
    async with serving(max_message_bytes=1 << 20) as served, greeted(served.port) as wire:
        with little_memory(32):
            wire.send(headers(1, request(grpc_encoding="gzip")))
            sent = message(packed, 1)
            wire.send(*(data(1, sent[at : at + 16_000], end=False) for at in range(0, len(sent), 16_000)), data(1))
            assert (await wire.answer(1)).code == "RESOURCE_EXHAUSTED"
        assert served.echo.asked == []


async def test_bombs_on_many_streams_are_not_unpacked() -> None:
    """More than a message each may be there at once, but not what they would be."""
    packed = message(bomb(4), 1)
    async with serving(max_message_bytes=1 << 16) as served, greeted(served.port) as wire:
        with little_memory(32):
            for number in range(100):
                wire.send(headers(2 * number + 1, request(grpc_encoding="gzip")), data(2 * number + 1, packed))
            codes = {(await wire.answer(2 * number + 1)).code for number in range(100)}
        assert codes == {"RESOURCE_EXHAUSTED"}
        assert served.echo.asked == []


# -- clients that come to nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        PREFACE[:10],
        PREFACE,
        PREFACE + settings()[:5],
        PREFACE + settings() + headers(1, request())[:30],
        PREFACE + settings() + headers(1, literal(request()), 0),
        PREFACE + settings() + headers(1, request()) + data(1, bytes(50))[:20],
        PREFACE + settings() + frame(0x42, 0, b"", length=10_000),
    ],
    ids=[
        "nothing",
        "half a preface",
        "no settings",
        "half of them",
        "half headers",
        "no end of them",
        "half data",
        "?",
    ],
)
async def test_a_client_that_does_not_finish_what_it_begins_is_given_up(sent: bytes) -> None:
    async with serving(timeout_s=0.2) as served, connected(served.port) as wire:
        wire.send(sent)
        await wire.ended()


async def test_a_client_that_sends_a_byte_now_and_then_is_given_up() -> None:
    async with serving(timeout_s=0.2) as served, connected(served.port) as wire:
        told = asyncio.ensure_future(wire.told())
        for byte in PREFACE + settings() + headers(1, [*request(), ("x-a", "b" * 1000)]):
            if told.done():
                break
            wire.send(bytes([byte]))
            await asyncio.sleep(0.01)
        assert (await told)[0] == "connection"
        assert served.echo.asked == []


async def test_a_message_that_stalls_is_given_up() -> None:
    async with serving(timeout_s=0.2) as served, greeted(served.port) as wire:
        wire.send(headers(1, request()), data(1, message(bytes(100))[:50], end=False))
        wire.send(headers(3, request("Each")), data(3, message(bytes(100))[:50], end=False), headers(5, request()))
        assert [(await wire.answer(stream)).code for stream in (1, 3, 5)] == ["DEADLINE_EXCEEDED"] * 3
        wire.send(call(7))
        assert (await wire.answer(7)).code == "OK"
