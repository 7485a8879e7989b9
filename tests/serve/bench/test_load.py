"""A load process's loop against servers that answer, refuse, break off and stay silent."""

from __future__ import annotations

import array
import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serve.bench import load
from serve.bench.load import measure
from serve.bench.plan import Load, LoadPlan
from serve.bench.processes import echo_server, load_processes
from serve.tls_files import server_context
from tests.serve.certificates import authority, issued

REQUEST = b"POST /x HTTP/1.1\r\nhost: here\r\ncontent-length: 3\r\n\r\nabc"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that treats each request so."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readexactly(len(REQUEST)) == REQUEST:
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def replying(*pieces: bytes, pause_s: float = 0.002) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            await asyncio.sleep(pause_s)
            writer.write(piece)
            await writer.drain()

    return answer


async def measured(answer: Answer, connections: int = 2, seconds: float = 0.2) -> Load:
    async with answering(answer) as port:
        return await measure(LoadPlan("127.0.0.1", port, REQUEST, connections, 0.02, seconds))


def latencies(found: Load) -> array.array[int]:
    return array.array("I", found.latencies_us)


async def test_answers_are_counted_with_their_latency() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    found = await measured(replying(reply))
    assert (found.errors, found.reply_bytes, found.trouble) == ({}, len(reply), "")
    assert 2 <= len(latencies(found)) <= 200
    assert min(latencies(found)) >= 2000
    assert found.cpu_s <= 1


async def test_an_answer_may_come_in_pieces() -> None:
    found = await measured(replying(b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 5\r\n\r\nhe", b"llo"))
    assert found.errors == {}
    assert len(latencies(found)) >= 2


async def test_refusals_are_counted_by_status_and_not_among_latencies() -> None:
    found = await measured(replying(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"))
    assert list(found.errors) == [503]
    assert (found.errors[503] >= 2, len(latencies(found))) == (True, 0)


async def test_a_connection_that_breaks_is_an_error_and_another_is_made() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ConnectionResetError

    found = await measured(leave)
    assert list(found.errors) == [load.BROKEN]
    assert found.errors[load.BROKEN] >= 2


async def test_a_server_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LAST_ANSWERS_S", 0.1)
    forever = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait([asyncio.ensure_future(forever.wait()), asyncio.ensure_future(reader.read(1))],
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip

    found = await measured(wait)
    forever.set()
    assert found.errors == {load.BROKEN: 2}
    assert found.trouble == "no answer within 0.1 s after the end"


async def test_an_answer_without_length_is_told() -> None:
    found = await measured(replying(b"HTTP/1.1 200 OK\r\n\r\nhello"))
    assert (found.trouble, len(latencies(found))) == ("an answer without content-length can't be measured", 0)


async def test_load_is_made_over_tls(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    context = server_context(issued(tmp_path, "server", ca).server_files(), ())
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    async with answering(replying(reply), context) as port:
        trusting = LoadPlan("127.0.0.1", port, REQUEST, 2, 0.0, 0.3, (str(ca.path), "", ""), "localhost")
        found = await measure(trusting)
        stranger = authority(tmp_path, "stranger")
        refused = await measure(
            LoadPlan("127.0.0.1", port, REQUEST, 1, 0.0, 0.1, (str(stranger.path), "", ""), "localhost")
        )
    assert (found.errors, len(latencies(found)) >= 2) == ({}, True)
    assert (list(refused.errors), "certificate verify failed" in refused.trouble) == ([load.BROKEN], True)


async def test_nobody_at_the_address_is_told(free_port: int) -> None:
    found = await measure(LoadPlan("127.0.0.1", free_port, REQUEST, 1, 0.0, 0.1))
    assert list(found.errors) == [load.BROKEN]
    assert "Connect" in found.trouble


def test_processes_share_the_connections_and_end_with_their_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a user's folder may look.
    (tmp_path / "serve.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with load_processes(2) as processes, echo_server(len(REQUEST), 300) as port:
        found = processes.run(LoadPlan("127.0.0.1", port, REQUEST, 3, 0.0, 0.2))
        started = list(processes._processes)
    assert (found.errors, found.reply_bytes) == ({}, 300)
    assert len(latencies(found)) > 10
    assert [process.returncode for process in started] == [0, 0]
