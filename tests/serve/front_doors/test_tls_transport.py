"""HTTP over TLS on a real socket: what lies between the socket and the connection."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from serve.dialects.base import HttpReply
from serve.front_doors.http_connection import HttpConnection
from serve.front_doors.tls import HTTP, Tls
from serve.front_doors.tls_handshake import TlsHandshake
from serve.front_doors.tls_transport import TlsTransport
from tests.serve.certificates import authority, issued, trusting
from tests.serve.front_doors.http_echo import GET, Client, Echo, post
from tests.serve.front_doors.tls_port import LARGE, Port, listening, opened
from tests.serve.waiting import PATIENCE_S, eventually

NO_RECORD = b"\x17\x03\x03\x00\x20" + b"x" * 32
"""It has the form of one, and can't be decrypted."""


@pytest.fixture
async def port(free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Port]:
    async with opened(free_port, tmp_path, caplog) as port:
        yield port


@pytest.fixture
async def client(port: Port) -> AsyncIterator[Client]:
    client = await port.client()
    yield client
    client.writer.close()


# -- bodies and replies ----------------------------------------------------------------------------------------------


async def test_requests_follow_each_other_on_a_connection(client: Client) -> None:
    for size in (0, 1, 16_384, 16_385, 65_535, 300_000, 2):
        body = LARGE[:size]
        client.send(post("/echo", body))
        assert (await client.reply())[2] == body


async def test_requests_that_are_sent_at_once_are_answered_in_turn(client: Client) -> None:
    bodies = [LARGE[:size] for size in (10, 100_000, 0, 70_000, *range(60))]
    client.send(*(post("/echo", body) for body in bodies))
    for body in bodies:
        assert (await client.reply())[2] == body


async def test_a_large_body_comes_back_as_it_went(client: Client) -> None:
    client.send(post("/echo", LARGE))
    assert (await client.reply())[2] == LARGE


async def test_a_chunked_body_is_read(client: Client) -> None:
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for begin in range(0, 900_000, 30_000):
        client.send(b"7530\r\n", LARGE[begin : begin + 30_000], b"\r\n")
    client.send(b"0\r\n\r\n")
    assert (await client.reply())[2] == LARGE[:900_000]


async def test_a_reply_in_parts_is_sent(client: Client, port: Port) -> None:
    port.echo.reply = HttpReply(200, b"begin", tail=(memoryview(LARGE)[7:], b"", b"middle", memoryview(LARGE), b"end"))
    client.send(GET)
    assert (await client.reply())[2] == b"".join((b"begin", LARGE[7:], b"middle", LARGE, b"end"))


async def test_a_slow_reader_costs_no_more_than_what_is_on_its_way(client: Client, port: Port) -> None:
    """What it has not read is neither encrypted nor copied."""
    port.echo.reply = HttpReply(200, bytes(50_000_000))
    client.send(GET)
    await eventually(lambda: bool(port.listener._connections.open))
    (connection,) = port.listener._connections.open
    transport = connection._transport
    await eventually(lambda: transport._backlog_bytes > 40_000_000)
    assert not connection._writable
    assert transport._raw.get_write_buffer_size() < 1_000_000
    assert transport.get_write_buffer_size() > 40_000_000
    assert len((await client.reply())[2]) == 50_000_000
    port.echo.reply = None
    client.send(GET)
    await client.told()
    assert transport.get_write_buffer_size() == 0


async def test_a_client_that_reads_nothing_is_given_up(free_port: int, tmp_path: Path) -> None:
    ca, echo = authority(tmp_path), Echo()
    echo.reply = HttpReply(200, bytes(50_000_000))
    tls = Tls(issued(tmp_path, "server", ca).server_files(), HTTP)
    listener = listening(free_port, echo, tls, timeout_s=0.2)
    port = Port(free_port, listener, echo, ca, tls)
    client = await port.client()
    client.send(GET)
    await eventually(lambda: len(echo.asked) == 1)
    await eventually(port.is_deserted)
    client.writer.transport.abort()
    await listener.stop()


