"""Connections and the listener on real sockets, with an application that tells what it was asked (RFC 9110, 9112)."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import ssl
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.dialects.base import HttpReply, HttpRequest
from serve.front_doors.http_connection import HttpConnection
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.http_requests import LARGE_FROM_BYTES, MAX_PIPELINED
from tests.serve.front_doors.http_echo import GET, Client, Echo, post
from tests.serve.front_doors.slow_clients import read_for_a_second
from tests.serve.waiting import eventually


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def listener(echo: Echo, free_port: int) -> AsyncIterator[HttpListener]:
    listener = HttpListener(echo, "127.0.0.1", free_port, header_timeout_s=10, body_timeout_s=10)
    listener.start()
    yield listener
    echo.gate.set()
    await listener.stop()


@pytest.fixture
async def client(listener: HttpListener, free_port: int) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", free_port))
    yield client
    client.writer.close()


# -- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a/b?c=d&e", "/a/b", "c=d&e"),
        (b"/gr%C3%BCn%20%2F?%41", "/grün /", "%41"),
        (b"/%ff", "/\ufffd", ""),
        (b"http://elsewhere:80/a?b", "/a", "b"),
        (b"http://elsewhere", "/", ""),
        (b"/a?b?c", "/a", "b?c"),
    ],
)
async def test_a_target_is_read_in_each_of_its_forms(client: Client, target: bytes, path: str, query: str) -> None:
    client.send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
    told = await client.told()
    assert (told["path"], told["query"]) == (path, query)


async def test_a_head_that_comes_byte_by_byte_is_read(client: Client) -> None:
    for byte in b"GET /abc?d HTTP/1.1\r\nx-one: 1\r\nX-Two:  two  \r\n\r\n":
        client.send(bytes([byte]))
        await asyncio.sleep(0)
    told = await client.told()
    assert (told["path"], told["query"]) == ("/abc", "d")
    assert told["headers"] == {"x-one": "1", "x-two": "two"}


async def test_a_header_that_comes_twice_is_joined_and_others_keep_their_bytes(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\nx-a: 1\r\nX-A: 2\r\nx-b: gr\xfcn\r\n\r\n")
    assert (await client.told())["headers"] == {"x-a": "1, 2", "x-b": "grün"}


async def test_trailers_are_not_the_next_request_s_headers(client: Client) -> None:
    chunked = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-late: 1\r\n\r\n"
    client.send(chunked, GET)
    first, second = await client.told(), await client.told()
    assert (first["body"], first["headers"], second["headers"]) == (1, {}, {})


async def test_a_reply_has_a_date_and_its_length(client: Client) -> None:
    client.send(GET)
    _, headers, body = await client.reply()
    assert headers["content-length"] == str(len(body))
    assert parsedate_to_datetime(headers["date"]).year >= 2026
    assert "connection" not in headers


async def test_a_head_request_gets_the_length_without_the_body(client: Client) -> None:
    client.send(b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n", GET)
    status, headers, _ = await client.reply(head_only=True)
    assert (status, int(headers["content-length"]) > 0) == (200, True)
    assert (await client.told())["method"] == "GET"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_sends_none(client: Client, echo: Echo, status: int) -> None:
    echo.reply = HttpReply(status, b"not to be sent")
    client.send(GET, b"GET /after HTTP/1.1\r\n\r\n")
    got, headers, _ = await client.reply()
    assert (got, "content-length" in headers) == (status, False)
    assert (await client.told())["path"] == "/after"


@pytest.mark.parametrize(
    "reply",
    [
        HttpReply(99, b""),
        HttpReply(600, b""),
        HttpReply(200, b"", [("x-a", "b\r\nx-evil: 1")]),
        HttpReply(200, b"", [("x-a", "b" * 300 + "\n")]),
        HttpReply(200, b"", [("x a", "b")]),
        HttpReply(200, b"", [("x-a", "\u20ac")]),
    ],
)
async def test_what_can_t_be_sent_is_an_internal_error(client: Client, echo: Echo, reply: HttpReply) -> None:
    echo.reply = reply
    client.send(GET, b"GET /after HTTP/1.1\r\n\r\n")
    status, headers, body = await client.reply()
    assert (status, json.loads(body)["kind"]) == (500, "InternalError")
    assert "x-evil" not in headers
    assert (await client.told())["path"] == "/after"


async def test_what_is_the_connection_s_to_say_is_not_said_twice(client: Client, echo: Echo) -> None:
    echo.reply = HttpReply(299, b"ok", [("content-length", "7"), ("transfer-encoding", "chunked"), ("x-a", "b")])
    client.send(GET)
    status, headers, body = await client.reply()
    assert (status, body, headers["content-length"], headers["x-a"]) == (299, b"ok", "2", "b")
    assert "transfer-encoding" not in headers


# -- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, LARGE_FROM_BYTES - 1, LARGE_FROM_BYTES, 300_000, 5_000_000])
@pytest.mark.parametrize("pause", [True, False])
async def test_a_body_of_any_size_comes_back(client: Client, size: int, pause: bool) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    head, _, _ = post("/echo", content).partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    if pause:
        await client.writer.drain()
        await asyncio.sleep(0.02)
    client.send(content, GET)
    status, _, body = await client.reply()
    assert (status, body == content) == (200, True)
    assert (await client.told())["path"] == "/a"


async def test_large_bodies_follow_each_other_without_waiting(client: Client) -> None:
    contents = [bytes([n]) * 400_000 for n in range(5)]
    sending = asyncio.ensure_future(asyncio.to_thread(lambda: b"".join(post("/echo", c) for c in contents)))
    client.send(await sending)
    for content in contents:
        assert (await client.reply())[2] == content


async def test_a_body_for_which_there_is_no_room_is_refused_before_it_is_sent(client: Client, echo: Echo) -> None:
    echo.max_body_bytes = 2**63
    client.send(b"POST /a HTTP/1.1\r\ncontent-length: %d\r\nexpect: 100-continue\r\n\r\n" % 2**60)
    status, headers, body = await client.reply()
    assert (status, headers["connection"]) == (503, "close")
    assert f"{2**60} bytes can't be received: an allocation failed" in body.decode()


async def test_a_body_of_single_byte_chunks_is_taken(client: Client) -> None:
    chunks = b"1\r\na\r\n" * 50_000
    client.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")
    assert (await client.told())["body"] == 50_000


@pytest.mark.parametrize("frame", [b"0;" + b"x" * 200_000, b"0\r\nx: " + b"y" * 300_000], ids=["extension", "trailer"])
async def test_a_body_that_is_more_frame_than_content_is_refused(client: Client, frame: bytes) -> None:
    client.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", frame)
    status, headers, body = await client.reply()
    assert (status, headers["connection"]) == (400, "close")
    assert b"more frame than body" in body


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /a HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
        b"POST /a HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"GET /a HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /a HTTP/9.9\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_ends(
    client: Client, echo: Echo, request_: bytes
) -> None:
    client.send(request_)
    status, headers, _ = await client.reply()
    assert (status, headers["connection"]) == (400, "close")
    assert await client.end() == b""
    assert echo.asked == []


async def test_a_body_whose_chunks_are_wrong_is_refused(client: Client, echo: Echo) -> None:
    client.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    status, headers, body = await client.reply()
    assert (status, headers["connection"], json.loads(body)["kind"]) == (400, "close", InvalidInput.__name__)
    assert echo.asked == []


async def test_a_reply_s_tail_follows_its_body(client: Client, echo: Echo) -> None:
    large = np.arange(1_000_000, dtype=np.uint8)
    echo.reply = HttpReply(200, b"head", tail=[large.data, b"end"])
    client.send(GET, b"GET /after HTTP/1.1\r\n\r\n")
    assert (await client.reply())[2] == b"head" + large.tobytes() + b"end"
    assert (await client.told())["path"] == "/after"


# -- refusals before the body ----------------------------------------------------------------------------------------


async def test_a_refused_request_with_a_small_body_leaves_the_connection_open(client: Client) -> None:
    client.send(b"POST /busy HTTP/1.1\r\ncontent-length: 5\r\n\r\n")
    await asyncio.sleep(0.05)
    client.send(b"abcde", GET)
    status, headers, _ = await client.reply()
    assert (status, headers["retry-after"], "connection" in headers) == (503, "1", False)
    assert (await client.told())["path"] == "/a"


async def test_a_refused_request_with_a_large_body_is_answered_at_once_and_the_rest_is_dropped(
    client: Client, echo: Echo
) -> None:
    client.send(b"POST /busy HTTP/1.1\r\ncontent-length: 7000000\r\n\r\n" + bytes(1000))
    status, headers, _ = await client.reply()
    assert (status, headers["connection"]) == (503, "close")
    client.send(bytes(6_000_000))
    assert await client.end() == b""
    assert echo.asked == []


async def test_a_client_that_asks_first_is_told_to_go_on(client: Client) -> None:
    client.send(b"POST /echo HTTP/1.1\r\ncontent-length: 3\r\nExpect: 100-Continue\r\n\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert (await client.reply())[2] == b"abc"


async def test_a_client_that_asks_first_is_refused_without_its_body(client: Client) -> None:
    client.send(b"POST /busy HTTP/1.1\r\ncontent-length: 3\r\nExpect: 100-continue\r\n\r\n")
    status, headers, _ = await client.reply()
    assert (status, headers["connection"]) == (503, "close")


async def test_a_client_that_asks_first_and_does_not_wait_gets_one_answer(client: Client) -> None:
    client.send(post("/echo", b"abc", b"expect: 100-continue"))
    assert (await client.reply())[::2] == (200, b"abc")


# -- how long a connection lives -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "asked", "told"),
    [
        (b"1.1", b"", None),
        (b"1.1", b"connection: close\r\n", "close"),
        (b"1.0", b"", "close"),
        (b"1.0", b"connection: keep-alive\r\n", "keep-alive"),
    ],
)
async def test_a_connection_stays_open_as_version_and_client_say(
    client: Client, version: bytes, asked: bytes, told: str | None
) -> None:
    client.send(b"GET /a HTTP/%b\r\n%b\r\n" % (version, asked))
    assert (await client.reply())[1].get("connection") == told
    if told == "close":
        assert await client.end() == b""
    else:
        client.send(GET)
        assert (await client.told())["path"] == "/a"


async def test_a_reply_may_end_the_connection(client: Client, echo: Echo) -> None:
    echo.reply = HttpReply(400, b"no", [("connection", "close")])
    client.send(GET)
    assert (await client.reply())[1]["connection"] == "close"
    assert await client.end() == b""


async def test_nobody_works_for_requests_behind_a_reply_that_ends_the_connection(client: Client, echo: Echo) -> None:
    echo.reply = HttpReply(400, b"no", [("connection", "close")])
    client.send(b"GET /first HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n", b"no HTTP\r\n\r\n")
    assert (await client.reply())[0] == 400
    assert await client.end() == b""
    assert [request.path for request in echo.asked] == ["/first"]


async def test_an_offer_of_http_2_is_not_taken_up_and_the_connection_goes_on(client: Client) -> None:
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    client.send(b"GET /a HTTP/1.1\r\nhost: x\r\n%b\r\n" % offer, GET)
    assert [(await client.told())["path"] for _ in range(2)] == ["/a", "/a"]
    client.send(b"POST /echo HTTP/1.1\r\ncontent-length: 3\r\n%b\r\nabc" % offer, GET)
    assert (await client.reply())[2] == b"abc"
    assert (await client.told())["path"] == "/a"


async def test_http_2_without_an_offer_is_refused(client: Client) -> None:
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert (await client.reply())[0] == 400


async def test_many_requests_at_once_are_answered_in_order(client: Client, echo: Echo) -> None:
    count = 5 * MAX_PIPELINED
    client.send(*(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(count)))
    assert [(await client.told())["path"] for _ in range(count)] == [f"/{n}" for n in range(count)]
    assert echo.most_under_way < count


async def test_a_client_that_leaves_ends_the_work_for_it(client: Client, echo: Echo, listener: HttpListener) -> None:
    client.send(b"GET /wait HTTP/1.1\r\n\r\n", GET)
    await eventually(lambda: len(echo.asked) == 1)
    client.writer.close()
    await eventually(lambda: echo.cancelled == 1)
    assert len(echo.asked) == 1
    shared = listener._connections
    await eventually(lambda: not shared.open)
    assert shared.under_way == 0


async def test_a_client_that_reads_slowly_gets_all_of_its_reply(echo: Echo, free_port: int) -> None:
    echo.reply = HttpReply(200, bytes(20_000_000))
    listener = HttpListener(echo, "127.0.0.1", free_port, body_timeout_s=0.2)
    listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", free_port, limit=1024)
    writer.write(GET)
    # On the whole much longer than it may read nothing.
    await read_for_a_second(reader, 20_000_000)
    writer.close()
    await listener.stop()


async def test_connections_leave_nothing_for_the_collector(listener: HttpListener, free_port: int) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
            writer.write(post("/echo", bytes(200_000), b"connection: close"))
            assert len(await reader.read()) > 200_000
            writer.close()
            del reader, writer
        await eventually(lambda: not listener._connections.open)
        await asyncio.sleep(0.05)
        assert sum(type(each) is HttpConnection for each in gc.get_objects()) == 0
    finally:
        gc.enable()


# -- the end of the listener -----------------------------------------------------------------------------------------


async def test_what_was_sent_when_the_listener_stops_is_answered(echo: Echo, free_port: int) -> None:
    listener = HttpListener(echo, "127.0.0.1", free_port)
    listener.start()
    idle = Client(*await asyncio.open_connection("127.0.0.1", free_port))
    idle.send(GET)
    await idle.told()
    late = Client(*await asyncio.open_connection("127.0.0.1", free_port))
    idle.send(GET)
    late.send(GET)
    await listener.stop()
    for client in (idle, late):
        status, headers, _ = await client.reply()
        assert (status, headers["connection"]) == (200, "close")
        client.writer.close()


async def test_a_listener_that_was_never_started_stops() -> None:
    await HttpListener(Echo(), "127.0.0.1", 1).stop()


async def test_two_listeners_share_a_port(echo: Echo, free_port: int) -> None:
    both = [HttpListener(echo, "127.0.0.1", free_port) for _ in range(2)]
    for each in both:
        each.start()
    for _ in range(20):
        client = Client(*await asyncio.open_connection("127.0.0.1", free_port))
        client.send(GET)
        await client.told()
        client.writer.close()
    for each in both:
        await each.stop()


async def test_tls_spoken_to_a_plain_port_is_refused(listener: HttpListener, free_port: int) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", free_port, ssl=ssl.create_default_context())


async def test_a_defect_of_the_application_closes_the_connection_and_is_logged(
    client: Client, echo: Echo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(request: HttpRequest) -> HttpReply:
        raise RuntimeError("a defect")

    monkeypatch.setattr(echo, "answer", broken)
    client.send(GET)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.reply()
    assert re.search("a request was not answered", caplog.text)
