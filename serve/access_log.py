"""The access log: a line for each request of the endpoint, whatever it asks and however it ends.

The event loop only notes what there is to say. A thread makes the lines and writes them, many at once; what comes while
it can't keep up is dropped and counted, so that neither a slow disk nor a full one costs requests anything.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque

from serve.access_lines import Noted, json_line, text_line
from serve.asking import Asked
from serve.dialects.base import HttpRequest
from serve.log_format import LogStyle
from serve.request_record import RequestRecord

log = logging.getLogger("onegate")

PAUSE_S = 0.25

MAX_NOTED = 16_384
"""Requests whose lines are not written yet."""

LAST_S = 2.0
"""How long the last lines may take when the gateway ends."""

GONE = 499
"""The status of a request whose client has gone before the answer, as nginx writes it."""


class AccessLog:
    """From `start` to `close`. Lines are appended to the file at `path`, which may be moved away at any time; None is
    standard error."""

    def __init__(self, path: str | None, style: LogStyle, process: str) -> None:
        self._path = path
        self._is_json = style.format == "json"
        self._process = process
        self._noted: deque[Noted] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self.dropped = 0
        """Requests without a line."""
        self._told = 0
        self._losing = False

    def start(self) -> None:
        """Writes from now on."""
        self._thread.start()

    def note(
        self,
        asked: Asked,
        received_ns: int,
        *,
        bytes_in: int = 0,
        bytes_out: int = 0,
        caller: str = "",
        peer: str = "",
        record: RequestRecord | None = None,
    ) -> None:
        """A request has ended. `received_ns` is of `time.perf_counter_ns()`, 0 for one that never was whole."""
        if len(self._noted) >= MAX_NOTED:
            self.dropped += 1
            return
        took_ns = time.perf_counter_ns() - received_ns if received_ns else 0
        self._noted.append(Noted(asked, time.time(), took_ns, bytes_in, bytes_out, caller, peer, record))

    def note_http(self, request: HttpRequest | None, status: int, size: int, peer: str) -> None:
        """A request over HTTP has been answered with a body of `size` bytes, or its client has gone; None was no HTTP,
        and has nothing else to be told by."""
        if request is None:
            self.note(Asked(method="?", status=status), 0, bytes_out=size, peer=peer)
            return
        asked = request.asked or Asked(request.header, request.method, request.path)
        asked.status = status
        self.note(
            asked,
            request.received_ns,
            bytes_in=len(request.content),
            bytes_out=size,
            caller="" if request.caller is None else request.caller.name,
            peer=peer,
            record=request.record,
        )

    @property
    def noted(self) -> int:
        """Requests whose lines are not written yet."""
        return len(self._noted)

    def close(self) -> None:
        """Writes what there is, within `LAST_S`. Blocks."""
        self._ending.set()
        self._thread.join(LAST_S)

    def _run(self) -> None:
        while True:
            # Before the look: what came until it was set is written.
            ending = self._ending.is_set()
            self._write()
            if ending:
                return
            self._ending.wait(PAUSE_S)

    def _write(self) -> None:
        noted = self._noted
        lines = [self._line(noted.popleft()) for _ in range(len(noted))]
        if lines:
            try:
                self._append(b"\n".join((*lines, b"")))
            except OSError as error:
                self.dropped += len(lines)
                self._tell(f": {error}")
                return
        self._tell("")

    def _append(self, lines: bytes) -> None:
        if self._path is None:
            sys.stderr.write(lines.decode())
            sys.stderr.flush()
            return
        # Opened each time, so that the file may be moved away; others need not read who asked what.
        with open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(lines)

    def _line(self, noted: Noted) -> bytes:
        if self._is_json:
            return json_line(noted, self._process)
        return text_line(noted, self._process).encode(errors="replace")

    def _tell(self, why: str) -> None:
        if self.dropped > self._told and not self._losing:
            self._losing = True
            log.warning("lines of the access log are being lost%s", why or ": they come faster than they are written")
        elif self._losing and self.dropped == self._told:
            self._losing = False
            log.warning("the access log is written again; %s lines of it are lost", self.dropped)
        self._told = self.dropped
