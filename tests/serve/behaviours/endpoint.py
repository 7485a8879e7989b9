"""The endpoint that the table of behaviours is run against: every dialect of a gateway on real sockets, one dispatcher.

It holds five models. `double` works and is called by version 3; `busy` has a full queue, `slow` is never run,
`crashing` raises what no client may read, and `damaged` of the config could not be loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from model_store.errors import Forbidden
from serve.dialects.registry import ModelServer, grpc_services, http_dialects
from serve.dispatcher import Dispatcher
from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import Answer, InferenceRequest, Payload, Query, Tensors, deadline_after
from serve.lanes import LoadedVersion
from serve.operations import Operation
from serve.router import Router
from serve.routing import Batching, ModelRoute, RoutingTable, VersionEntry
from serve.runtimes.processing import ProcessingRuntime
from tests.e2e.running import free_ports
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, double, entry
from tests.serve.waiting import eventually

MAX_BODY_BYTES = 2000
SECRET = "/srv/secret/weights"


@dataclass(frozen=True)
class Endpoint:
    """Ports: HTTP with the answers of TorchServe and of MXNet Model Server, where the two differ, and gRPC."""

    torchserve: int
    mms: int
    grpc: int


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """An endpoint as a gateway opens it, with `management_on_endpoint` off."""
    dispatcher = _dispatcher()

    async def answer(query: Query) -> Answer:
        if isinstance(query, Operation):
            raise Forbidden("calls that manage models answer on the management port")
        return await dispatcher.answer(query)

    waiting = await _fill_queues(dispatcher)
    torchserve, mms = free_ports(2)
    manners: list[tuple[int, ModelServer]] = [(torchserve, "torchserve"), (mms, "mms")]
    listeners = [
        HttpListener(HttpFrontDoor(http_dialects(manner), answer, MAX_BODY_BYTES), "127.0.0.1", port)
        for port, manner in manners
    ]
    grpc_door = GrpcFrontDoor(grpc_services(), answer, max_message_bytes=MAX_BODY_BYTES)
    for listener in listeners:
        listener.start()
    (grpc_port,) = await grpc_door.start(["127.0.0.1:0"])
    try:
        yield Endpoint(torchserve, mms, grpc_port)
    finally:
        for task in waiting:
            task.cancel()
        for listener in listeners:
            await listener.stop()
        await grpc_door.stop(0)
        for loaded in dispatcher.loaded.values():
            await loaded.executor.close()


def _crash(inputs: Tensors) -> Tensors:
    raise FileNotFoundError(2, "No such file or directory", SECRET)


def _dispatcher() -> Dispatcher:
    entries = {
        "double": entry("double", 3),
        "busy": entry("busy", batching=Batching(max_queue=1)),
        "slow": entry("slow", deadline_ms=20),
        "crashing": entry("crashing"),
    }
    executors: dict[str, ClosableExecutor] = {
        "double": _inline(double, entries["double"]),
        "busy": GatedExecutor(slots=0),
        "slow": GatedExecutor(slots=0),
        "crashing": _inline(_crash, entries["crashing"]),
    }
    routes = {name: ModelRoute(((each.key[1], 100),)) for name, each in entries.items()}
    table = RoutingTable(1, "./store", tuple(entries.values()), routes, {"damaged": "its source is damaged"})
    dispatcher = Dispatcher(Router(table))
    for name, each in entries.items():
        dispatcher.loaded[each.key] = LoadedVersion(each, executors[name])
    return dispatcher


def _inline(function: Callable[[Tensors], Tensors], version: VersionEntry) -> InlineExecutor:
    runtime = ProcessingRuntime(FunctionRuntime(function), version.manifest, threads=1)
    return InlineExecutor(runtime, on_loop=True)


async def _fill_queues(dispatcher: Dispatcher) -> list[asyncio.Task[Answer]]:
    """One row waits in the queue of each of `busy`'s signatures, and no more may."""
    row, far = np.ones((1, 2), np.float32), deadline_after(600)
    requests = [
        InferenceRequest("busy", inputs={"x": row}, deadline=far),
        InferenceRequest("busy", signature="payload", payload=Payload(b"[1, 2]", "application/json"), deadline=far),
    ]
    waiting = [asyncio.ensure_future(dispatcher.answer(request)) for request in requests]
    loaded = dispatcher.loaded["busy", 1]
    queues = [loaded.lane(None).queue, loaded.lane("payload").queue]
    await eventually(lambda: all(queue.waiting_rows == 1 for queue in queues))
    return waiting
