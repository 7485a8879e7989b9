"""The gRPC front door: a grpc.aio server with services over a function that answers queries.

How calls run is in `grpc_calls.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc

from serve.dialects.grpc_base import GrpcMethod, GrpcService
from serve.front_doors.grpc_calls import Answerer, Calls

KEEPALIVE_S = 60
"""A client that has sent nothing for so long is asked whether it is there: the work of one that vanished without a
word is given up."""
KEEPALIVE_TIMEOUT_S = 20
CLIENT_PING_S = 10
"""Clients may ask as often; the usual limit of five minutes closes the connections of those that are set to less."""


def _options(max_message_bytes: int) -> list[tuple[str, Any]]:
    return [
        # The usual limit of 4 MB is too small for tensors; -1 is no limit.
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


class _Methods:
    """All methods of a server by path, as grpc.aio looks them up.

    grpc.aio's own way, registered methods, waits for the next call of each of them: every call then costs a look at
    all.
    """

    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers

    def service(self, details: Any) -> Any:
        """The handler of a call, or None where there is no such method."""
        return self._handlers.get(details.method)


class GrpcFrontDoor:
    """A server from `start` to `stop`.

    `max_message_bytes` bounds a message, unpacked where it came compressed; -1 is no limit. More than `max_requests`
    at once are refused as overload, the messages of streams among them, and as many streams; None is no limit.
    """

    def __init__(
        self,
        services: Iterable[GrpcService],
        answer: Answerer,
        *,
        max_message_bytes: int = -1,
        max_requests: int | None = None,
    ) -> None:
        self._calls = Calls(answer, max_requests)
        self._server = grpc.aio.server(options=_options(max_message_bytes))
        handlers = {
            f"/{service.name}/{name}": self._handler(service, method)
            for service in services
            for name, method in service.methods.items()
        }
        self._server.add_generic_rpc_handlers([_Methods(handlers)])

    async def start(self, addresses: Sequence[str]) -> list[int]:
        """Listens on `addresses`; returns their ports. Raises `RuntimeError` when one is taken."""
        ports = [self._server.add_insecure_port(address) for address in addresses]
        await self._server.start()
        return ports

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls and gives those under way `grace_s` seconds to end. Streams end when what they have sent
        is answered."""
        self._calls.stop()
        await self._server.stop(grace_s)

    def _handler(self, service: GrpcService, method: GrpcMethod) -> Any:
        """Messages stay bytes here: a call that is refused is never parsed, and one that can't be is told so."""
        if method.unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._calls.unary(service, method.request, method.unary))
        if method.streaming is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._calls.streaming(service, method.request, method.streaming)
            )
        return grpc.stream_stream_rpc_method_handler(self._calls.each(service, method))
