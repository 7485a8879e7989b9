"""Log lines of all processes, brought to the standard error of `up`.

Ray keeps what workers print in files of its session. onegate's own lines go to one file that every process of the node
appends to and that `up` follows: a line never waits for a reader, as it would in a pipe.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.log_format import TEXT_LOG, LogStyle

FOLLOW_S = 0.5


def log_to_file(path: str | None, who: str, style: LogStyle = TEXT_LOG) -> None:
    """Sends the lines of this process's `onegate` logger to `path`; without one they go to standard error, as ever.

    `who` names the process in each line; `style` says what they look like, and which are written.
    """
    logger = logging.getLogger("onegate")
    handler = logging.StreamHandler() if path is None else logging.FileHandler(path, delay=True)
    handler.setFormatter(style.formatter(who))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(style.number)


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
    with path.open(errors="replace") as lines:
        last_look = False
        while True:
            text = lines.read()
            if text:
                sys.stderr.write(text)
                sys.stderr.flush()
            if last_look:
                return
            last_look = ended.wait(FOLLOW_S)
