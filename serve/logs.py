"""Log lines of all processes, brought to the standard error of `up`.

Ray keeps what workers print in files of its session. onegate's own lines go to one file that every process of the node
appends to and that `up` follows: a line never waits for a reader, as it would in a pipe. `up` puts the file aside when
it is full, in place of the one before, so that the two never hold more than about twice `MAX_FILE_BYTES`. Of several
nodes, the lines go to standard error and, the newest of them, to the controller with the heartbeats.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

from serve.log_format import TEXT_LOG, LogStyle, request_ids
from serve.log_lines import MAX_TEXT, LogLine

FOLLOW_S = 0.5

MAX_FILE_BYTES = 8 * 2**20
"""From which on the log file is full."""

MAX_UNTOLD_LINES = 500
"""Of a process, while the controller does not listen; the oldest go."""

_UNSTAMPED = logging.Formatter("%(message)s")


class UntoldLines(logging.Handler):
    """The newest lines of this process that the controller has not been told of."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who
        self._lines: deque[LogLine] = deque(maxlen=MAX_UNTOLD_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the line."""
        try:
            text = _UNSTAMPED.format(record)[:MAX_TEXT]
            if id := request_ids():
                text = f"{text} (request {id})"
        except Exception:
            self.handleError(record)
            return
        self._lines.append(LogLine(record.created, record.levelname, self._who, text))

    def lines(self) -> tuple[LogLine, ...]:
        """What there is to tell."""
        return tuple(self._lines)

    def note_told(self, lines: tuple[LogLine, ...]) -> None:
        """These have reached the controller."""
        told = set(map(id, lines))
        # Others may have come meanwhile, and pushed some of these out.
        while self._lines and id(self._lines[0]) in told:
            self._lines.popleft()


def log_to_file(path: str | None, who: str, style: LogStyle = TEXT_LOG) -> UntoldLines:
    """Sends the lines of this process's `onegate` logger to `path`; without one they go to standard error, as ever, and
    into what is returned, which otherwise stays empty.

    `who` names the process in each line; `style` says what they look like, and which are written.
    """
    logger = logging.getLogger("onegate")
    # Opened anew when the file was put aside.
    handler = logging.StreamHandler() if path is None else WatchedFileHandler(path, delay=True)
    handler.setFormatter(style.formatter(who))
    untold = UntoldLines(who)
    logger.handlers[:] = [handler, untold] if path is None else [handler]
    logger.propagate = False
    logger.setLevel(style.number)
    return untold


def aside(path: Path) -> Path:
    """Where a full log file lies until the next one is full."""
    return path.with_name(f"{path.name}.1")


@contextmanager
def followed(path: Path) -> Iterator[None]:
    """Copies what is appended to `path` to standard error until the end of the block."""
    path.touch()
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, ended), name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(path: Path, ended: threading.Event) -> None:
    lines: TextIO = path.open(errors="replace")
    before: TextIO | None = None
    try:
        last_look = False
        while True:
            if before is not None:
                _copy(before)
            _copy(lines)
            if last_look:
                return
            if os.fstat(lines.fileno()).st_size > MAX_FILE_BYTES:
                if before is not None:
                    before.close()
                # Who has it open writes a line more into it at most, which the next look finds.
                path.replace(aside(path))
                path.touch()
                lines, before = path.open(errors="replace"), lines
            last_look = ended.wait(FOLLOW_S)
    finally:
        for file in (before, lines):
            if file is not None:
                file.close()


def _copy(lines: TextIO) -> None:
    text = lines.read()
    if text:
        sys.stderr.write(text)
        sys.stderr.flush()
