"""TLS on a real socket before there is HTTP: handshakes, certificates of clients, files that change."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from serve.front_doors import tls
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from tests.serve.certificates import Issued, authority, issued, trusting
from tests.serve.front_doors.http2_bytes import PREFACE
from tests.serve.front_doors.http_echo import GET, Client, Echo, post
from tests.serve.front_doors.tls_port import LARGE, Port, listening, opened
from tests.serve.waiting import PATIENCE_S, eventually


@pytest.fixture
async def port(free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Port]:
    async with opened(free_port, tmp_path, caplog) as port:
        yield port


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
        async with asyncio.timeout(PATIENCE_S):
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
    async with asyncio.timeout(PATIENCE_S):
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
