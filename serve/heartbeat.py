"""When a gateway tells the controller how far it is: regularly, and soon after something changed.

Who manages models waits for what gateways report, so that news do not wait for the next beat.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from serve.reports import HEARTBEAT_S

SOON_S = 0.02
"""From news to the report of it: what comes together is told together."""

SOON_S_PER_VERSION = 0.0005
"""On top. Each report may bring about a new routing table, which takes longer the more versions there are."""


class Heartbeat:
    """One gateway's. The first beat is due at once."""

    def __init__(self, period_s: float = HEARTBEAT_S) -> None:
        self._period_s = period_s
        self._news = asyncio.Event()
        self._news.set()

    def note_news(self) -> None:
        """To be called when there is something new to tell."""
        self._news.set()

    async def due(self, versions: int) -> None:
        """Returns when a report on so many versions is to be made; what is noted from then on is for the next."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._period_s):
                await self._news.wait()
        await asyncio.sleep(min(self._period_s / 2, SOON_S + SOON_S_PER_VERSION * versions))
        self._news.clear()
