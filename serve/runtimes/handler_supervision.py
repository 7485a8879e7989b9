"""Keeps a handler's process there: one that dies or hangs is ended and started anew.

The first restart is at once, further ones without a batch answered in between wait longer each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from model_store.errors import DeadlineExceeded, InternalError, ModelNotReady, first_line
from serve.runtimes.handler_process import GRACE_S, HandlerCommand, HandlerProcess, Reply

log = logging.getLogger("onegate")

BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before the first restart, the second, ...; the last one from then on."""


class HandlerSupervisor:
    """The process of one handler, whichever it is at the moment. Calls from several threads are served in turn.

    Raises `ModelNotReady` when the handler can't be loaded at first.
    """

    def __init__(self, command: HandlerCommand) -> None:
        self._command = command
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._failures = 0
        self._process: HandlerProcess | None = None
        """The one that answers batches."""
        self._loading: HandlerProcess | None = None
        self._starting = False
        """Whether a batch should wait for a process: one is being loaded, or will be at once."""
        self._restart: threading.Thread | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """The id of the process that answers batches now; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def exchange(self, header: dict[str, Any], blobs: Sequence[bytes], timeout_s: float) -> Reply:
        """One message and its answer.

        Raises `DeadlineExceeded` or `InternalError` as `HandlerProcess.exchange` does, a new process being started
        then; `ModelNotReady` while there is none.
        """
        with self._turn:
            process = self._living()
            try:
                reply = process.exchange(header, blobs, timeout_s)
            except (DeadlineExceeded, InternalError) as error:
                self._replace(process, error.message)
                raise
            self._failures = 0
            return reply

    def close(self) -> None:
        """Ends the process for good; a batch that it has is lost."""
        self._closed.set()
        with self._changed:
            ended = [process for process in (self._process, self._loading) if process is not None]
            self._process, self._starting = None, False
            self._changed.notify_all()
        for process in ended:
            process.end(0.0 if self._turn.locked() else GRACE_S)
        if self._restart is not None:
            self._restart.join()

    def _living(self) -> HandlerProcess:
        process = self._process
        if process is not None and not process.alive:
            self._replace(process, "its process ended between two batches")
        with self._changed:
            # While the next trial is far the answer is no at once.
            self._changed.wait_for(lambda: not self._starting)
            if self._process is None:
                raise ModelNotReady(f"{self._command.label}: its process is down; it is started again before long")
            return self._process

    def _replace(self, process: HandlerProcess, why: str) -> None:
        process.end()
        with self._changed:
            self._process = None
            self._failures += 1
            if self._closed.is_set():
                return
            log.warning("%s: %s; a new one is started", self._command.label, why)
            self._starting = self._delay_s() == 0
            self._restart = threading.Thread(target=self._bring_up, name="handler-restart", daemon=True)
            self._restart.start()

    def _bring_up(self) -> None:
        while not self._closed.wait(self._delay_s()):
            try:
                self._start()
                return
            except Exception as error:
                log.warning("%s", first_line(error))
                self._failures += 1

    def _start(self) -> None:
        try:
            with self._changed:
                self._starting = True
                # Under the lock, so that `close` meets it.
                self._loading = None if self._closed.is_set() else HandlerProcess(self._command)
            if self._loading is not None:
                self._loading.load()
        except BaseException:
            self._loading = None
            raise
        finally:
            with self._changed:
                self._process, self._loading = None if self._closed.is_set() else self._loading, None
                self._starting = False
                self._changed.notify_all()

    def _delay_s(self) -> float:
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]
