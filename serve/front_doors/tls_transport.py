"""What lies between a socket and an application when the connection has TLS: a protocol to the one, a transport to the
other.

asyncio and uvloop have such a thing too, and it is not used: neither tells how much a slow client has left unread, or
when to stop writing, and both can end only as a whole (decision 41).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

log = logging.getLogger("onegate")

ENCRYPTED_AT_ONCE = 256 * 1024
"""Bytes. The rest of a large answer stays as it is until the client has read so far."""

RECORD_BYTES = 16 * 1024
"""TLS encrypts as much as one piece, at most."""

Part = bytes | memoryview


class TlsTransport(asyncio.BufferedProtocol):
    """One connection's, from the end of its handshake on.

    To `application` it is a transport as those of the event loop are, in the methods that are here. `buffer` is where
    the socket writes; it is shared, and empty again after each call.
    """

    __slots__ = (
        "_application", "_backlog", "_backlog_bytes", "_buffer", "_closing", "_ends", "_incoming", "_outgoing", "_over",
        "_parted", "_paused", "_raw", "_reads", "_ssl", "_writable",
    )  # fmt: skip

    def __init__(
        self,
        raw: asyncio.Transport,
        ssl_object: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        buffer: memoryview,
        application: asyncio.BufferedProtocol,
    ) -> None:
        self._raw = raw
        self._ssl = ssl_object
        self._incoming = incoming
        self._outgoing = outgoing
        self._buffer = buffer
        self._application: asyncio.BufferedProtocol | None = application
        self._backlog: deque[memoryview] = deque()
        """What is not encrypted yet."""
        self._backlog_bytes = 0
        self._writable = True
        """The socket takes more."""
        self._paused = False
        """The application was told to write no more."""
        self._reads = True
        self._ends = False
        """Nothing is written after the backlog."""
        self._over = False
        """The client has said goodbye, or what is no TLS."""
        self._parted = False
        """The client was told that nothing more comes."""
        self._closing = False

    def begin(self) -> None:
        """Tells the application of the connection, and hands on what came with the end of the handshake."""
        assert self._application is not None
        self._application.connection_made(cast(asyncio.Transport, self))
        self._flush()
        self._read()

    # -- the socket's side -----------------------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone."""
        application, self._application = self._application, None
        self._closing = True
        self._backlog.clear()
        self._backlog_bytes = 0
        # Each held the other.
        assert application is not None
        application.connection_lost(error)

    def eof_received(self) -> bool:
        """The client has finished, with a goodbye or without: what it has asked for is framed, so that nothing can be
        cut off unseen."""
        self._finish()
        return True

    def pause_writing(self) -> None:
        """The client reads slower than it is answered."""
        self._writable = False
        self._pause()

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._writable = True
        self._send()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        """Bytes have come."""
        if self._closing or self._ends:
            return
        self._incoming.write(self._buffer[:count])
        self._read()

    def _read(self) -> None:
        """Hands on what can be decrypted, as long as the application wants it."""
        while self._reads and not (self._closing or self._ends) and self._has_unread():
            assert self._application is not None
            room = memoryview(self._application.get_buffer(-1))
            count = self._decrypt(room)
            if count:
                self._application.buffer_updated(count)
            if self._over:
                self._finish()
            if count < len(room):
                break
        # An answer of TLS itself, as to new keys.
        self._flush()

    def _has_unread(self) -> bool:
        return self._incoming.pending > 0 or self._ssl.pending() > 0

    def _decrypt(self, room: memoryview) -> int:
        """Fills `room` as far as it goes; returns how many bytes."""
        filled = 0
        try:
            while filled < len(room) and self._has_unread():
                # Each call reads a record, of 16 KiB at most. Typeshed knows of one kind of memory only.
                count = cast(int, self._ssl.read(len(room) - filled, room[filled:]))
                if not count:
                    self._over = True
                    break
                filled += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            log.debug("a connection is ended for what its client sent: %s", error)
            self._over = True
        return filled

    def _finish(self) -> None:
        if self._application is not None:
            self._application.eof_received()
        self.close()

    # -- the application's side ------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of the socket's own transport, and `ssl_object`."""
        return self._ssl if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """The application takes no more, and so the client is kept from sending."""
        self._reads = False
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """It goes on, soon."""
        if not self._reads and not self._raw.is_closing():
            self._reads = True
            self._raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def write(self, data: Part) -> None:
        """Sends `data`."""
        if self._backlog or not self._writable or len(data) > RECORD_BYTES:
            self.writelines((data,))
        elif data and not (self._closing or self._ends):
            self._encrypted(data)
            self._flush()

    def writelines(self, parts: Iterable[Part]) -> None:
        """Sends `parts`, which are left where they are until the client has made room."""
        if self._closing or self._ends:
            return
        for part in parts:
            if size := memoryview(part).nbytes:
                self._backlog.append(memoryview(part).cast("B"))
                self._backlog_bytes += size
        self._send()

    def get_write_buffer_size(self) -> int:
        """About how many bytes the client has left unread."""
        return self._raw.get_write_buffer_size() + self._backlog_bytes

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Says goodbye when all is sent; what the client still sends is passed over, until it leaves."""
        self._ends = True
        self._send()

    def is_closing(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closing or self._raw.is_closing()

    def close(self) -> None:
        """Reads no more, and ends when all is sent."""
        if not self._closing:
            self._closing = True
            if not self._raw.is_closing():
                self._raw.pause_reading()
            self._send()

    def abort(self) -> None:
        """Ends at once."""
        self._raw.abort()

    # -- out -------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Encrypts as much as the socket takes."""
        while self._backlog and self._writable and not self._raw.is_closing():
            self._encrypt()
            self._flush()
        if self._backlog or self._raw.is_closing():
            return
        if self._closing or self._ends:
            self._say_goodbye()
        elif self._paused and self._writable and self._application is not None:
            self._paused = False
            self._application.resume_writing()

    def _encrypt(self) -> None:
        left = ENCRYPTED_AT_ONCE
        while self._backlog and left > 0:
            part = self._backlog.popleft()
            # A record of it.
            count = self._encrypted(part[:left])
            if self._raw.is_closing():
                return
            if count < len(part):
                self._backlog.appendleft(part[count:])
            left -= count
            self._backlog_bytes -= count

    def _encrypted(self, part: Part) -> int:
        """Encrypts the beginning of `part`; returns how much. Behind what was no TLS, or an alert, nothing can be said
        any more: the connection ends."""
        try:
            return self._ssl.write(part)
        except ssl.SSLError as error:
            log.debug("a connection is ended that takes nothing more: %s", error)
            self._backlog.clear()
            self._backlog_bytes = 0
            self._raw.abort()
            return 0

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    def _pause(self) -> None:
        if not self._paused and self._application is not None:
            self._paused = True
            self._application.pause_writing()

    def _say_goodbye(self) -> None:
        """The client's own is not waited for (RFC 8446, section 6.1)."""
        if not self._parted:
            self._parted = True
            # OpenSSL would take what is unread for an answer.
            self._incoming.read()
            with suppress(ssl.SSLError):
                self._ssl.unwrap()
            self._flush()
        if self._closing:
            self._raw.close()
        else:
            self._raw.write_eof()
