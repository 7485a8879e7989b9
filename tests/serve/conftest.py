"""A clock that only the test moves, ports that nobody listens on, and Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterator

import pytest


class ManualClock:
    """The running loop's clock, and the one of what is counted: they stand still until `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return round(self.now * 1e9)

    async def advance(self, seconds: float) -> None:
        """Lets everything run that needs no time, moves on, and lets run what is due then."""
        await self.settle()
        self.now += seconds
        await self.settle()

    async def settle(self) -> None:
        """Lets everything run that needs no time."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock.time)
    monkeypatch.setattr(time, "perf_counter_ns", clock.time_ns)
    return clock


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Processes that the test starts hear SIGINT, which shells have their background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
