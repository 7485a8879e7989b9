"""The listening socket of an HTTP endpoint."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

from serve.access_log import AccessLog
from serve.front_doors.http_connection import HttpConnection
from serve.front_doors.http_connections import HttpApplication, HttpConnections
from serve.front_doors.listener import Listener
from serve.front_doors.tls import Tls


class HttpListener(Listener):
    """Serves `application` in this event loop, from `start` to `stop`.

    Connections beyond `max_connections` wait to be accepted. One whose request's headers do not arrive within
    `header_timeout_s`, or that stays idle for as long, is closed; a body that takes longer than `body_timeout_s` is
    given up, and so are a client that does not read its reply for so long and, with `tls`, a handshake.
    Each request that ends is noted in `access_log`, where there is one.
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
        tls: Tls | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._shared = HttpConnections(
            application,
            self.freed,
            header_timeout_s=header_timeout_s,
            body_timeout_s=body_timeout_s,
            access_log=access_log,
        )
        super().__init__(host, port, self._shared, self._connection, max_connections, tls, body_timeout_s)

    def _connection(self) -> HttpConnection:
        return HttpConnection(self._shared, asyncio.get_running_loop())

    def begin_tick(self) -> None:
        """The header `Date` of this second (RFC 9110, section 6.6.1)."""
        self._shared.date = f"date: {formatdate(usegmt=True)}\r\n"
