"""A gateway's loader over a real store, with versions that a test publishes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from model_store.store import Store
from serve.dispatcher import Dispatcher
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.router import Router
from serve.routing import ModelRoute, Replica, RoutingTable, ServeOptions, VersionEntry
from serve.runtime_loading import load_version
from serve.runtimes.base import Runtime
from serve.store_policy import StorePolicy
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import eventually

SECRET = "the cluster's own"
V1, V2 = ("times", 1), ("times", 2)


class Gateway:
    """A store with versions that multiply by their own number, and a loader that follows tables."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(str(folder / "store"))
        self.folder = folder / "loaded"
        self.dispatcher = Dispatcher(Router())
        self.told: list[dict[Any, str]] = []
        self.news = 0
        self.loader = VersionLoader(self.dispatcher, self.folder, "here", SECRET, self._tell)
        self._source = folder
        self._number = 0

    def _tell(self) -> None:
        self.news += 1
        if self.told[-1:] != [self.loader.states]:
            self.told.append(dict(self.loader.states))

    def publish(self, factor: int) -> VersionEntry:
        graph = helper.make_graph(
            [
                helper.make_node(
                    "Constant", [], ["f"], value=helper.make_tensor("f", TensorProto.FLOAT, [], [float(factor)])
                ),
                helper.make_node("Mul", ["x", "f"], ["y"]),
            ],
            "times",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        )
        file = self._source / f"{factor}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
        described = msgspec.structs.replace(manifest("times", 0), key=f"key-{factor}")
        return VersionEntry(self.store.publish(described, {"model.onnx": file}), ServeOptions("inline"))

    def follow(self, *entries: VersionEntry, route: int | None = None) -> None:
        self._number += 1
        routes = {"times": ModelRoute(((route, 100),))} if route else {}
        self.loader.follow(RoutingTable(self._number, self.store.url, entries, routes))

    async def states(self, expected: dict[Any, str]) -> None:
        await eventually(lambda: self.loader.states == expected)

    async def answer(self, version: int | None = None) -> float:
        request = InferenceRequest("times", version and str(version), inputs={"x": np.ones((1, 2), np.float32)})
        response = await self.dispatcher.infer(request)
        assert response.outputs is not None
        return float(response.outputs["y"][0, 0])


def blob_of(store: Store, entry: VersionEntry) -> Path:
    """The stored file of a version's model, to be damaged."""
    (found,) = Path(store.url).rglob(entry.manifest.files["model.onnx"].sha256)
    found.chmod(0o644)
    return found


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[Gateway]:
    """A gateway whose loader has nothing left to do at the end."""
    gateway = Gateway(folder)
    yield gateway
    # A version may be ready while tasks of tables that came in between have still to find that nothing is left to do.
    await eventually(lambda: not gateway.loader._tasks)


def held_up(allowed: threading.Event, loads: list[int] | None = None) -> Callable[..., Runtime]:
    """`load_version` that waits to be allowed, and notes the CPUs of what it loads."""

    def load(store_url: str, entry: VersionEntry, folder: Path, policy: StorePolicy) -> Runtime:
        if loads is not None:
            loads.append(entry.serve.cpus)
        assert allowed.wait(5)
        return load_version(store_url, entry, folder, policy=policy)

    return load


def run_as(published: VersionEntry, executor: str, *replicas: Replica, cpus: int = 1) -> VersionEntry:
    return msgspec.structs.replace(published, serve=ServeOptions(executor, cpus=cpus), replicas=replicas)
