"""Streams whose every message has a reply, as the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from serve.front_doors.grpc_streams import Readers
from tests.serve.waiting import PATIENCE_S


async def _endless() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def _answer(message: bytes) -> bytes:
    return message


async def _write(reply: bytes) -> None:
    raise AssertionError


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_a_stream_that_begins_as_the_server_stops_ends(turns: int) -> None:
    readers = Readers()
    stream = asyncio.ensure_future(readers.in_order(_endless(), _answer, _write))
    for _ in range(turns):
        await asyncio.sleep(0)
    readers.stop()
    async with asyncio.timeout(PATIENCE_S):
        await stream
