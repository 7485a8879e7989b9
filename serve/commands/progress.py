"""A line that says what is going on, where standard error is a terminal; elsewhere silence, or a line now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

QUIET_S = 10.0
"""Between two lines of a log, which keeps them all."""


class Progress:
    """From the first `show` to `end` the line stays in place; it may begin again later.

    Where there is no terminal, `say` is told a text that is new: at once when it begins and then every `QUIET_S` at
    most. Without `say` nobody is told.
    """

    def __init__(self, say: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self._say = say
        self._clock = clock
        self._said = ""
        self._silent_until_s = -math.inf

    def show(self, text: str) -> None:
        """Says `text` instead of what was said before."""
        if not self._console.is_terminal:
            self._tell(text)
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        # As it is: of a str rich would take what stands in brackets for markup.
        self._status.update(Text(text))

    def _tell(self, text: str) -> None:
        now_s = self._clock()
        if self._say is not None and text != self._said and now_s >= self._silent_until_s:
            self._say(text)
            self._said, self._silent_until_s = text, now_s + QUIET_S

    def end(self) -> None:
        """Takes the line away. What comes after it is told at once."""
        self._silent_until_s = -math.inf
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress line for the block."""
    line = Progress()
    try:
        yield line
    finally:
        line.end()


def open_rows(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a state whose model is neither ready nor failed yet."""
    return [row for row in state["models"] if row["state"] in ("CONVERTING", "LOADING")]


def unsettled(state: dict[str, Any]) -> str | None:
    """What is still to come, in one line; None when every model is ready or failed and the gateway knows of it."""
    if rows := open_rows(state):
        return ", ".join(_row_text(row) for row in rows)
    return None if state["followed"] else "waiting for the gateway"


def _row_text(row: dict[str, Any]) -> str:
    details = [row["reason"]] if row["reason"] else []
    if row["executor"] == "replicas":
        details.insert(0, f"{row['replicas']['ready']} of {row['replicas']['wanted']} replicas")
    return f"{row['name']}: {row['state'].lower()}" + (f" ({'; '.join(details)})" if details else "")
