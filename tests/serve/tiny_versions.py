"""Versions small enough to serve in a test: manifests, a runtime that doubles, a dispatcher that holds both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from model_store.manifest import Manifest, Signature, TensorSpec
from serve.dispatcher import Dispatcher
from serve.executors.base import ClosableExecutor
from serve.executors.inline import InlineExecutor
from serve.inference import Tensors
from serve.lanes import LoadedVersion
from serve.router import Router
from serve.routing import Batching, ModelRoute, Replica, RoutingTable, ServeOptions, VersionEntry

X = TensorSpec("x", "FP32", (-1, 2))
Y = TensorSpec("y", "FP32", (-1, 2))


def manifest(
    name: str = "double",
    version: int = 1,
    inputs: Sequence[TensorSpec] = (X,),
    outputs: Sequence[TensorSpec] = (Y,),
    *,
    row_independent: bool = True,
) -> Manifest:
    return Manifest(
        name=name,
        version=version,
        key=f"{name}-{version}",
        created="2026-01-02T03:04:05+00:00",
        framework="onnx",
        source_digest="0" * 64,
        source_name=f"{name}.onnx",
        runtime="onnx",
        files={},
        signatures={"serving_default": Signature(tuple(inputs), tuple(outputs))},
        row_independent=row_independent,
    )


def entry(
    name: str = "double",
    version: int = 1,
    executor: str = "inline",
    *,
    replicas: tuple[Replica, ...] = (),
    batching: Batching | None = None,
    deadline_ms: int = 30_000,
    **described: Any,
) -> VersionEntry:
    serve = ServeOptions(executor=executor, batching=batching or Batching(), deadline_ms=deadline_ms)
    return VersionEntry(manifest(name, version, **described), serve, replicas)


def double(inputs: Tensors) -> Tensors:
    return {"y": inputs["x"] * 2}


class FunctionRuntime:
    """A runtime around a function of the batch; it remembers how many rows each batch had."""

    def __init__(self, function: Callable[[Tensors], Tensors] = double) -> None:
        self._function = function
        self.batches: list[int] = []

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        self.batches.append(len(next(iter(inputs.values()))))
        return self._function(inputs)


class GatedExecutor:
    """An executor whose batches are answered when the test opens the gate."""

    join = staticmethod(np.concatenate)
    idle = True

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.started = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors:
        self.started += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return double(inputs)

    async def close(self) -> None:
        pass


def dispatcher_of(
    *entries: VersionEntry, executor: ClosableExecutor | None = None, unavailable: dict[str, str] | None = None
) -> Dispatcher:
    """A dispatcher that holds `entries`, each with all calls of its model, on the loop unless `executor` says."""
    routes = {each.key[0]: ModelRoute(((each.key[1], 100),)) for each in entries}
    dispatcher = Dispatcher(Router(RoutingTable(1, "./store", entries, routes, unavailable or {})))
    for each in entries:
        runs = executor or InlineExecutor(FunctionRuntime(), on_loop=True)
        dispatcher.loaded[each.key] = LoadedVersion(each, runs)
    return dispatcher
