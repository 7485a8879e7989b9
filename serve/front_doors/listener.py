"""A listening socket of the gateway: accepts connections, keeps their time, and ends them without a loss.

Sockets are bound with SO_REUSEPORT, so that several gateway replicas of a node share the port; whoever starts the first
one has to make sure that no stranger listens there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from serve.front_doors.tls import Tls
from serve.front_doors.tls_handshake import TlsHandshake

log = logging.getLogger("onegate")

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
"""Then requests have their turn."""

FULL_S = 1.0
"""How long nothing is accepted when the process has no file descriptor left."""

FAREWELL_S = 0.1
"""What a client has sent when the listener stops, and no one has read, is read within this time."""


class Connection(Protocol):
    """A client's, as the listener sees it."""

    def look(self) -> None:
        """Called once a tick: ends what has taken too long."""

    def close_if_idle(self) -> None:
        """Closes a connection that has no request to answer."""


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """What the connections of a listener share. Times are counted in ticks of `tick_s` seconds, a quarter of the
    shortest of `limits_s` or less."""

    def __init__(self, on_close: Callable[[], None], *limits_s: float) -> None:
        self._on_close = on_close
        self.tick_s = max(0.02, min(1.0, *(limit_s / 4 for limit_s in limits_s)))
        self.tick = 0
        self.draining = False
        self.open: set[C] = set()
        """Those that have not ended."""
        self.handshakes: set[TlsHandshake] = set()
        """Clients that are not let in yet, of a port with TLS."""

    def is_late(self, since: int, limit_s: float) -> bool:
        """Whether more than `limit_s` have passed since that tick."""
        return (self.tick - since) * self.tick_s > limit_s

    def closed(self, connection: C) -> None:
        """Called by a connection at its end."""
        self.open.discard(connection)
        self._on_close()


class Listener:
    """Makes a connection of each client, with `protocol`, from `start` to `stop`. Clients beyond `max_connections` wait
    to be accepted; connections call `freed` at their end. With `tls`, a client is let in within `handshake_timeout_s`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        connections: Connections[Any],
        protocol: Callable[[], asyncio.BaseProtocol],
        max_connections: int,
        tls: Tls | None = None,
        handshake_timeout_s: float = 60.0,
    ) -> None:
        self._address = (host, port)
        self._connections = connections
        self._tls = tls
        self._protocol = protocol
        if tls is not None:
            self._protocol = partial(TlsHandshake, tls, connections, handshake_timeout_s, protocol)
        self._max_connections = max_connections
        self._accepting: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._listens = False
        self._accepted = 0
        self._ticks: asyncio.Task[None] | None = None
        self._renewals: asyncio.Task[None] | None = None

    def start(self) -> int:
        """Opens the socket; returns its port. Raises `OSError` when it can't be bound."""
        listening = socket.socket(socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Accepted sockets have it of this one (tcp(7)); asyncio would set it only where the protocol was named.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listening.setblocking(False)
            listening.bind(self._address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._loop = asyncio.get_running_loop()
        self._ticks = self._loop.create_task(self._tick())
        if self._tls is not None:
            self._renewals = self._loop.create_task(self._tls.follow())
        self._listen()
        port: int = listening.getsockname()[1]
        return port

    def check(self) -> None:
        """Raises when the listener has ended on its own."""
        if self._ticks is not None and self._ticks.done():
            self._ticks.result()
            raise OSError(f"nobody listens on {self._address[0]}:{self._address[1]} any more")

    def close(self) -> None:
        """Takes no new connections from now on."""
        if self._socket is not None and not self._connections.draining:
            # What has been accepted by the kernel no one else will answer.
            self._accept()
            self._pause()
            self._socket.close()
            self._connections.draining = True

    async def stop(self, grace_s: float = math.inf) -> None:
        """Takes no new connections and returns when the requests under way are answered, or `grace_s` have passed."""
        shared = self._connections
        if self._socket is None:
            return
        self.close()
        end = self._loop.time() + grace_s
        await asyncio.gather(*self._accepting, return_exceptions=True)
        if shared.open or shared.handshakes:
            await asyncio.sleep(min(FAREWELL_S, grace_s))
        while (shared.open or shared.handshakes) and self._loop.time() < end:
            for connection in [*shared.handshakes, *shared.open]:
                connection.close_if_idle()
            await asyncio.sleep(min(shared.tick_s / 4, max(0.0, end - self._loop.time())))
        for handshake in list(shared.handshakes):
            handshake.abort()
        for task in (self._ticks, self._renewals):
            if task is not None:
                task.cancel()

    # -- connections -----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if not self._listens and self._socket is not None and not self._connections.draining:
            self._listens = True
            self._loop.add_reader(self._socket, self._accept)

    def _pause(self) -> None:
        if self._listens and self._socket is not None:
            self._listens = False
            self._loop.remove_reader(self._socket)

    def _accept(self) -> None:
        assert self._socket is not None
        for _ in range(ACCEPTED_AT_ONCE):
            if self._accepted >= self._max_connections:
                self._pause()
                return
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be accepted for %g s: %s", FULL_S, error)
                self._pause()
                self._loop.call_later(FULL_S, self._listen)
                return
            accepted.setblocking(False)
            self._accepted += 1
            task = self._loop.create_task(self._connect(accepted))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted)
        except OSError as error:
            log.debug("a client went away while it was accepted: %s", error)
            accepted.close()
            self.freed()

    def freed(self) -> None:
        """A connection has ended: there is room for another one."""
        self._accepted -= 1
        self._listen()

    # -- time ------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        shared = self._connections
        while True:
            self.begin_tick()
            for connection in [*shared.handshakes, *shared.open]:
                connection.look()
            await asyncio.sleep(shared.tick_s)
            shared.tick += 1

    def begin_tick(self) -> None:
        """Called once a tick, before any connection is looked at."""


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The other end's address as `HOST:PORT`; empty where it has none."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return ""
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
