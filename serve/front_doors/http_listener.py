"""The listening socket of an HTTP endpoint: accepts connections, keeps their time, and ends them without a loss.

Sockets are bound with SO_REUSEPORT, so that several gateway replicas of a node share the port; whoever starts the first
one has to make sure that no stranger listens there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from email.utils import formatdate

from serve.front_doors.http_connection import Connections, HttpApplication, HttpConnection

log = logging.getLogger("onegate")

BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
"""Then requests have their turn."""

FULL_S = 1.0
"""How long nothing is accepted when the process has no file descriptor left."""

FAREWELL_S = 0.1
"""What a client has sent when the listener stops, and no one has read, is read within this time."""


class HttpListener:
    """Serves `application` in this event loop, from `start` to `stop`.

    Connections beyond `max_connections` wait to be accepted. One whose request's headers do not arrive within
    `header_timeout_s`, or that stays idle for as long, is closed; a body that takes longer than `body_timeout_s` is
    given up, and so is a client that does not read its reply for so long.
    """

    def __init__(
        self,
        application: HttpApplication,
        host: str,
        port: int,
        *,
        max_connections: int = 4096,
        header_timeout_s: float = 60.0,
        body_timeout_s: float = 60.0,
    ) -> None:
        self._address = (host, port)
        self._max_connections = max_connections
        self._connections = Connections(
            application, self._freed, header_timeout_s=header_timeout_s, body_timeout_s=body_timeout_s
        )
        self._accepting: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._listens = False
        self._accepted = 0
        self._ticks: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Opens the socket; raises `OSError` when it can't be bound."""
        listening = socket.socket(socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.setblocking(False)
            listening.bind(self._address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._loop = asyncio.get_running_loop()
        self._ticks = self._loop.create_task(self._tick())
        self._listen()

    def check(self) -> None:
        """Raises when the listener has ended on its own."""
        if self._ticks is not None and self._ticks.done():
            self._ticks.result()
            raise OSError(f"nobody listens on {self._address[0]}:{self._address[1]} any more")

    async def stop(self) -> None:
        """Takes no new connections and returns when the requests under way are answered."""
        shared = self._connections
        if self._socket is None:
            return
        self._accept()
        self._pause()
        self._socket.close()
        shared.draining = True
        await asyncio.gather(*self._accepting, return_exceptions=True)
        if shared.open:
            await asyncio.sleep(FAREWELL_S)
        while shared.open:
            for connection in list(shared.open):
                connection.close_if_idle()
            await asyncio.sleep(shared.tick_s / 4)
        assert self._ticks is not None
        self._ticks.cancel()

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
            await self._loop.connect_accepted_socket(lambda: HttpConnection(self._connections, self._loop), accepted)
        except OSError as error:
            log.debug("a client went away while it was accepted: %s", error)
            accepted.close()
            self._freed()

    def _freed(self) -> None:
        self._accepted -= 1
        self._listen()

    # -- time ------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        shared = self._connections
        while True:
            # RFC 9110, section 6.6.1.
            shared.date = f"date: {formatdate(usegmt=True)}\r\n"
            for connection in list(shared.open):
                connection.look()
            await asyncio.sleep(shared.tick_s)
            shared.tick += 1
