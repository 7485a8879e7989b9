"""The health check of a container: a gateway's port, without TLS, with it, and with nobody behind it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from serve.dialects.base import HttpReply
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from serve.liveness import problem
from tests.serve.certificates import authority, issued
from tests.serve.front_doors.http_echo import Echo

Listening = Callable[..., AbstractAsyncContextManager[Echo]]


@pytest.fixture
def listening(free_port: int) -> Listening:
    @asynccontextmanager
    async def start(tls: Tls | None = None):  # type: ignore[no-untyped-def]
        echo = Echo()
        listener = HttpListener(echo, "127.0.0.1", free_port, header_timeout_s=10, body_timeout_s=10, tls=tls)
        listener.start()
        try:
            yield echo
        finally:
            await listener.stop()

    return start


def found(port: int) -> Awaitable[str | None]:
    return asyncio.to_thread(problem, port)


async def test_a_gateway_that_answers_has_no_problem(listening: Listening, free_port: int) -> None:
    async with listening():
        assert await found(free_port) is None


async def test_a_gateway_that_answers_another_status_is_told(listening: Listening, free_port: int) -> None:
    async with listening() as echo:
        echo.reply = HttpReply(503, b"")
        assert await found(free_port) == "/v2/health/live answered 503"


async def test_tls_with_a_certificate_of_any_name_is_asked_too(
    listening: Listening, free_port: int, tmp_path: Path
) -> None:
    files = issued(tmp_path, "server", authority(tmp_path)).server_files()
    async with listening(Tls(files, HTTP)):
        assert await found(free_port) is None


async def test_tls_that_wants_a_certificate_of_the_caller_lives(
    listening: Listening, free_port: int, tmp_path: Path
) -> None:
    ca = authority(tmp_path)
    async with listening(Tls(issued(tmp_path, "server", ca).server_files(client_ca=ca), HTTP)):
        assert await found(free_port) is None


async def test_nobody_on_the_port_is_told(free_port: int) -> None:
    assert await found(free_port) == "[Errno 111] Connection refused"


async def test_somebody_who_never_answers_is_told_in_time(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.liveness.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", free_port)):
        assert await found(free_port) == "timed out"


async def test_somebody_who_speaks_no_http_is_told_so(free_port: int) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ready\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", free_port):
        assert await found(free_port) == "BadStatusLine('220 smtp.example ready\\r\\n')"


def test_the_command_takes_the_port_from_the_environment_and_exits_with_1(free_port: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serve.liveness"],
        env=os.environ | {"ONEGATE_GATEWAY_HTTP_PORT": str(free_port)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"onegate: port {free_port}: [Errno 111] Connection refused\n"


def test_it_imports_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, serve.liveness; print([n for n in sys.modules if n.split('.')[0] in ('numpy', 'msgspec', 'ray')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
