"""Streams side by side, from their opening to their end, and what comes after it (RFC 9113, 5)."""

from __future__ import annotations

import pytest

from tests.serve.front_doors.http2_bytes import (
    Code,
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
    window_update,
)
from tests.serve.front_doors.http2_peer import peer_of
from tests.serve.front_doors.http2_service import Served
from tests.serve.front_doors.http2_wire import Wire
from tests.serve.waiting import eventually

# -- side by side ----------------------------------------------------------------------------------------------------


async def test_answers_come_on_the_streams_of_their_calls_in_any_order(served: Served) -> None:
    contents = [b"%d" % number for number in range(100)]
    async with peer_of(served.port) as peer:
        streams = [peer.open("Wait") for _ in contents]
        for stream, content in zip(streams, contents, strict=True):
            await peer.send(stream, message(content), end=False)
        for stream in reversed(streams):
            await peer.send(stream, b"")
        await eventually(lambda: served.echo.under_way == 100)
        for stream, content in sorted(zip(streams, contents, strict=True), key=lambda each: each[0] * 37 % 101):
            served.echo.release[content].set()
            answer = await peer.answer(stream)
            assert (answer.code, answer.messages) == ("OK", [content])


async def test_messages_of_many_streams_come_in_pieces_between_each_other(served: Served) -> None:
    async with peer_of(served.port) as peer:
        contents = {peer.open(): bytes([number]) * 3000 for number in range(30)}
        sent = {stream: message(content) for stream, content in contents.items()}
        for start in range(0, 3005, 601):
            for stream, whole in sent.items():
                await peer.send(stream, whole[start : start + 601], end=start == 2404)
        for stream, content in contents.items():
            assert (await peer.answer(stream)).messages == [content]


async def test_large_answers_share_the_connection(served: Served) -> None:
    async with peer_of(served.port) as peer:
        streams = [peer.open("Large") for _ in range(5)]
        for stream in streams:
            await peer.send(stream, message(b"1000000"))
        await peer.until(lambda: all(len(peer.answers[stream].content) > 100_000 for stream in streams))
        # None has waited for the end of another one.
        assert not any(peer.answers[stream].ended for stream in streams)
        assert [len((await peer.answer(stream)).messages[0]) for stream in streams] == [1_000_000] * 5


async def test_thousands_of_calls_follow_each_other_on_a_connection(served: Served) -> None:
    async with peer_of(served.port) as peer:
        for number in range(3000):
            assert (await peer.call("Say", b"%d" % number)).messages == [b"%d" % number]
        # All that h2 could have been told of: none is open on either side.
        assert (peer.h2.open_outbound_streams, peer.h2.open_inbound_streams) == (0, 0)


async def test_numbers_may_be_left_out(wire: Wire) -> None:
    wire.send(call(5), call(4711), call(0x7FFF_FFFF))
    for stream in (5, 4711, 0x7FFF_FFFF):
        assert (await wire.answer(stream)).code == "OK"


async def test_no_more_streams_than_announced_are_taken(served: Served, wire: Wire) -> None:
    most = wire.settings[Setting.MAX_CONCURRENT_STREAMS]
    wire.send(*(call(2 * number + 1, b"%d" % number, "Wait") for number in range(most)))
    await eventually(lambda: served.echo.under_way == most)
    beyond = 2 * most + 1
    wire.send(call(beyond, b"beyond", "Wait"))
    assert (await wire.told(beyond)) == ("stream", "REFUSED_STREAM")
    served.echo.release[b"7"].set()
    assert (await wire.answer(15)).code == "OK"
    wire.send(call(beyond + 2))
    assert (await wire.answer(beyond + 2)).messages == [b"hello"]
    assert served.echo.most_under_way == most
    assert b"beyond" not in served.echo.asked


# -- the end of a stream ---------------------------------------------------------------------------------------------


async def test_a_reset_cancels_the_work_and_nothing_else(served: Served, wire: Wire) -> None:
    wire.send(
        call(1, b"a", "Wait"), call(3, b"b", "Wait"), headers(5, request("Each")), data(5, message(b"c"), end=False)
    )
    await eventually(lambda: served.echo.under_way == 2 and b"c" in served.echo.asked)
    wire.send(reset(1), reset(5))
    await eventually(lambda: served.echo.cancelled == 1)
    served.echo.release[b"b"].set()
    assert (await wire.answer(3)).messages == [b"b"]
    came = await wire.settled()
    assert [each for each in came if each.stream in (1, 5)] == []


@pytest.mark.parametrize("code", [Code.NO_ERROR, Code.CANCEL, 0x1234, 0xFFFF_FFFF])
async def test_the_reason_of_a_reset_may_be_any(served: Served, wire: Wire, code: int) -> None:
    wire.send(call(1, b"a", "Wait"))
    await eventually(lambda: served.echo.under_way == 1)
    wire.send(reset(1, code))
    await eventually(lambda: served.echo.cancelled == 1)


