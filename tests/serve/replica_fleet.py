"""Model replicas behind real sockets of this process, and an executor that knows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from serve.dialects.open_inference_replica import ReplicaService
from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor
from serve.executors.replicas import ReplicasExecutor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.inference import Tensors
from serve.routing import Replica
from serve.shared_memory import RegionPool
from tests.serve.tiny_versions import FunctionRuntime, dispatcher_of, entry

SECRET = "the cluster's own"
KEY = ("double", 1)
FLOATS = {"x": np.array([[1.5, -2]], np.float32)}
DOUBLED = [[3, -4]]


class Server:
    """A model replica as gateways see it."""

    def __init__(self, name: str, executor: ClosableExecutor, port: int) -> None:
        self.name = name
        self.dispatcher = dispatcher_of(entry(), executor=executor)
        self._door = ReplicaFrontDoor(ReplicaService(self.dispatcher.answer), SECRET)
        self.port = port

    async def start(self) -> Server:
        (self.port,) = await self._door.start([f"127.0.0.1:{self.port}"])
        return self

    async def stop(self) -> None:
        """Cuts what is under way, as a killed process does."""
        await self._door.stop(0)

    def listed(self, node: str = "here") -> Replica:
        return Replica(self.name, node, f"127.0.0.1:{self.port}", f"127.0.0.1:{self.port}")


class Fleet:
    """Replicas of one test, and the executor that knows them."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.pool = RegionPool()
        self.executor = ReplicasExecutor(KEY, "here", SECRET, self.pool)

    async def serve(self, name: str, executor: ClosableExecutor | None = None, port: int = 0) -> Server:
        server = Server(name, executor or InlineExecutor(FunctionRuntime(), on_loop=True), port)
        self.servers.append(await server.start())
        return server

    async def know(self, *servers: Server) -> None:
        await self.executor.update([server.listed() for server in servers])

    def run(self, within_s: float = 10.0) -> asyncio.Task[Tensors]:
        deadline = asyncio.get_running_loop().time() + within_s
        return asyncio.ensure_future(self.executor.run(FLOATS, deadline))


@asynccontextmanager
async def open_fleet() -> AsyncIterator[Fleet]:
    """A fleet of which nothing is left."""
    fleet = Fleet()
    yield fleet
    await fleet.executor.close()
    for server in fleet.servers:
        await server.stop()
