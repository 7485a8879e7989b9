"""What a client of one address makes of a server that refuses, and of one that is not there or dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from serve.executors.remote_client import ServerGone
from serve.executors.upstream_client import UpstreamClient
from serve.routing import UpstreamOptions
from serve.upstreams import UpstreamModel


@asynccontextmanager
async def refusing(code: grpc.StatusCode, text: str) -> AsyncIterator[str]:
    """The address of a server that answers every call so."""

    async def refuse(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(code, text)

    class Refusing(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Refusing()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@asynccontextmanager
async def client_of(address: str) -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient(address, UpstreamModel((address,), "double", "", False), UpstreamOptions())
    yield client
    await client.shut()


async def test_a_server_that_refuses_has_answered_and_did_not_die_of_the_batch() -> None:
    async with refusing(grpc.StatusCode.UNAVAILABLE, "it is loading") as address, client_of(address) as client:
        with pytest.raises(ServerGone, match=r"^it is loading$") as gone:
            await client.infer(b"", 5)
        assert (gone.value.begun, client.answers) == (False, 1)
        assert await client.ready(5) is False


async def test_a_server_that_is_not_there_has_neither_answered_nor_had_the_batch(free_port: int) -> None:
    async with client_of(f"127.0.0.1:{free_port}") as client:
        with pytest.raises(ServerGone) as gone:
            await client.infer(b"", 5)
        assert (gone.value.begun, client.answers) == (False, 0)
        assert await client.ready(5) is None


async def test_a_server_that_dies_had_the_batch() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # settings of HTTP/2
        await reader.readuntil(b"ModelInfer")
        writer.transport.abort()

    server = await asyncio.start_server(die, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with client_of(f"127.0.0.1:{port}") as client:
        with pytest.raises(ServerGone) as gone:
            await client.infer(b"", 5)
        assert (gone.value.begun, client.answers) == (True, 0)
    server.close()
