"""Every test here runs on both event loops: a gateway lives on uvloop, and where that is not installed on asyncio's.

A gRPC service to call by HTTP/2, which has to be there still when the test is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.serve.event_loops import LOOPS
from tests.serve.front_doors.http2_bytes import call
from tests.serve.front_doors.http2_service import Served, serving
from tests.serve.front_doors.http2_wire import Wire, greeted


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS


@pytest.fixture
async def served(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Served]:
    """The service. Whatever a test does to it: others are served afterwards, and nothing is logged as a defect."""
    async with serving() as served:
        yield served
        async with greeted(served.port) as other:
            other.send(call(1, b"still there"))
            assert (await other.answer(1)).messages == [b"still there"]
    assert [each.getMessage() for each in caplog.get_records("call") if each.levelno >= logging.WARNING] == []


@pytest.fixture
async def wire(served: Served) -> AsyncIterator[Wire]:
    """A connection to it that is ready for calls."""
    async with greeted(served.port) as wire:
        yield wire
