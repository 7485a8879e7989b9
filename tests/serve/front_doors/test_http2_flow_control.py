"""Windows of both sides, of streams and of the connection (RFC 9113, 5.2, 6.9)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.serve.front_doors.http2_bytes import (
    Setting,
    call,
    data,
    headers,
    message,
    request,
    reset,
    settings,
    window_update,
)
from tests.serve.front_doors.http2_peer import Peer, peer_of
from tests.serve.front_doors.http2_service import Served
from tests.serve.front_doors.http2_wire import Wire, greeted
from tests.serve.waiting import eventually

TEN_MIB = 10 << 20

# -- the client's windows --------------------------------------------------------------------------------------------


async def sent_so_far(peer: Peer, stream: int) -> int:
    """Bytes of the answer when the server has nothing more to do."""
    await peer.settled()
    return len(peer.answers[stream].content)


async def asked(peer: Peer, size: int) -> int:
    """A call whose answer has so many bytes with its length before it."""
    stream = peer.open("Large")
    await peer.send(stream, message(b"%d" % (size - 5)))
    return stream


async def test_a_stream_s_window_is_used_up_and_no_more(served: Served) -> None:
    async with peer_of(served.port, {Setting.INITIAL_WINDOW_SIZE: 0}, holds_back=True) as peer:
        stream = await asked(peer, 1000)
        await peer.until(lambda: peer.answers[stream].headers != {})
        assert await sent_so_far(peer, stream) == 0
        for granted, expected in [(1, 1), (4, 5), (700, 705), (294, 999), (1, 1000)]:
            peer.grant(granted, stream)
            assert await sent_so_far(peer, stream) == expected
        assert (await peer.answer(stream)).code == "OK"


async def test_the_connection_s_window_is_used_up_and_no_more(served: Served) -> None:
    async with peer_of(served.port, {Setting.INITIAL_WINDOW_SIZE: 1 << 20}, holds_back=True) as peer:
        one, other = await asked(peer, 60_000), await asked(peer, 60_000)
        await peer.settled()
        assert sum(len(peer.answers[stream].content) for stream in (one, other)) == 65_535
        peer.grant(4465)
        await peer.settled()
        assert sum(len(peer.answers[stream].content) for stream in (one, other)) == 70_000
        peer.grant(50_000)
        assert [len((await peer.answer(stream)).content) for stream in (one, other)] == [60_000, 60_000]


async def test_a_stream_without_a_window_does_not_hold_up_another(served: Served) -> None:
    async with peer_of(served.port, {Setting.INITIAL_WINDOW_SIZE: 100}, holds_back=True) as peer:
        waiting = await asked(peer, 5000)
        assert await sent_so_far(peer, waiting) == 100
        assert (await peer.call("Say", b"small")).messages == [b"small"]
        peer.grant(4900, waiting)
        assert len((await peer.answer(waiting)).content) == 5000


async def test_answers_without_data_need_no_window(served: Served) -> None:
    async with peer_of(served.port, {Setting.INITIAL_WINDOW_SIZE: 0}, holds_back=True) as peer:
        assert (await peer.call("Fail", b"no")).text == "no"
        assert (await peer.call("Count", b"0")).code == "OK"


async def test_a_window_that_settings_open_is_used(served: Served) -> None:
    async with peer_of(served.port, {Setting.INITIAL_WINDOW_SIZE: 0}, holds_back=True) as peer:
        streams = [await asked(peer, 1000) for _ in range(3)]
        assert [await sent_so_far(peer, stream) for stream in streams] == [0, 0, 0]
        peer.change({Setting.INITIAL_WINDOW_SIZE: 400})
        assert [await sent_so_far(peer, stream) for stream in streams] == [400, 400, 400]
        peer.change({Setting.INITIAL_WINDOW_SIZE: 5000})
        assert [len((await peer.answer(stream)).content) for stream in streams] == [1000, 1000, 1000]


async def test_a_window_below_zero_is_filled_up_first(served: Served) -> None:
    async with greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 600}) as wire:
        wire.send(call(1, b"2000", "Large"))
        await wire.settled()
        sizes = [len(wire.answers[1].content)]
        # 600 were sent: 500 too many, then none too many, then 10 may be.
        for opened in (
            settings({Setting.INITIAL_WINDOW_SIZE: 100}),
            window_update(499, 1),
            window_update(1, 1),
            window_update(10, 1),
            settings({Setting.INITIAL_WINDOW_SIZE: 0}),
            window_update(100, 1),
            window_update(7, 1),
            settings({Setting.INITIAL_WINDOW_SIZE: 3}),
        ):
            wire.send(opened)
            await wire.settled()
            sizes.append(len(wire.answers[1].content))
        assert sizes == [600, 600, 600, 600, 610, 610, 610, 617, 620]
        wire.send(window_update(5000, 1))
        assert len((await wire.answer(1)).messages[0]) == 2000


async def test_a_status_needs_no_window(served: Served) -> None:
    """Nor does it wait for one below zero."""
    async with greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 600}) as wire:
        wire.send(headers(1, request("Each")), data(1, message(bytes(500)), end=False))
        await wire.settled()
        wire.send(settings({Setting.INITIAL_WINDOW_SIZE: 0}), data(1))
        answer = await wire.answer(1)
        assert (answer.code, answer.messages) == ("OK", [bytes(500)])


async def test_settings_concern_streams_that_come_later_too(served: Served) -> None:
    async with greeted(served.port) as wire:
        wire.send(settings({Setting.INITIAL_WINDOW_SIZE: 50}), call(1, b"1000", "Large"))
        await wire.settled()
        assert len(wire.answers[1].content) == 50


@pytest.mark.parametrize("size", [16_384, 16_385, 100_000, 16_777_215])
async def test_frames_are_no_larger_than_the_client_takes(served: Served, size: int) -> None:
    windows: dict[int, int] = {Setting.INITIAL_WINDOW_SIZE: 1 << 21, Setting.MAX_FRAME_SIZE: size}
    async with greeted(served.port, windows) as wire:
        wire.send(window_update(1 << 21), call(1, b"1000000", "Large"))
        sizes = []
        while not wire.answers.get(1) or not wire.answers[1].ended:
            got = await wire.read()
            assert got is not None
            sizes.append(len(got.payload))
        assert max(sizes) <= size
        assert len(wire.answers[1].messages[0]) == 1_000_000


async def test_frames_become_smaller_in_the_middle_of_an_answer(served: Served) -> None:
    windows: dict[int, int] = {Setting.INITIAL_WINDOW_SIZE: 60_000, Setting.MAX_FRAME_SIZE: 50_000}
    async with greeted(served.port, windows) as wire:
        wire.send(window_update(1 << 20), call(1, b"200000", "Large"))
        await wire.settled()
        wire.send(settings({Setting.MAX_FRAME_SIZE: 16_384}))
        await wire.settled()
        wire.send(window_update(1 << 20, 1))
        sizes = []
        while not wire.answers[1].ended:
            got = await wire.read()
            assert got is not None
            sizes.append(len(got.payload))
        assert max(sizes) <= 16_384
        assert len(wire.answers[1].messages[0]) == 200_000


async def test_an_answer_that_is_reset_half_way_makes_way_for_others(served: Served) -> None:
    async with greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 1 << 20}) as wire:
        wire.send(call(1, b"500000", "Large"), call(3, b"1000", "Large"))
        await wire.settled()
        assert sum(len(wire.answers[stream].content) for stream in (1, 3)) == 65_535
        wire.send(reset(1), window_update(1005))
        assert len((await wire.answer(3)).messages[0]) == 1000
        sent = len(wire.answers[1].content)
        wire.send(window_update(1 << 20), call(5))
        assert (await wire.answer(5)).messages == [b"hello"]
        assert len(wire.answers[1].content) == sent


async def test_answers_that_a_client_reads_late_come_whole(served: Served) -> None:
    async with greeted(served.port, {Setting.INITIAL_WINDOW_SIZE: 1 << 30}) as wire:
        wire.send(window_update(1 << 30), *(call(stream, b"1000000", "Large") for stream in range(1, 61, 2)))
        await eventually(lambda: len(served.echo.asked) == 30)
        assert [len((await wire.answer(stream)).messages[0]) for stream in range(1, 61, 2)] == [1_000_000] * 30
        wire.send(call(61))
        assert (await wire.answer(61)).code == "OK"


# -- the server's windows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [65_535, 1 << 20])
async def test_ten_mebibytes_go_both_ways(served: Served, window: int) -> None:
    content = bytes(range(256)) * (TEN_MIB // 256)
    async with peer_of(served.port, {Setting.INITIAL_WINDOW_SIZE: window}) as peer:
        assert (await peer.call("Say", content)).messages == [content]


async def test_messages_of_a_stream_get_room_as_they_are_answered(served: Served) -> None:
    async with peer_of(served.port) as peer:
        stream = peer.open("Each")
        for number in range(100):
            await peer.send(stream, message(bytes([number]) * 50_000), end=number == 99)
        assert (await peer.answer(stream)).messages == [bytes([number]) * 50_000 for number in range(100)]


async def test_padding_uses_the_window_up_and_gives_it_back(served: Served) -> None:
    async with peer_of(served.port) as peer:
        stream = peer.open()
        count = 2 * peer.h2.local_flow_control_window(stream) // 276 + 1
        sent = message(bytes(20 * count - 5))
        for start in range(0, len(sent), 20):
            while peer.h2.local_flow_control_window(stream) < 276:
                await peer.read()
            peer.h2.send_data(stream, sent[start : start + 20], pad_length=255)
            peer.flush()
        await peer.send(stream, b"")
        assert (await peer.answer(stream)).messages == [sent[5:]]


@pytest.mark.parametrize("ended", ["reset", "answered", "malformed"])
async def test_data_that_nobody_wants_gives_the_connection_s_window_back(wire: Wire, ended: str) -> None:
    """65,535 bytes are not enough for any two of them."""
    opened = {
        "reset": request(),
        "answered": request("Nothing"),
        "malformed": request(connection="close"),
    }[ended]
    for stream in range(1, 301, 2):
        wire.send(headers(stream, opened))
        if ended == "answered":
            await wire.answer(stream)
        while wire.window < 40_000:
            await wire.read()
        wire.window -= 40_000
        content = message(bytes(100_000))[:40_000]
        wire.send(*(data(stream, content[start : start + 10_000], end=False) for start in range(0, 40_000, 10_000)))
        if ended == "reset":
            wire.send(reset(stream))
    wire.send(call(301))
    assert (await wire.answer(301)).code == "OK"


async def test_a_client_that_does_not_keep_to_the_window_is_told_so(served: Served, wire: Wire) -> None:
    """The stream's messages wait for the gate, so that there comes a time when no more may be sent."""
    served.echo.gate.clear()
    wire.send(headers(1, request("Each")))
    told = asyncio.ensure_future(wire.told(1))
    chunk = data(1, message(bytes(16_000)), end=False)
    for _ in range(4000):
        wire.send(chunk)
        with suppress(ConnectionError):
            await wire.writer.drain()
        await asyncio.sleep(0)
        if told.done():
            break
    assert (await told)[1] == "FLOW_CONTROL_ERROR"
    await eventually(lambda: served.echo.under_way == 0)
