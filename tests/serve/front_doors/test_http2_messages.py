"""Messages inside of DATA: how they are cut, packed, counted and bounded (gRPC's PROTOCOL-HTTP2.md, compression.md)."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.serve.front_doors.http2_bytes import (
    LARGEST,
    PREFACE,
    Kind,
    Setting,
    call,
    data,
    headers,
    message,
    request,
    settings,
    window_update,
)
from tests.serve.front_doors.http2_service import Served, serving
from tests.serve.front_doors.http2_wire import Wire, greeted
from tests.serve.waiting import eventually

CONTENT = bytes(range(256)) * 4

# -- cut anywhere ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 7, 100, 1028, 1029])
async def test_a_message_may_come_in_pieces_of_any_size(wire: Wire, size: int) -> None:
    sent = message(CONTENT)
    wire.send(headers(1, request()))
    wire.send(*(data(1, sent[start : start + size], end=False) for start in range(0, len(sent), size)), data(1))
    assert (await wire.answer(1)).messages == [CONTENT]


@pytest.mark.parametrize("size", [1, 6, 8, 100, 10_000])
async def test_messages_of_a_stream_may_be_cut_and_joined_anywhere(wire: Wire, size: int) -> None:
    contents = [b"", b"a", b"", b"bcd", CONTENT[:300], b"e" * 70]
    sent = b"".join(map(message, contents))
    wire.send(headers(1, request("Each")))
    wire.send(*(data(1, sent[start : start + size], end=False) for start in range(0, len(sent), size)), data(1))
    assert (await wire.answer(1)).messages == contents


async def test_hundreds_of_messages_in_a_frame_are_answered_in_order(wire: Wire) -> None:
    contents = [b"%d" % number for number in range(1000)]
    wire.send(headers(1, request("Each")), data(1, b"".join(map(message, contents))))
    assert (await wire.answer(1)).messages == contents


async def test_the_end_may_come_with_the_message_or_after_it(wire: Wire) -> None:
    wire.send(headers(1, request()), data(1, message(b"a")))
    wire.send(headers(3, request()), data(3, message(b"b"), end=False), data(3))
    assert [(await wire.answer(stream)).messages for stream in (1, 3)] == [[b"a"], [b"b"]]


async def test_an_empty_message_is_a_message(wire: Wire) -> None:
    wire.send(call(1, b""))
    assert (await wire.answer(1)).messages == [b""]


# -- not as many as there should be ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [[], [b"a", b"b"]], ids=["none", "two"])
@pytest.mark.parametrize("method", ["Say", "Count"])
async def test_a_method_of_one_message_gets_no_other_number(wire: Wire, sent: list[bytes], method: str) -> None:
    wire.send(headers(1, request(method)), data(1, b"".join(map(message, sent))))
    assert (await wire.answer(1)).code in ("UNIMPLEMENTED", "INTERNAL")


@pytest.mark.parametrize("cut", [1, 4, 5, 9])
@pytest.mark.parametrize("method", ["Say", "Each"])
async def test_a_message_that_is_cut_off_by_the_end_is_an_error(
    served: Served, wire: Wire, cut: int, method: str
) -> None:
    wire.send(headers(1, request(method)), data(1, message(b"hello")[:cut]))
    assert (await wire.answer(1)).code in ("INTERNAL", "INVALID_ARGUMENT", "UNIMPLEMENTED")
    assert served.echo.asked == []


# -- packed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "packed"), [("gzip", gzip.compress(CONTENT)), ("deflate", zlib.compress(CONTENT))]
)
async def test_a_packed_message_is_unpacked(wire: Wire, encoding: str, packed: bytes) -> None:
    wire.send(headers(1, request(grpc_encoding=encoding)), data(1, message(packed, 1)))
    assert (await wire.answer(1)).messages == [CONTENT]


async def test_some_messages_of_a_stream_may_be_packed(wire: Wire) -> None:
    sent = message(gzip.compress(b"a"), 1) + message(b"b") + message(gzip.compress(b"c"), 1)
    wire.send(headers(1, request("Each", grpc_encoding="gzip")), data(1, sent))
    assert (await wire.answer(1)).messages == [b"a", b"b", b"c"]


@pytest.mark.parametrize("encoding", ["identity", "gzip", "snappy", None])
async def test_a_message_that_is_not_packed_is_taken_whatever_is_said(wire: Wire, encoding: str | None) -> None:
    wire.send(call(1, grpc_encoding=encoding, grpc_accept_encoding="gzip, deflate, zstd;q=1"))
    answer = await wire.answer(1)
    # A server may also refuse an encoding that it doesn't know by the head alone.
    assert answer.messages == [b"hello"] or (encoding, answer.code) == ("snappy", "UNIMPLEMENTED")


@pytest.mark.parametrize("encoding", ["snappy", "br", "GZIP", ""])
async def test_an_unknown_packing_is_unimplemented_and_the_known_ones_are_told(wire: Wire, encoding: str) -> None:
    wire.send(headers(1, request(grpc_encoding=encoding)), data(1, message(b"whatever", 1)))
    answer = await wire.answer(1)
    assert answer.code in ("UNIMPLEMENTED", "INTERNAL" if not encoding else "")
    if encoding:
        assert {"gzip", "deflate"} <= set(answer.headers["grpc-accept-encoding"].replace(" ", "").split(","))


@pytest.mark.parametrize("encoding", ["identity", None])
async def test_a_message_that_is_packed_without_saying_how_is_an_error(wire: Wire, encoding: str | None) -> None:
    wire.send(headers(1, request(grpc_encoding=encoding)), data(1, message(gzip.compress(b"a"), 1)))
    assert (await wire.answer(1)).code == "INTERNAL"


@pytest.mark.parametrize("flag", [2, 0x80, 0xFF])
async def test_a_message_of_an_unknown_form_is_an_error(served: Served, wire: Wire, flag: int) -> None:
    wire.send(headers(1, request(grpc_encoding="gzip")), data(1, message(b"hello", flag)), call(3))
    assert (await wire.answer(1)).code in ("INTERNAL", "UNIMPLEMENTED")
    assert (await wire.answer(3)).code == "OK"
    assert served.echo.asked == [b"hello"]


@pytest.mark.parametrize(
    "packed",
    [b"", b"not packed", gzip.compress(CONTENT)[:-9], gzip.compress(CONTENT)[:-4] + bytes(4), zlib.compress(b"a")],
    ids=["nothing", "garbage", "cut off", "wrong length", "the other way"],
)
async def test_what_can_t_be_unpacked_is_an_error(served: Served, wire: Wire, packed: bytes) -> None:
    wire.send(headers(1, request(grpc_encoding="gzip")), data(1, message(packed, 1)))
    assert (await wire.answer(1)).code in ("INTERNAL", "INVALID_ARGUMENT")
    assert served.echo.asked == []


# -- too large -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def bounded() -> AsyncIterator[Wire]:
    """A connection to a door that takes messages of 1000 bytes."""
    async with serving(max_message_bytes=1000) as served, greeted(served.port) as wire:
        yield wire


async def test_a_message_of_the_limit_is_taken(bounded: Wire) -> None:
    bounded.send(call(1, bytes(1000)), headers(3, request(grpc_encoding="gzip")))
    bounded.send(data(3, message(gzip.compress(bytes(1000)), 1)))
    assert [(await bounded.answer(stream)).messages for stream in (1, 3)] == [[bytes(1000)], [bytes(1000)]]


@pytest.mark.parametrize("length", [1001, 1 << 20, 1 << 31, LARGEST])
@pytest.mark.parametrize("method", ["Say", "Each"])
async def test_a_message_over_the_limit_is_refused_by_its_length(bounded: Wire, length: int, method: str) -> None:
    bounded.send(headers(1, request(method)), data(1, message(b"", length=length), end=False), call(3))
    assert (await bounded.answer(1)).code == "RESOURCE_EXHAUSTED"
    assert (await bounded.answer(3)).code == "OK"


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("size", [1001, 500_000])
async def test_a_message_that_is_unpacked_over_the_limit_is_refused(
    bounded: Wire, encoding: str, pack: object, size: int
) -> None:
    assert callable(pack)
    bounded.send(headers(1, request(grpc_encoding=encoding)), data(1, message(pack(bytes(size)), 1)))
    assert (await bounded.answer(1)).code == "RESOURCE_EXHAUSTED"


async def test_an_answer_may_be_over_the_limit(bounded: Wire) -> None:
    bounded.send(call(1, b"50000", "Large"))
    assert len((await bounded.answer(1)).messages[0]) == 50_000


async def test_the_rest_of_a_message_that_is_refused_is_passed_over(bounded: Wire) -> None:
    bounded.send(headers(1, request()), data(1, message(bytes(5000)), end=False), data(1, bytes(5000)), call(3))
    assert (await bounded.answer(1)).code == "RESOURCE_EXHAUSTED"
    assert (await bounded.answer(3)).code == "OK"


async def test_a_message_that_had_to_wait_for_others_has_all_its_time() -> None:
    """It was begun before the window was used up, which is given again once the messages before it are read."""
    async with serving(timeout_s=0.4) as served, greeted(served.port) as wire:
        served.echo.gate.clear()
        sent = message(bytes(300_000))
        wire.send(headers(1, request("Each")), *(data(1, message(b"a"), end=False) for _ in range(80)))
        wire.send(data(1, sent[:200_000], end=False))
        await asyncio.sleep(0.8)
        served.echo.gate.set()
        await wire.next(Kind.WINDOW_UPDATE, 1)
        await asyncio.sleep(0.2)
        wire.send(window_update(1 << 20), window_update(1 << 20, 1), data(1, sent[200_000:]))
        assert (await wire.answer(1)).messages == [b"a"] * 80 + [bytes(300_000)]


async def test_messages_that_nothing_is_waited_for_leave_turns_to_others(served: Served) -> None:
    """One call alone on its connection, whose client takes all at once."""
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        most = (1 << 31) - 1
        client.sendall(PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: most}) + window_update(most - 65_535))
        client.sendall(call(1, b"400000", "Count"))
        reading = threading.Thread(target=_read_all, args=(client,))
        reading.start()
        # Others had no turn before its end otherwise.
        await eventually(lambda: served.echo.under_way == 1)
        await asyncio.sleep(0.01)
        assert served.echo.under_way == 1
        client.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(reading.join)


def _read_all(client: socket.socket) -> None:
    with suppress(OSError):
        while client.recv(1 << 20):
            pass
