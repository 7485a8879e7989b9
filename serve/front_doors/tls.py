"""The TLS of a listener: its context, and its files read again when they change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from model_store.errors import ConfigError
from serve.tls_files import ServerFiles, server_context

log = logging.getLogger("onegate")

READ_BYTES = 256 * 1024
"""Read at once, at most."""

LOOK_S = 5.0
"""How often it is looked whether a file has changed."""

HTTP = ("http/1.1",)
GRPC = ("h2",)
"""What clients have to ask for (RFC 9113, section 3.2): gRPC's own refuse a port that does not name it."""


class Tls:
    """Of one port. Raises `ConfigError` for files with which it can't be opened."""

    def __init__(self, files: ServerFiles, protocols: Sequence[str]) -> None:
        self._files = files
        self._protocols = protocols
        self._stamps = self._look()
        self.context = server_context(files, protocols)
        """For the next client; those that are there keep theirs."""
        self.buffer = memoryview(bytearray(READ_BYTES))
        """What the port's connections have read, one after the other."""

    async def follow(self) -> None:
        """Looks every `LOOK_S`, outside of the event loop: files may lie on a network."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Takes over files that have changed since the last look. What can't be used is logged, once, and the port goes
        on with what it has: certificate and key may be written one after the other."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self.context = server_context(self._files, self._protocols)
        except ConfigError as error:
            log.warning("%s; the port goes on with the certificate that it has", error)
        except Exception:
            log.exception("changed TLS files can't be taken over; the port goes on with the certificate that it has")
        else:
            log.info("%s: the port has new files", self._files.section)

    def _look(self) -> list[tuple[int, int, int] | None]:
        files = self._files
        return [_stamp(path) for path in (files.certificate, files.private_key, files.client_ca) if path is not None]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
