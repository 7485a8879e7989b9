"""The gRPC front door: a grpc.aio server with services over a function that answers queries.

Gateways open it to clients, model replicas to gateways. The two differ in the secret: a replica answers only calls that
carry the cluster's, and takes tensors in shared memory from who knows it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import grpc

from serve.dialects.grpc_base import GrpcMethod, GrpcService, Streaming, Unary
from serve.errors import presentable, status_of
from serve.inference import Answer, Query
from serve.shared_memory import MappedRegions

SECRET_KEY = "onegate-secret"

Answerer = Callable[[Query], Awaitable[Answer]]


def channel_options(max_message_bytes: int = -1) -> list[tuple[str, Any]]:
    """Options for both ends: the usual limit of 4 MB is too small for tensors; -1 is no limit."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
    ]


class _Call:
    """A call under way (`GrpcCall`)."""

    __slots__ = ("_context", "answer", "regions")

    def __init__(self, context: Any, answer: Answerer, regions: MappedRegions | None) -> None:
        self._context = context
        self.answer = answer
        self.regions = regions

    @property
    def deadline(self) -> float | None:
        remaining_s = self._context.time_remaining()
        return None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s


class GrpcFrontDoor:
    """A server from `start` to `stop`."""

    def __init__(
        self,
        services: Iterable[GrpcService],
        answer: Answerer,
        *,
        max_message_bytes: int = -1,
        secret: str | None = None,
    ) -> None:
        self._answer = answer
        # On the endpoint, anybody could name anybody's memory.
        self._regions = MappedRegions() if secret is not None else None
        self._secret = secret
        self._server = grpc.aio.server(options=channel_options(max_message_bytes))
        for service in services:
            handlers = {name: self._handler(service, method) for name, method in service.methods.items()}
            self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.name, handlers)])

    async def start(self, addresses: Sequence[str]) -> list[int]:
        """Listens on `addresses`; returns their ports (1 for Unix sockets). Raises `RuntimeError` when one is taken."""
        ports = [self._server.add_insecure_port(address) for address in addresses]
        await self._server.start()
        return ports

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls and gives those under way `grace_s` seconds to end."""
        await self._server.stop(grace_s)

    def _handler(self, service: GrpcService, method: GrpcMethod) -> Any:
        if method.unary is not None:
            call: Any = self._unary(service, method.unary)
            return grpc.unary_unary_rpc_method_handler(call, method.request.FromString, _serialised)
        assert method.streaming is not None
        call = self._streaming(service, method.streaming, method.streams_requests)
        kind = (
            grpc.stream_stream_rpc_method_handler if method.streams_requests else grpc.unary_stream_rpc_method_handler
        )
        return kind(call, method.request.FromString, _serialised)

    def _unary(self, service: GrpcService, method: Unary) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(message: Any, context: Any) -> Any:
            await self._admit(context)
            try:
                return await method(message, _Call(context, self._answer, self._regions))
            except Exception as error:
                await _abort(context, service, error)

        return call

    def _streaming(
        self, service: GrpcService, method: Streaming, streams_requests: bool
    ) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def call(message: Any, context: Any) -> AsyncIterator[Any]:
            await self._admit(context)
            messages = message if streams_requests else _one(message)
            try:
                async for reply in method(messages, _Call(context, self._answer, self._regions)):
                    yield reply
            except Exception as error:
                await _abort(context, service, error)

        return call

    async def _admit(self, context: Any) -> None:
        if self._secret is not None and not self._knows_secret(context):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this port is for the cluster's own gateways")

    def _knows_secret(self, context: Any) -> bool:
        secret = self._secret or ""
        return any(
            key == SECRET_KEY and hmac.compare_digest(str(value), secret)
            for key, value in context.invocation_metadata() or ()
        )


async def _one(message: Any) -> AsyncIterator[Any]:
    yield message


def _serialised(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


async def _abort(context: Any, service: GrpcService, error: Exception) -> None:
    told = presentable(error)
    code = next((service.codes[kind] for kind in type(told).__mro__ if kind in service.codes), None)
    await context.abort(grpc.StatusCode[code or status_of(told).grpc], told.message)
