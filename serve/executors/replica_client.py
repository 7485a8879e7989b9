"""A gateway's connection to one model replica: the Open Inference gRPC service, opened with the cluster's secret."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from serve.front_doors.grpc import SECRET_KEY, channel_options
from serve.protocols import open_inference as messages
from serve.routing import Replica, VersionKey


class ReplicaClient:
    """A channel to one replica."""

    def __init__(self, replica: Replica, node: str, secret: str) -> None:
        self.replica = replica
        self.same_node = replica.node == node
        self.in_flight = 0
        self.failed = False
        self._idle = asyncio.Event()
        self._idle.set()
        # Made once: a tuple would be made into one for every call.
        self._metadata = grpc.aio.Metadata((SECRET_KEY, secret))
        self._channel = grpc.aio.insecure_channel(
            replica.local if self.same_node else replica.remote, options=channel_options()
        )
        self._infer = self._method("ModelInfer")
        self._ready = self._method("ModelReady")

    def _method(self, name: str) -> Callable[..., Awaitable[bytes]]:
        method: Callable[..., Awaitable[bytes]] = self._channel.unary_unary(f"/{messages.SERVICE}/{name}")
        return method

    def begin(self) -> None:
        """A call is about to be made: from now on it counts in `in_flight`, until `end`."""
        self.in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """The call is over, or was never made."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    def infer(self, message: bytes, timeout_s: float) -> Awaitable[bytes]:
        """One batch: a `ModelInferRequest`, and the `ModelInferResponse` to be awaited; raises `grpc.RpcError` then."""
        return self._infer(message, timeout=timeout_s, metadata=self._metadata)

    async def ready(self, key: VersionKey, timeout_s: float) -> bool:
        """Whether the replica answers and has the version loaded."""
        question = messages.ModelReadyRequest(name=key[0], version=str(key[1]))
        try:
            data = await self._ready(question.SerializeToString(), timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError:
            return False
        return bool(messages.ModelReadyResponse.FromString(data).ready)

    async def close(self) -> None:
        """Closes the channel; calls under way are cut."""
        await self._channel.close()

    async def close_when_idle(self) -> None:
        """Closes the channel when the calls under way have ended."""
        await self._idle.wait()
        await self._channel.close()