async def test_a_reset_in_the_middle_of_a_message_leaves_the_connection_as_it_was(served: Served, wire: Wire) -> None:
    wire.send(headers(1, request()), data(1, message(bytes(5000))[:3000], end=False), reset(1), call(3))
    assert (await wire.answer(3)).messages == [b"hello"]
    assert served.echo.asked == [b"hello"]


@pytest.mark.parametrize(
    "late",
    [window_update(5, 1), reset(1), frame(Kind.PRIORITY, 1, bytes(5))],
    ids=["WINDOW_UPDATE", "RST_STREAM", "PRIORITY"],
)
async def test_what_may_cross_with_the_end_of_a_stream_is_passed_over(wire: Wire, late: bytes) -> None:
    wire.send(call(1))
    assert (await wire.answer(1)).code == "OK"
    wire.send(late, call(3))
    assert (await wire.answer(3)).code == "OK"


@pytest.mark.parametrize("broken", [data(1, b"a"), headers(1, request()), headers(1, [("x-a", "b")], 5)])
@pytest.mark.parametrize("method", ["Say", "Wait"], ids=["closed", "half closed"])
async def test_nothing_may_follow_the_end_of_a_stream(served: Served, wire: Wire, broken: bytes, method: str) -> None:
    wire.send(call(1, method=method))
    if method == "Say":
        await wire.answer(1)
    else:
        await eventually(lambda: served.echo.under_way == 1)
    wire.send(broken)
    assert (await wire.told(1))[1] == "STREAM_CLOSED"


async def test_data_after_one_s_own_reset_is_a_mistake_of_that_stream_at_most(served: Served, wire: Wire) -> None:
    wire.send(headers(1, request()), reset(1), data(1, b"a"), call(3))
    assert (await wire.answer(3)).code == "OK"
    assert served.echo.asked == [b"hello"]


async def test_what_a_client_sends_before_it_hears_of_the_end_is_passed_over(wire: Wire) -> None:
    """The server ended it: data, trailers and a reset may be under way (5.1)."""
    wire.send(headers(1, request("Nothing")))
    assert (await wire.answer(1)).code == "UNIMPLEMENTED"
    wire.send(data(1, message(bytes(100)), end=False), headers(1, [("x-a", "b")], Flag.END_HEADERS | Flag.END_STREAM))
    wire.send(call(3))
    assert (await wire.answer(3)).code == "OK"


async def test_data_that_crosses_with_many_refusals_is_passed_over(wire: Wire) -> None:
    """A thousand calls are refused by their headers, as happens under load; their messages are on the way."""
    for numbers in (range(1, 2001, 2), range(2001, 4001, 2)):
        wire.send(*(headers(number, request("Nothing")) for number in numbers))
        for number in numbers:
            assert (await wire.answer(number)).code == "UNIMPLEMENTED"
        wire.send(*(data(number, message(bytes(100))) for number in numbers))
    wire.send(call(5001))
    assert (await wire.answer(5001)).code == "OK"


async def test_a_stream_that_the_server_ends_first_is_let_go_of_without_a_reason(wire: Wire) -> None:
    """8.1: the rest of the request is not wanted, and that is no error."""
    wire.send(headers(1, request("Nothing")))
    assert (await wire.answer(1)).code == "UNIMPLEMENTED"
    came = await wire.settled()
    assert [bytes(each) for each in came if each.stream == 1] == [reset(1, Code.NO_ERROR)]


async def test_trailers_end_a_request(wire: Wire) -> None:
    wire.send(headers(1, request()), data(1, message(b"a"), end=False))
    wire.send(headers(1, [("x-checksum", "1")], Flag.END_HEADERS | Flag.END_STREAM))
    assert (await wire.answer(1)).messages == [b"a"]


async def test_trailers_in_parts_end_a_request(wire: Wire) -> None:
    block = literal([("x-checksum", "1")])
    wire.send(headers(1, request()), data(1, message(b"a"), end=False))
    wire.send(headers(1, block[:3], Flag.END_STREAM), frame(Kind.CONTINUATION, 1, block[3:], Flag.END_HEADERS))
    assert (await wire.answer(1)).messages == [b"a"]


@pytest.mark.parametrize(
    "trailers",
    [
        headers(1, [("x-checksum", "1")]),
        headers(1, [(":path", "/test.Echo/Say")], Flag.END_HEADERS | Flag.END_STREAM),
        headers(1, [("X-Checksum", "1")], Flag.END_HEADERS | Flag.END_STREAM),
        headers(1, [("connection", "close")], Flag.END_HEADERS | Flag.END_STREAM),
    ],
    ids=["not the end", "a pseudo-header", "upper case", "of the connection"],
)
async def test_trailers_that_are_malformed_reset_the_stream(served: Served, wire: Wire, trailers: bytes) -> None:
    wire.send(headers(1, request()), data(1, message(b"a"), end=False), trailers)
    assert await wire.told(1) == ("stream", "PROTOCOL_ERROR")
    assert served.echo.asked in ([], [b"a"])
