"""Clients that take their time."""

from __future__ import annotations

import asyncio
import time


async def read_for_a_second(reader: asyncio.StreamReader, size: int) -> None:
    """Reads `size` bytes at least, at an even pace that takes a second; fails where the server gives up meanwhile."""
    begin, got_bytes = time.monotonic(), 0
    while got_bytes < size:
        got = await reader.read(1 << 20)
        assert got, "given up"
        got_bytes += len(got)
        await asyncio.sleep(max(0, begin + got_bytes / size - time.monotonic()))
