"""The signals that end a gateway."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StopSignal:
    """SIGINT and SIGTERM as an event; a second one ends the process at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.install()

    def install(self) -> None:
        """Takes the signals over; again when somebody else did, as Ray does when it is imported and when it starts."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()

    @property
    def came(self) -> bool:
        """Whether one came."""
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits at most `timeout_s` for one; whether it came."""
        return self._event.wait(timeout_s)
