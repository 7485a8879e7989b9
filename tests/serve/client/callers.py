"""The four clients that there are, called by tests in one way: `Client` in a thread, `AsyncClient` as it is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from serve.client import AsyncClient, Client

WAYS = ("http sync", "http async", "grpc sync", "grpc async")
OVER_HTTP = WAYS[:2]


class Caller:
    """A client, each of whose calls is awaited."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def infer(self, *given: Any, **named: Any) -> Any:
        return await self._call("infer", *given, **named)

    async def predict(self, *given: Any, **named: Any) -> Any:
        return await self._call("predict", *given, **named)

    async def model(self, *given: Any, **named: Any) -> Any:
        return await self._call("model", *given, **named)

    async def ready(self, *given: Any, **named: Any) -> Any:
        return await self._call("ready", *given, **named)

    async def close(self) -> None:
        await self._call("close")

    async def _call(self, name: str, *given: Any, **named: Any) -> Any:
        method = getattr(self.client, name)
        if inspect.iscoroutinefunction(method):
            return await method(*given, **named)
        return await asyncio.to_thread(method, *given, **named)


@asynccontextmanager
async def caller_of(way: str, url: str, **options: Any) -> AsyncIterator[Caller]:
    """The client of that way at `url`."""
    caller = Caller(Client(url, **options) if way.endswith(" sync") else AsyncClient(url, **options))
    try:
        yield caller
    finally:
        await caller.close()
