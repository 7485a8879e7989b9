"""HTTP over TLS on a real socket: the handshake, and what lies between the socket and the connection."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from serve.dialects.base import HttpReply
from serve.front_doors import tls
from serve.front_doors.http_connection import HttpConnection
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from serve.front_doors.tls_handshake import TlsHandshake
from serve.front_doors.tls_transport import TlsTransport
from tests.serve.certificates import Issued, authority, issued, trusting
from tests.serve.front_doors.http2_bytes import PREFACE
from tests.serve.front_doors.http_echo import GET, Client, Echo, post
from tests.serve.waiting import eventually

LARGE = bytes(range(256)) * 30_000
"""7.7 MB."""

NO_RECORD = b"\x17\x03\x03\x00\x20" + b"x" * 32
"""It has the form of one, and can't be decrypted."""


class Port:
    """A listener with TLS in front of `echo`."""

    def __init__(self, port: int, listener: HttpListener, echo: Echo, ca: Issued, tls: Tls) -> None:
        self.port, self.listener, self.echo, self.ca, self.tls = port, listener, echo, ca, tls

    async def client(self, context: ssl.SSLContext | None = None) -> Client:
        context = context or trusting(self.ca)
        return Client(
            *await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname="localhost", limit=1024)
        )

    async def is_served(self) -> None:
        """Another client has its answer."""
        client = await self.client()
        client.send(GET)
        assert (await client.told())["path"] == "/a"
        client.writer.close()

    def is_deserted(self) -> bool:
        shared = self.listener._connections
        return not shared.open and not shared.handshakes and self.listener._accepted == 0


def listening(port: int, echo: Echo, tls: Tls, timeout_s: float = 10) -> HttpListener:
    listener = HttpListener(echo, "127.0.0.1", port, header_timeout_s=timeout_s, body_timeout_s=timeout_s, tls=tls)
    listener.start()
    return listener


@pytest.fixture
async def port(free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Port]:
    """Whatever a test does to it: others are served afterwards, and nobody is left."""
    ca, echo = authority(tmp_path), Echo()
    tls = Tls(issued(tmp_path, "server", ca).server_files(), HTTP)
    listener = listening(free_port, echo, tls)
    port = Port(free_port, listener, echo, ca, tls)
    yield port
    echo.reply = None
    await port.is_served()
    await eventually(port.is_deserted)
    await listener.stop()
    records = caplog.get_records("call")
    assert [each.getMessage() for each in records if each.name == "onegate" and each.levelno > logging.INFO] == []


@pytest.fixture
async def client(port: Port) -> AsyncIterator[Client]:
    client = await port.client()
    yield client
    client.writer.close()


# -- the handshake ---------------------------------------------------------------------------------------------------


