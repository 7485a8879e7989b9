"""Another server on this machine, and the version that stands for its model here."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np

from serve.dialects.open_inference_service import whole_service
from serve.dispatcher import Dispatcher
from serve.executors.upstream import UpstreamExecutor
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import Tensors
from serve.routing import ServeOptions, UpstreamOptions, VersionEntry
from tests.serve.tiny_versions import entry

FLOATS = {"x": np.array([[1.5, -2]], np.float32)}
DOUBLED = [[3, -4]]


class Upstream:
    """Another server's gRPC port over a dispatcher of this process."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.port = 0

    async def start(self) -> Upstream:
        self._door = GrpcFrontDoor([whole_service()], self.dispatcher.answer)
        (self.port,) = await self._door.start([f"127.0.0.1:{self.port}"])
        return self

    async def stop(self) -> None:
        await self._door.stop(0)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def version_of(*addresses: str, scheme: str = "grpc", **options: Any) -> VersionEntry:
    """The version of a model `double` of other servers, as its preparation makes it."""
    described = entry()
    source = f"{scheme}://{','.join(addresses)}/double"
    manifest = msgspec.structs.replace(described.manifest, runtime="upstream", framework="upstream", source_name=source)
    serve = ServeOptions("upstream", upstream=UpstreamOptions(**options))
    return VersionEntry(manifest, serve)


async def run(executor: UpstreamExecutor, inputs: Tensors = FLOATS, within_s: float = 10.0) -> Tensors:
    return await executor.run(inputs, asyncio.get_running_loop().time() + within_s)
