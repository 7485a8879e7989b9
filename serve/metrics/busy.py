"""The share of the time in which something was busy, between one look and the next."""

from __future__ import annotations

import time
from collections.abc import Callable


class BusyShare:
    """Begins when it is made. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = clock()
        self._busy_s = 0.0

    def since_last(self, busy_s: float) -> float:
        """The share since the last look, 0 to 1; `busy_s` is how long it has been busy in all."""
        now = self._clock()
        passed_s, busy_s_before = now - self._looked_at, self._busy_s
        self._looked_at, self._busy_s = now, busy_s
        return min(max((busy_s - busy_s_before) / passed_s, 0.0), 1.0) if passed_s > 0 else 0.0
