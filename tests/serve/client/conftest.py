"""An endpoint with an HTTP and a gRPC port in front of the same models, and each way to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serve.dialects.registry import grpc_services, http_dialects
from serve.dispatcher import Dispatcher
from serve.executors.base import ClosableExecutor
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import Answer, Query
from serve.lanes import LoadedVersion
from serve.routing import ModelRoute, RoutingTable, VersionEntry
from tests.serve import served_models
from tests.serve.client.callers import WAYS, Caller, caller_of
from tests.serve.event_loops import LOOPS
from tests.serve.served_models import serving

MAX_BYTES = 4_000_000


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Who brings an event loop brings either."""
    ways = getattr(item, "callspec", None)
    if ways is not None and str(ways.params.get("way", "")).endswith(" async"):
        return LOOPS
    return {"asyncio": LOOPS["asyncio"]}


@dataclass
class Endpoint:
    http: str
    grpc: str
    dispatcher: Dispatcher
    asked: list[Any]
    """Inference requests, as they were decoded."""

    def add(self, new: VersionEntry, executor: ClosableExecutor) -> None:
        """One more version of a model, which gets all its calls."""
        name, version = new.key
        old = self.dispatcher.router.table
        routes = {**old.routes, name: ModelRoute(((version, 100),))}
        table = RoutingTable(old.number + 1, "./store", (*old.versions, new), routes, old.unavailable)
        self.dispatcher.router.update(table)
        self.dispatcher.loaded[new.key] = LoadedVersion(new, executor)

    def url(self, way: str) -> str:
        return self.http if way.startswith("http") else self.grpc


@pytest.fixture
async def endpoint(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    """The models of `serving`."""
    asked: list[Any] = []

    class Noting(Dispatcher):
        async def answer(self, query: Query) -> Answer:
            asked.append(query)
            return await super().answer(query)

    monkeypatch.setattr(served_models, "Dispatcher", Noting)
    async with serving(tmp_path, free_port, http_dialects("torchserve"), MAX_BYTES) as dispatcher:
        door = GrpcFrontDoor(grpc_services(), dispatcher.answer, max_message_bytes=MAX_BYTES)
        (port,) = await door.start(["127.0.0.1:0"])
        yield Endpoint(f"http://127.0.0.1:{free_port}", f"grpc://127.0.0.1:{port}", dispatcher, asked)
        await door.stop(0)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def caller(endpoint: Endpoint, way: str) -> AsyncIterator[Caller]:
    async with caller_of(way, endpoint.url(way)) as caller:
        yield caller