async def test_a_refusal_reaches_a_client_that_is_still_sending(client: Client, port: Port) -> None:
    port.echo.max_body_bytes = 1000
    client.send(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n", LARGE)
    status, headers, _ = await client.reply()
    assert (status, headers["connection"]) == (413, "close")
    assert await client.end() == b""


async def test_the_last_reply_is_followed_by_a_goodbye(port: Port) -> None:
    def asked() -> bytes:
        raw = socket.create_connection(("127.0.0.1", port.port), timeout=10)
        with trusting(port.ca).wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as client:
            client.sendall(post("/echo", LARGE, b"connection: close"))
            answer = b""
            while part := client.recv(1 << 16):
                answer += part
            return answer

    assert (await asyncio.to_thread(asked)).endswith(LARGE)


# -- clients that leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goodbye", [True, False])
async def test_the_work_for_a_client_that_leaves_is_given_up(port: Port, goodbye: bool) -> None:
    client = await port.client()
    client.send(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
    await eventually(lambda: len(port.echo.asked) == 1)
    if goodbye:
        client.writer.close()
    else:
        client.writer.transport.abort()
    await eventually(lambda: port.echo.cancelled == 1)


async def test_a_client_that_leaves_in_its_body_is_not_answered(port: Port) -> None:
    """Cut off is not finished."""
    raw = socket.create_connection(("127.0.0.1", port.port), timeout=10)
    context = trusting(port.ca)
    client = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
    await asyncio.to_thread(client.sendall, post("/echo", LARGE)[:-1])
    # Without a goodbye.
    client.shutdown(socket.SHUT_WR)
    await eventually(port.is_deserted)
    assert port.echo.asked == []
    client.close()


@asynccontextmanager
async def by_hand(port: Port) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, ssl.SSLObject, Any]]:
    """Behind the handshake: the socket, TLS, and what TLS has to send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = trusting(port.ca).wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port, limit=1024)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                end.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        writer.write(outgoing.read())
        yield reader, writer, end, outgoing
    writer.close()


@pytest.mark.parametrize("refused", [False, True])
async def test_garbage_behind_a_request_ends_its_own_connection_alone(port: Port, refused: bool) -> None:
    """In one piece, and so read at once: a refusal is written before the end is known."""
    async with by_hand(port) as (reader, writer, end, outgoing):
        end.write(GET.replace(b"HTTP/1.1", b"HTTP/x.1") if refused else GET)
        writer.write(outgoing.read() + NO_RECORD)
        with suppress(ConnectionError):
            await reader.read()
        await eventually(port.is_deserted)


async def test_garbage_in_the_middle_of_an_answer_ends_its_own_connection_alone(port: Port) -> None:
    """What is left of the answer can't be encrypted any more."""
    port.echo.reply = HttpReply(200, LARGE)
    async with by_hand(port) as (reader, writer, end, outgoing):
        end.write(GET)
        writer.write(outgoing.read())
        await eventually(lambda: any(each._paused for each in _transports(port)))
        writer.write(NO_RECORD)
        await eventually(lambda: any(each._over for each in _transports(port)))
        with suppress(ConnectionError):
            while await reader.read(1 << 20):
                pass
        await eventually(port.is_deserted)


async def test_a_record_that_was_changed_on_its_way_ends_the_connection(port: Port) -> None:
    async with by_hand(port) as (reader, writer, end, outgoing):
        end.write(GET)
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        writer.write(record)
        await reader.read()
    assert port.echo.asked == []


async def test_connections_leave_nothing_for_the_collector(port: Port) -> None:
    await port.is_served()
    await eventually(port.is_deserted)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            client = await port.client()
            client.send(post("/echo", bytes(200_000), b"connection: close"))
            await client.reply()
            client.writer.close()
            del client
        plain = await asyncio.open_connection("127.0.0.1", port.port)
        plain[1].write(GET)
        await plain[0].read()
        plain[1].close()
        await eventually(port.is_deserted)
        await asyncio.sleep(0.05)
        kinds = (HttpConnection, TlsTransport, TlsHandshake)
        assert [type(each) for each in gc.get_objects() if type(each) in kinds] == []
    finally:
        gc.enable()


def _transports(port: Port) -> list[TlsTransport]:
    return [each._transport for each in port.listener._connections.open]  # type: ignore[misc]
