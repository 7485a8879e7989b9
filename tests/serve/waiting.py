"""Waiting for what tells nobody when it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""How long a test waits for what takes a moment: only one that fails waits as long, and a busy machine stalls for
seconds."""


async def eventually(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Returns when `condition` holds; raises `TimeoutError` when it does not come to."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the conditions are states of listeners and queues, without events
            await asyncio.sleep(0.005)


def before_long(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    """Whether `condition` comes to hold, for tests without an event loop."""
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()
