"""gRPC services of a test on a free port, and calls to them by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from serve.dialects.grpc_base import GrpcService
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import Answer, Query

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
"""Options of a client with large tensors."""


@asynccontextmanager
async def channel_to(
    services: Iterable[GrpcService],
    answer: Callable[[Query], Awaitable[Answer]],
    address: str = "127.0.0.1:0",
    **options: Any,
) -> AsyncIterator[tuple[Any, str, GrpcFrontDoor]]:
    """A channel to the services, its target, and their front door."""
    door = GrpcFrontDoor(services, answer, **options)
    (port,) = await door.start([address])
    target = address if address.startswith("unix") else f"127.0.0.1:{port}"
    try:
        async with grpc.aio.insecure_channel(target, options=UNLIMITED) as channel:
            yield channel, target, door
    finally:
        await door.stop(0)


async def call(channel: Any, method: str, message: Any, reply: Any, **options: Any) -> Any:
    """A unary call; `method` is a service and a method, `reply` the class of the answer."""
    stub = channel.unary_unary(f"/{method}", serialised, reply.FromString)
    return await stub(message, **{"timeout": 10} | options)


async def refusal(channel: Any, method: str, message: Any) -> tuple[str, str]:
    """Code and text of a unary call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary(f"/{method}", serialised)(message, timeout=10)
    return refused.value.code().name, refused.value.details()


def stream(channel: Any, method: str, reply: Any, **options: Any) -> Any:
    """A stream both ways."""
    return channel.stream_stream(f"/{method}", serialised, reply.FromString)(**{"timeout": 20} | options)


def serialised(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
