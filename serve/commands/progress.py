"""A line that says what is going on, where standard error is a terminal; silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text


class Progress:
    """From the first `show` to `end` the line stays in place; it may begin again later."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None

    def show(self, text: str) -> None:
        """Says `text` instead of what was said before."""
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        # As it is: of a str rich would take what stands in brackets for markup.
        self._status.update(Text(text))

    def end(self) -> None:
        """Takes the line away."""
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
