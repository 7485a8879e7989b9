"""A gRPC service that tells what it was asked, behind the gRPC front door on a port of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from model_store.errors import InvalidInput, OnegateError
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import Answer, Query


class Raw:
    """Messages that are just their bytes."""

    @staticmethod
    def FromString(data: bytes) -> bytes:  # noqa: N802 - as protobuf spells it
        return bytes(data)


class Echo:
    """Answers with the message itself, or as the method's name says."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.release: dict[bytes, asyncio.Event] = defaultdict(asyncio.Event)
        """`Wait` answers a message when it is set."""
        self.gate = asyncio.Event()
        """`Each` answers while it is set."""
        self.gate.set()
        self.cancelled = 0
        self.under_way = 0
        self.most_under_way = 0

    @contextmanager
    def _watched(self, message: bytes) -> Iterator[None]:
        self.asked.append(message)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    async def say(self, message: bytes, call: GrpcCall) -> bytes:
        with self._watched(message):
            return message

    async def shout(self, message: bytes, call: GrpcCall) -> bytes:
        with self._watched(message):
            return message.upper()

    async def wait(self, message: bytes, call: GrpcCall) -> bytes:
        with self._watched(message):
            await self.release[message].wait()
            return message

    async def large(self, message: bytes, call: GrpcCall) -> bytes:
        """So many bytes."""
        with self._watched(message):
            size = int(message)
            return (bytes(range(251)) * (size // 251 + 1))[:size]

    async def left(self, message: bytes, call: GrpcCall) -> bytes:
        """How many seconds the client gives it."""
        with self._watched(message):
            left_s = None if call.deadline is None else call.deadline - asyncio.get_running_loop().time()
            return str(left_s).encode()

    async def fail(self, message: bytes, call: GrpcCall) -> bytes:
        raise InvalidInput(message.decode())

    async def count(self, message: bytes, call: GrpcCall) -> AsyncIterator[bytes]:
        """Each number below the one that was sent."""
        with self._watched(message):
            for number in range(int(message)):
                yield str(number).encode()

    async def each(self, message: bytes, call: GrpcCall) -> bytes:
        with self._watched(message):
            await self.gate.wait()
            return message

    def service(self) -> GrpcService:
        unary = {
            name.__name__.title(): GrpcMethod(Raw, unary=name)
            for name in (self.say, self.shout, self.wait, self.large, self.left, self.fail)
        }
        streams = {
            "Count": GrpcMethod(Raw, streaming=self.count),
            "Each": GrpcMethod(Raw, each=self.each, refusal=_refusal),
        }
        return GrpcService("test.Echo", unary | streams)


def _refusal(message: Any, error: OnegateError) -> bytes:
    return f"refused: {error.message}".encode()


async def _no_answer(query: Query) -> Answer:
    raise AssertionError("the service asks nobody")


class Served:
    """A front door with the service."""

    def __init__(self, echo: Echo, door: GrpcFrontDoor, port: int) -> None:
        self.echo, self.door, self.port = echo, door, port


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Served]:
    """The service behind a door with `options`."""
    echo = Echo()
    door = GrpcFrontDoor([echo.service()], _no_answer, **options)
    (port,) = await door.start(["127.0.0.1:0"])
    try:
        yield Served(echo, door, port)
    finally:
        await door.stop(0)
