"""The gRPC front door: HTTP/2 listeners with services over a function that answers queries.

How calls run is in `grpc_methods.py`, what they are on the wire in `grpc_exchange.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.scopes import method_need
from serve.access_log import AccessLog
from serve.dialects.grpc_base import GrpcService
from serve.front_doors.grpc_access import GrpcAccess
from serve.front_doors.grpc_call import Answerer
from serve.front_doors.grpc_exchange import GrpcExchange
from serve.front_doors.grpc_heads import CallHead, read_head
from serve.front_doors.grpc_methods import Calls
from serve.front_doors.http2_connection import Http2Connection
from serve.front_doors.http2_connections import Http2Connections
from serve.front_doors.http2_headers import RequestHead
from serve.front_doors.listener import Listener
from serve.front_doors.tls import Tls
from serve.request_record import Recorder
from serve.tracing.tracer import Tracer

FLUSH_S = 1.0
"""How long clients may take to read that what was under way is given up."""


class GrpcFrontDoor:
    """A server from `start` to `stop`.

    `max_message_bytes` bounds a message, unpacked where it came compressed; -1 is no limit. More than `max_requests`
    at once are refused as overload, the messages of streams among them, and as many streams of each kind, those that
    need no key and the others; None is no limit.
    Connections beyond `max_connections` wait to be accepted. A message that takes longer than `timeout_s` is given up,
    and so are a client that makes no room for an answer for so long and, with `tls`, a handshake. `guard` lets calls
    in; None is for everybody. `recorder` is told of inference requests; `tracer` says which are traced. Each request
    that ends is noted in `access_log`, where there is one.
    """

    def __init__(
        self,
        services: Iterable[GrpcService],
        answer: Answerer,
        *,
        max_message_bytes: int = -1,
        max_requests: int | None = None,
        max_connections: int = 4096,
        timeout_s: float = 60.0,
        guard: Guard | None = None,
        tls: Tls | None = None,
        recorder: Recorder | None = None,
        tracer: Tracer | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        services = list(services)
        self._calls = Calls(answer, max_requests, guard, recorder, tracer, access_log)
        self._access_log = access_log
        self._access = None if guard is None else GrpcAccess(guard, services)
        self._max_message_bytes = max_message_bytes
        self._max_connections = max_connections
        self._timeout_s = timeout_s
        self._tls = tls
        self._methods = {
            f"/{service.name}/{name}".encode(): self._calls.method(service, method, method_need(service.name, name))
            for service in services
            for name, method in service.methods.items()
        }
        self._listeners: list[Http2Listener] = []

    async def start(self, addresses: Sequence[str]) -> list[int]:
        """Listens on `addresses`, each `HOST:PORT`; returns their ports. Raises `OSError` when one is taken."""
        self._listeners = [self._listener(address) for address in addresses]
        return [listener.start() for listener in self._listeners]

    def check(self) -> None:
        """Raises when a listener has ended on its own."""
        for listener in self._listeners:
            listener.check()

    async def stop(self, grace_s: float) -> None:
        """Sends clients elsewhere and gives calls under way `grace_s` seconds to end. Streams end when what they have
        sent is answered."""
        self._calls.stop()
        await asyncio.gather(*(listener.end(grace_s) for listener in self._listeners))

    def open(self, connection: Http2Connection, number: int, head: RequestHead) -> GrpcExchange:
        """The call in a request (`Http2Application`)."""
        if head.made is None:
            head.made = read_head(head, self._methods)
        limit = self._max_message_bytes
        if self._access is None:
            return self._exchange(connection, number, head, head.made, limit)
        made, caller = self._access.admit(head)
        if caller is not None:
            limit = self._access.message_limit(caller, limit)
        return self._exchange(connection, number, head, made, limit, caller)

    def _exchange(
        self,
        connection: Http2Connection,
        number: int,
        head: RequestHead,
        made: CallHead,
        limit: int,
        caller: Caller | None = None,
    ) -> GrpcExchange:
        exchange = GrpcExchange(connection, number, head.length, made, limit, caller)
        if made.method is None and self._access_log is not None:
            refused = exchange.asked
            refused.status = made.status if made.refusal is None else made.refusal.code
            self._access_log.note(refused, 0, peer=exchange.peer)
        return exchange

    def _listener(self, address: str) -> Http2Listener:
        host, _, port = address.rpartition(":")
        return Http2Listener(self, host.strip("[]"), int(port), self._max_connections, self._timeout_s, self._tls)


class Http2Listener(Listener):
    """A port of the front door."""

    def __init__(
        self, door: GrpcFrontDoor, host: str, port: int, max_connections: int, timeout_s: float, tls: Tls | None
    ) -> None:
        self._shared = Http2Connections(door, self.freed, timeout_s=timeout_s)
        super().__init__(host, port, self._shared, self._connection, max_connections, tls, timeout_s)

    def _connection(self) -> Http2Connection:
        return Http2Connection(self._shared, asyncio.get_running_loop())

    async def end(self, grace_s: float) -> None:
        """Says goodbye to all clients, and cuts off those that are there after `grace_s`."""
        shared = self._shared
        self.close()
        for connection in list(shared.open):
            connection.go_away()
        await self.stop(grace_s)
        for connection in list(shared.open):
            connection.cut()
        if shared.open:
            with suppress(TimeoutError):
                await asyncio.wait_for(shared.deserted.wait(), FLUSH_S)
            for connection in list(shared.open):
                connection.transport.abort()
