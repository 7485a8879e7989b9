"""HTTP over TLS on a real socket."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from tests.serve.certificates import Issued, authority, issued, trusting
from tests.serve.front_doors.http_echo import GET, Client, Echo
from tests.serve.waiting import eventually

LARGE = bytes(range(256)) * 30_000
"""7.7 MB."""


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


@asynccontextmanager
async def opened(number: int, folder: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Port]:
    """Whatever a test does to it: others are served afterwards, and nobody is left."""
    ca, echo = authority(folder), Echo()
    tls = Tls(issued(folder, "server", ca).server_files(), HTTP)
    listener = listening(number, echo, tls)
    port = Port(number, listener, echo, ca, tls)
    yield port
    echo.reply = None
    await port.is_served()
    await eventually(port.is_deserted)
    await listener.stop()
    records = caplog.get_records("call")
    assert [each.getMessage() for each in records if each.name == "onegate" and each.levelno > logging.INFO] == []
