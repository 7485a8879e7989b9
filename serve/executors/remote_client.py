"""One server that batches run on, as its executor counts it: a model replica, or an address of an upstream."""

from __future__ import annotations

import asyncio


class ServerGone(Exception):
    """The server does not answer calls, or does not any more: another one may. `begun` says that it had the batch, and
    may have been lost because of it."""

    def __init__(self, reason: str, *, begun: bool = False) -> None:
        super().__init__(reason)
        self.begun = begun


class RemoteClient:
    """One server as the executor counts it; `id` is its name in the log."""

    def __init__(self, id: str, *, same_node: bool = False) -> None:
        self.id = id
        self.same_node = same_node
        self.in_flight = 0
        self.failed = False
        self.reserved = False
        """Whether it is to run one batch only, or runs it."""
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """A call is about to be made: from now on it counts in `in_flight`, until `end`."""
        self.in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """The call is over, or was never made."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()

    async def until_idle(self) -> None:
        """Returns when no call is under way."""
        await self._idle.wait()

    def close(self) -> None:
        """Ends the connection for good; calls under way are cut."""

    async def close_when_idle(self) -> None:
        """Ends the connection when the calls under way have ended."""
        await self.until_idle()
        self.close()
