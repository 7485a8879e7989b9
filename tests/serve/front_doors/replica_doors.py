"""A model replica's front door, with a service that tells what it was asked, and what it may be confused with."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from serve.executors.replica_client import ReplicaClient
from serve.frames import Kind
from serve.front_doors.replica import ReplicaFrontDoor
from serve.protocols import open_inference as messages
from serve.request_record import RequestRecord
from serve.routing import Replica
from tests.serve.waiting import PATIENCE_S, eventually

SECRET = "the cluster's own"
KEY = ("double", 1)
LOCAL = f"unix-abstract:onegate-test-{os.getpid()}"


class Service:
    """Answers with the message itself, or as the test says."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.deadlines: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0
        self.error: Exception | None = None
        self.is_ready = True

    async def infer(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        self.asked.append(data)
        self.deadlines.append(deadline)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return data

    async def ready(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        self.asked.append(data)
        return bytes(messages.ModelReadyResponse(ready=self.is_ready).SerializeToString())


class Open:
    """A front door, a client of it, and its ports."""

    def __init__(self, service: Service, secret: str = SECRET) -> None:
        self.service = service
        self.door = ReplicaFrontDoor(service, secret)
        self.port = 0
        self.client: ReplicaClient

    async def start(self) -> Open:
        _, self.port = await self.door.start([LOCAL, "127.0.0.1:0"])
        self.client = self.client_of("here")
        return self

    def client_of(self, node: str, secret: str = SECRET) -> ReplicaClient:
        return ReplicaClient(Replica("a", "here", LOCAL, f"127.0.0.1:{self.port}"), node, secret)


@asynccontextmanager
async def opened() -> AsyncIterator[Open]:
    """A front door of a new service, and a client that is connected."""
    service = Service()
    opened = await Open(service).start()
    assert await opened.client.ready(KEY, 5)
    service.asked.clear()
    yield opened
    opened.client.close()
    await opened.door.stop(0)


@asynccontextmanager
async def stand_in(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[ReplicaClient]:
    """A client of something else than a replica. `serve` is to return when the client has gone."""
    serving: set[object] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(writer)
        await serve(reader, writer)
        writer.transport.abort()
        await asyncio.sleep(0)
        serving.discard(writer)

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ReplicaClient(Replica("a", "there", "", f"127.0.0.1:{port}"), "here", SECRET)
    yield client
    client.close()
    await eventually(lambda: not serving)
    server.close()


def frame(kind: int, number: int = 0, content: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<QQdB", len(content) if length is None else length, number, 5.0, kind) + content


HELLO = frame(Kind.HELLO, content=SECRET.encode())


class Wire:
    """A gateway by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, int, bytes]:
        async with asyncio.timeout(PATIENCE_S):
            length, number, _, kind = struct.unpack("<QQdB", await self.reader.readexactly(25))
            return kind, number, await self.reader.readexactly(length)

    async def is_cut(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@asynccontextmanager
async def by_hand(replica: Open) -> AsyncIterator[Wire]:
    """A connection to the front door."""
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    yield Wire(reader, writer)
    writer.close()
