"""The process of a handler, seen from its replica: start, one batch at a time, limits in time, end.

It gets a private folder, a nearly empty environment and a process group of its own. It talks over a socket pair
(`handler_child/onegate_handler/frames.py`); what it writes to standard output and error goes to the log. That contains
accidents; it is no jail for code that a user chose to trust.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import site
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from model_store.errors import DeadlineExceeded, InternalError, ModelNotReady, OnegateError
from serve.handler_child.onegate_handler.frames import Channel

log = logging.getLogger("onegate")

MODULES = Path(__file__).resolve().parent.parent / "handler_child"
BOOTSTRAP = "import sys; sys.path[0] = sys.argv[1]; from onegate_handler.main import main; main(int(sys.argv[2]))"
"""In the place of the working folder, where an archive may have files that are called as modules of Python."""
POLL_S = 0.1
GRACE_S = 2.0
"""How long a handler that is idle has to end by itself."""
LONGEST_LINE = 4096
"""Bytes of a line that reach the log; the rest of it is dropped."""
PASSED_ON = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "TZ",
    "SSL_CERT_FILE",
    "PYTHONHASHSEED",
)
"""Variables of the replica that its handler gets; anything else might be a secret."""

Reply = tuple[dict[str, Any], list[bytes]]


@dataclass(frozen=True)
class HandlerCommand:
    """How a handler is started: by `python`, with `folder` as its home and `start` as its first message.

    `label` names it in the log.
    """

    python: str
    folder: Path
    start: dict[str, Any]
    label: str
    threads: int = 1
    start_timeout_s: float = 120.0


class HandlerProcess:
    """One running child, which answers batches from when it is loaded.

    Raises `ModelNotReady` when its Python can't be started.
    """

    def __init__(self, command: HandlerCommand) -> None:
        self._command = command
        self._timeout_s = self._ends = 0.0
        self._last_words: deque[str] = deque(maxlen=1)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._child = _spawn(command, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        self._readers = [
            self._follow(self._child.stdout, logging.INFO),
            self._follow(self._child.stderr, logging.WARNING),
        ]
        ours.settimeout(POLL_S)
        self._socket = ours
        self._channel = Channel(ours, self._check)

    @property
    def pid(self) -> int:
        """The child's process id, which is its group's too."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._child.poll() is None

    def load(self) -> None:
        """Has the child load its handler; raises `ModelNotReady`, with the handler's own error, when that fails."""
        command = self._command
        try:
            answer, _ = self.exchange(command.start, (), command.start_timeout_s)
        except OnegateError as error:
            self.end()
            raise ModelNotReady(f"{command.label}: the handler did not start: {self._told(error)}") from error
        if answer["kind"] == "failed":
            self.end()
            raise ModelNotReady(f"{command.label}: the handler can't be loaded: {answer['text']}")

    def exchange(self, header: dict[str, Any], blobs: Sequence[bytes], timeout_s: float) -> Reply:
        """Sends a message and waits for its answer.

        Raises `DeadlineExceeded` after `timeout_s` seconds and `InternalError` with `exit_code` (negative: a signal;
        None: unknown) among the details when the process ends; it is of no more use then.
        """
        self._timeout_s, self._ends = timeout_s, time.monotonic() + timeout_s
        try:
            self._channel.send(header, blobs)
            return self._channel.receive()
        except (OSError, EOFError, ValueError) as error:
            raise self._died(error) from error

    def end(self, grace_s: float = 0.0) -> None:
        """Ends it with all processes that it started; one that is idle may leave by itself within `grace_s`."""
        with contextlib.suppress(OSError):
            # Not closed yet: another thread may wait on it, and its number must not go to another file meanwhile.
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if grace_s:
                self._child.wait(timeout=grace_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        for reader in self._readers:
            reader.join(timeout=1)
        self._socket.close()
        assert self._child.stdin is not None
        self._child.stdin.close()

    def _told(self, error: OnegateError) -> str:
        words = "".join(self._last_words)
        return f"{error.message}; its last words: {words[:300]}" if words else error.message

    def _check(self) -> None:
        """Called several times a second while the child is waited for."""
        if time.monotonic() > self._ends:
            raise DeadlineExceeded(f"no answer within {self._timeout_s:g} s; its process is ended")
        if self._child.poll() is not None:
            # A process that the handler started may hold the socket open.
            raise EOFError

    def _died(self, error: Exception) -> InternalError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=GRACE_S)
        code = self._child.returncode
        if code is None:
            return InternalError(f"its process sent something unreadable: {error!r}", exit_code=None)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return InternalError(f"its process ended with {how}", exit_code=code)

    def _follow(self, stream: IO[bytes] | None, level: int) -> threading.Thread:
        assert stream is not None
        thread = threading.Thread(target=self._read_lines, args=(stream, level), name="handler-log", daemon=True)
        thread.start()
        return thread

    def _read_lines(self, stream: IO[bytes], level: int) -> None:
        with stream:
            begins = True
            while part := stream.readline(LONGEST_LINE):
                text = part.decode(errors="replace").rstrip()
                if text and begins:
                    log.log(level, "%s: %s", self._command.label, text)
                    if level == logging.WARNING:
                        self._last_words.append(text.strip())
                begins = part.endswith(b"\n")


def _spawn(command: HandlerCommand, channel_fd: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [command.python, "-c", BOOTSTRAP, str(MODULES), str(channel_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=command.start["model_dir"],
            env=_environment(command),
            pass_fds=(channel_fd,),
            start_new_session=True,
        )
    except OSError as error:
        raise ModelNotReady(f"{command.label}: {command.python!r} can't be started: {error.strerror}") from error


def _environment(command: HandlerCommand) -> dict[str, str]:
    folder = str(command.folder)
    environment = {
        "PATH": os.pathsep.join((os.path.dirname(command.python), os.defpath)),
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": str(command.threads),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    if site.ENABLE_USER_SITE:
        # HOME moves, so packages that a user installed under it must be named.
        environment["PYTHONUSERBASE"] = site.getuserbase()
    return environment | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