async def test_http_is_the_protocol_that_is_agreed_on(port: Port) -> None:
    context = trusting(port.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = await port.client(context)
    assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    client.writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_are_answered(port: Port, version: ssl.TLSVersion) -> None:
    context = trusting(port.ca)
    context.minimum_version = context.maximum_version = version
    client = await port.client(context)
    client.send(post("/echo", LARGE))
    assert (await client.reply())[2] == LARGE
    client.writer.close()


async def test_older_versions_of_tls_are_refused(port: Port) -> None:
    with socket.create_connection(("127.0.0.1", port.port)) as raw:
        # A greeting of TLS 1.0, without extensions.
        body = b"\x03\x01" + bytes(32) + b"\0" + b"\0\x02\0\x2f" + b"\x01\0"
        hello = b"\x01" + len(body).to_bytes(3, "big") + body
        raw.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        raw.settimeout(10)
        # A fatal alert: protocol_version.
        assert await asyncio.to_thread(_all_of, raw) == b"\x15\x03\x01\0\x02\x02\x46"


async def test_plain_http_is_told_what_the_port_speaks(port: Port) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(GET)
    plain = Client(reader, writer)
    status, headers, body = await plain.reply()
    assert (status, headers["connection"]) == (400, "close")
    assert body == b'{"error":"this port speaks TLS: its address begins with https://"}'
    assert await plain.end() == b""
    writer.close()


@pytest.mark.parametrize("sent", [b"\0", b"\x16\x03\x01\0\x05hello", b"\xff" * 100_000, PREFACE])
async def test_garbage_ends_its_own_connection_alone(port: Port, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    writer.write(sent)
    if len(sent) > 1:
        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                await reader.read()
    writer.close()


async def test_a_client_that_does_not_trust_the_port_leaves_it_alone(port: Port, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await port.client(trusting(authority(tmp_path, "other-ca")))


async def test_a_handshake_has_a_limit_however_slowly_it_goes_on(free_port: int, tmp_path: Path) -> None:
    ca = authority(tmp_path)
    tls = Tls(issued(tmp_path, "server", ca).server_files(), HTTP)
    listener = listening(free_port, Echo(), tls, timeout_s=0.3)
    silent = await asyncio.open_connection("127.0.0.1", free_port)
    slow = await asyncio.open_connection("127.0.0.1", free_port)
    hello = _hello()
    async with asyncio.timeout(10):
        for byte in hello[:-1]:
            if slow[0].at_eof() or slow[1].is_closing():
                break
            slow[1].write(bytes([byte]))
            await asyncio.sleep(0.01)
        for reader, writer in (silent, slow):
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
    await eventually(lambda: listener._accepted == 0)
    await listener.stop()


async def test_handshakes_count_as_connections(free_port: int, tmp_path: Path) -> None:
    ca, echo = authority(tmp_path), Echo()
    tls = Tls(issued(tmp_path, "server", ca).server_files(), HTTP)
    listener = HttpListener(echo, "127.0.0.1", free_port, max_connections=2, tls=tls)
    listener.start()
    port = Port(free_port, listener, echo, ca, tls)
    held = [await asyncio.open_connection("127.0.0.1", free_port) for _ in range(2)]
    await eventually(lambda: listener._accepted == 2)
    waiting = asyncio.ensure_future(port.client())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    held[0][1].close()
    client = await waiting
    client.send(GET)
    await client.told()
    client.writer.close()
    held[1][1].close()
    await listener.stop()


async def test_a_listener_that_stops_waits_for_handshakes_and_answers(free_port: int, tmp_path: Path) -> None:
    ca, echo = authority(tmp_path), Echo()
    tls = Tls(issued(tmp_path, "server", ca).server_files(), HTTP)
    listener = listening(free_port, echo, tls, timeout_s=1)
    port = Port(free_port, listener, echo, ca, tls)
    waiting = await port.client()
    waiting.send(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
    await eventually(lambda: len(echo.asked) == 1)
    late, silent = [Client(*await asyncio.open_connection("127.0.0.1", free_port)) for _ in range(2)]
    await eventually(lambda: len(listener._connections.handshakes) == 2)
    stopping = asyncio.ensure_future(listener.stop())
    await eventually(lambda: listener._connections.draining)
    await late.writer.start_tls(trusting(ca), server_hostname="localhost")
    late.send(GET)
    assert (await late.reply())[0] == 200
    # It has said nothing, and is not waited for much longer.
    assert await silent.end() == b""
    assert not stopping.done()
    echo.gate.set()
    assert (await waiting.reply())[0] == 200
    assert await waiting.end() == b""
    await stopping
    assert port.is_deserted()
    for client in (waiting, late, silent):
        client.writer.close()


# -- certificates of clients -----------------------------------------------------------------------------------------


async def test_only_clients_of_the_ca_are_let_in(free_port: int, tmp_path: Path) -> None:
    ca, echo = authority(tmp_path), Echo()
    tls = Tls(issued(tmp_path, "server", ca).server_files(client_ca=ca), HTTP)
    listener = listening(free_port, echo, tls)
    port = Port(free_port, listener, echo, ca, tls)
    own = await port.client(trusting(ca, issued(tmp_path, "own", ca, client=True)))
    own.send(GET)
    await own.told()
    own.writer.close()

    async def ask(context: ssl.SSLContext) -> None:
        client = await port.client(context)
        client.send(GET)
        await client.reply()

    stranger = issued(tmp_path, "stranger", authority(tmp_path, "other-ca"), client=True)
    for context in (trusting(ca), trusting(ca, stranger)):
        # With TLS 1.3 a client hears of it when it reads.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(context)
    assert len(echo.asked) == 1
    await eventually(port.is_deserted)
    await listener.stop()


# -- files that change -----------------------------------------------------------------------------------------------


async def test_new_files_are_taken_over_without_a_restart(
    port: Port, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    follow = asyncio.ensure_future(port.tls.follow())
    old = await port.client()
    number = _serial(old)
    _replace(tmp_path, port.ca)
    context = port.tls.context
    await eventually(lambda: port.tls.context is not context)
    new = await port.client()
    assert _serial(new) != number
    # Those that are there go on.
    for client in (old, new):
        client.send(GET)
        await client.told()
        client.writer.close()
    follow.cancel()


async def test_files_that_are_no_use_are_told_once_and_the_old_ones_stay(port: Port, tmp_path: Path) -> None:
    key = tmp_path / "server-key.pem"
    before = port.tls.context
    right = key.read_bytes()
    key.write_bytes(b"half of it")
    told = logging.getLogger("onegate")
    heard: list[str] = []
    told.addFilter(lambda record: heard.append(record.getMessage()) is not None)
    try:
        for _ in range(3):
            port.tls.refresh()
    finally:
        told.filters.clear()
    assert heard == [
        f"gateway.tls.private_key: '{key}' holds no private key in PEM that can be used; "
        "the port goes on with the certificate that it has"
    ]
    assert port.tls.context is before
    await port.is_served()
    key.write_bytes(right)
    port.tls.refresh()
    assert port.tls.context is not before


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
    async with asyncio.timeout(10):
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


def _all_of(raw: socket.socket) -> bytes:
    answer = b""
    while part := raw.recv(65536):
        answer += part
    return answer


def _hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    end = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        end.do_handshake()
    return outgoing.read()


def _serial(client: Client) -> str:
    return str(client.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])


def _replace(folder: Path, ca: Issued) -> None:
    """As a renewal does: written elsewhere, and put into their places one after the other."""
    (folder / "new").mkdir()
    new = issued(folder / "new", "server", ca)
    shutil.move(new.path, folder / "server.pem")
    shutil.move(new.key_path, folder / "server-key.pem")
