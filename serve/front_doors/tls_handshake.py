"""The beginning of a connection with TLS: until the handshake is done, the application does not hear of it.

Behind it `tls_transport.py` stands between the socket and the application.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from serve.front_doors.tls import Tls
from serve.front_doors.tls_transport import TlsTransport

if TYPE_CHECKING:
    from serve.front_doors.listener import Connections

log = logging.getLogger("onegate")

LINGER_S = 2.0
"""How long a client may take to read why it is refused; and to end a handshake when the listener stops."""

_NOT_TLS = b'{"error":"this port speaks TLS: its address begins with https://"}'
_NOT_TLS_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_NOT_TLS), _NOT_TLS)
)


class TlsHandshake(asyncio.BufferedProtocol):
    """One client's. It has `timeout_s` in all, however it spends them; `protocol` makes the application's side."""

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_protocol",
        "_raw",
        "_refused",
        "_shared",
        "_since",
        "_ssl",
        "_timeout_s",
        "_tls",
    )

    def __init__(
        self, tls: Tls, shared: Connections[Any], timeout_s: float, protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._tls = tls
        self._shared = shared
        self._timeout_s = timeout_s
        self._protocol = protocol
        self._since = shared.tick
        self._refused = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._raw: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        # uvloop's transports are of no class that asyncio knows.
        self._raw = cast(asyncio.Transport, transport)
        self._shared.handshakes.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """It has gone before it was let in."""
        self._shared.handshakes.discard(self)
        self._shared.closed(self)

    def eof_received(self) -> None:
        """The connection is closed."""

    def pause_writing(self) -> None:
        """A handshake is small: nothing waits."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._tls.buffer

    def buffer_updated(self, count: int) -> None:
        """Bytes have come."""
        if self._refused:
            return
        self._incoming.write(self._tls.buffer[:count])
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._raw.write(self._outgoing.read())
        except ssl.SSLError as error:
            self._refuse(error)
        else:
            self._let_in()

    def _let_in(self) -> None:
        self._shared.handshakes.discard(self)
        # The application's protocols are buffered, all of them.
        application = cast(asyncio.BufferedProtocol, self._protocol())
        transport = TlsTransport(self._raw, self._ssl, self._incoming, self._outgoing, self._tls.buffer, application)
        self._raw.set_protocol(transport)
        transport.begin()

    def _refuse(self, error: ssl.SSLError) -> None:
        log.debug("a client was refused in the TLS handshake: %s", error)
        self._refused = True
        self._since = self._shared.tick
        self._raw.write(_NOT_TLS_REPLY if error.reason == "HTTP_REQUEST" else self._outgoing.read())
        # Closed at once, with bytes unread, the kernel would take the reason away from the client.
        self._raw.write_eof()

    # -- time ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Called once a tick: ends what has taken too long."""
        if self._shared.is_late(self._since, LINGER_S if self._refused else self._timeout_s):
            self._raw.abort()

    def close_if_idle(self) -> None:
        """Called when the listener stops: whoever is about to ask something may still do so."""
        if self._shared.is_late(self._since, LINGER_S):
            self._raw.abort()

    def abort(self) -> None:
        """Ends at once."""
        self._raw.abort()
