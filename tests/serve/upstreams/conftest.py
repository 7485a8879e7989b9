"""Servers and executors, ended with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from serve.dispatcher import Dispatcher
from serve.executors.upstream import UpstreamExecutor
from serve.routing import VersionEntry
from tests.serve.tiny_versions import dispatcher_of, entry
from tests.serve.upstreams.servers import Upstream, version_of


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Upstream]]]:
    started: list[Upstream] = []

    async def start(dispatcher: Dispatcher | None = None) -> Upstream:
        started.append(await Upstream(dispatcher or dispatcher_of(entry())).start())
        return started[-1]

    yield start
    for each in started:
        await each.stop()


@pytest.fixture
async def executors() -> AsyncIterator[Callable[..., Awaitable[UpstreamExecutor]]]:
    made: list[UpstreamExecutor] = []

    async def make(*addresses: str, entry: VersionEntry | None = None, **options: Any) -> UpstreamExecutor:
        executor = UpstreamExecutor(entry or version_of(*addresses, **options))
        made.append(executor)
        await executor.reconnect()
        return executor

    yield make
    for executor in made:
        await executor.close()
