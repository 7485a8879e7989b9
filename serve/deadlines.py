"""Keeps the deadlines of a queue's requests: one timer a queue, set only while something is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from serve.waiting import Waiting


class DeadlineWatch:
    """Calls `expire` with every one of `open_items()` whose deadline has passed.

    One timer for all of them, because a timer a request would cost more than a small model does.
    """

    __slots__ = ("_at", "_expire", "_loop", "_open_items", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        open_items: Callable[[], Iterable[Waiting]],
        expire: Callable[[Waiting], None],
    ) -> None:
        self._loop = loop
        self._open_items = open_items
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def note(self, deadline: float) -> None:
        """A request has come; its deadline may be earlier than all others."""
        if self._timer is not None and deadline < self._at:
            self._timer.cancel()
            self._timer = None
            self.keep()

    def keep(self) -> None:
        """To be called while something is open."""
        if self._timer is None and (items := list(self._open_items())):
            self._at = min(item.deadline for item in items)
            self._timer = self._loop.call_at(self._at, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for item in list(self._open_items()):
            if item.deadline <= now:
                self._expire(item)
        self.keep()
