"""Keys of a terminal as they are pressed."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_SEQUENCES = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b": "escape"}


class Keyboard:
    """The keys of a terminal that hands on each at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pressed(self, timeout_s: float) -> list[str]:
        """What was pressed, waiting at most so long: letters, `up`, `down`, `escape`; end of file is `q`."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return []
        content = os.read(self._descriptor, 1024)
        if not content:
            return ["q"]
        if content.startswith(b"\x1b"):
            known = _SEQUENCES.get(content)
            return [known] if known else []
        return list(content.decode(errors="ignore"))


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Standard input for the block, put back as it was."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
