"""How often, and how many at once, the calls of one key are taken. Per process; pure logic over a clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from model_store.errors import RateLimited

FULL_RETRY_S = 1.0


class Limits:
    """A bucket that fills with `rate_per_s` tokens and holds those of one second, at least one; and `concurrency`
    places. None is no limit. Keys of one name share theirs. As a context, it is entered for a call."""

    __slots__ = ("_at", "_clock", "_tokens", "concurrency", "rate_per_s", "under_way")

    def __init__(
        self,
        rate_per_s: float | None = None,
        concurrency: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate_per_s = rate_per_s
        self.concurrency = concurrency
        self.under_way = 0
        self._clock = clock
        self._tokens = self._size()
        self._at = clock()

    def check(self) -> None:
        """Raises `RateLimited` where `enter` would now; takes nothing."""
        if self.rate_per_s is not None:
            self._fill(self.rate_per_s)
            if self._tokens < 1:
                raise RateLimited(
                    f"the key admits {self.rate_per_s:g} calls a second; try again later",
                    retry_after_s=(1 - self._tokens) / self.rate_per_s,
                )
        if self.concurrency is not None and self.under_way >= self.concurrency:
            raise RateLimited(
                f"{self.under_way} calls of the key are under way, as many as it admits; try again later",
                retry_after_s=FULL_RETRY_S,
            )

    def enter(self) -> None:
        """A call begins; raises `RateLimited`."""
        self.check()
        self._tokens -= 1
        self.under_way += 1

    def leave(self) -> None:
        """A call has ended."""
        self.under_way -= 1

    __enter__ = enter

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _size(self) -> float:
        return max(1.0, self.rate_per_s or 0.0)

    def _fill(self, rate_per_s: float) -> None:
        now = self._clock()
        self._tokens = min(self._size(), self._tokens + (now - self._at) * rate_per_s)
        self._at = now
