"""Desired state with a store, a fleet and one gateway in this process, and the administration over it: all but Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converters.base import detect
from converters.publish import conversion_key
from model_store import generations
from model_store.manifest import Profile
from model_store.sources import digest_source
from model_store.store import Store
from serve.config import Config
from serve.config_sections.model import ModelConfig
from serve.control.administration import Administration
from serve.control.desired_state import DesiredState
from serve.control.fleet import Fleet
from serve.control.preparation import conversion_options
from serve.dispatcher import Dispatcher
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.operations import ModelList, Operation
from serve.reports import GatewayReport
from serve.router import Router
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import PATIENCE_S

X = np.ones((1, 2), np.float32)


def export(file: Path, factor: float) -> Path:
    """An ONNX file that computes `y = x * factor`, x of shape [n, 2]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.full(2, factor, np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    return file


def convert(store: Store, source: str, *names: str) -> None:
    """Publishes what the conversion of an `export` gives, as a version of each model, without a process for it."""
    for name in names:
        options = conversion_options(ModelConfig.model_validate({"name": name, "source": source}))
        key = conversion_key(digest_source(Path(source)), detect(Path(source), None, trust=False), options)
        made = msgspec.structs.replace(manifest(name, 0), key=key, profile=Profile(0.1, 64, 0.2))
        store.publish(made, {"model.onnx": Path(source)})


def converted(folder: Path, factor: int, *names: str) -> str:
    """An `export` that is converted already, in the store of `administered` in that folder; returns its path."""
    source = str(export(folder / f"{factor}.onnx", factor))
    convert(Store.open(str(folder / "store")), source, *names)
    return source


class Administered:
    """What a controller and a gateway do for each other, without Ray in between. Without models it goes on with what an
    earlier one left in the store."""

    def __init__(self, folder: Path, *models: dict[str, Any], **keys: Any) -> None:
        self.folder = folder
        self.store = Store.open(str(folder / "store"))
        generation = None if models or keys else generations.newest(self.store)
        if generation is None:
            config = Config.model_validate({"store": self.store.url, "models": list(models), **keys})
            generation = generations.append(self.store, 1, config.document())
        self.fleet = Fleet(self.store.url, 100)
        self._changed = asyncio.Event()
        self.desired = DesiredState(self.store, self.fleet, generation, self._changed.set)
        self.administration = Administration(self.desired)
        self.dispatcher = Dispatcher(Router())
        self.loader = VersionLoader(self.dispatcher, folder / "loaded", "here", "secret")
        self.going = asyncio.Event()
        """Cleared, the fleet stands still."""
        self.follows = True
        """Whether the gateway takes new tables over."""
        self.going.set()

    async def do(self, operation: Operation) -> ModelList:
        async with asyncio.timeout(PATIENCE_S):
            return await self.administration.answer(operation)

    async def states(self, operation: Operation) -> dict[str, list[tuple[str, str]]]:
        """Versions and their states by model."""
        answer = await self.do(operation)
        return {each.model: [(version.version, version.state) for version in each.versions] for each in answer.models}

    async def call(self, model: str, version: str | None = None) -> float:
        """What the gateway answers to ones: the version's factor."""
        response = await self.dispatcher.infer(InferenceRequest(model, version, inputs={"x": X}))
        assert response.outputs is not None
        return float(response.outputs["y"][0, 0])

    def names(self) -> list[str]:
        """The models of desired state."""
        return [model.name for model in self.desired.config.models]

    async def run(self) -> None:
        """Heartbeats and steps, until it is cancelled."""
        while True:
            await self.going.wait()
            self.fleet.heard.hear_gateway(
                GatewayReport("g", self.dispatcher.router.table.number, dict(self.loader.states)), time.monotonic()
            )
            self.fleet.step(time.monotonic())
            self.desired.note_step()
            if self.follows and self.fleet.table.number > self.dispatcher.router.table.number:
                self.loader.follow(self.fleet.table)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def administered(folder: Path, *models: dict[str, Any], **keys: Any) -> AsyncIterator[Administered]:
    """One that runs for the block."""
    served = Administered(folder, *models, **keys)
    running = asyncio.get_running_loop().create_task(served.run())
    try:
        yield served
    finally:
        running.cancel()
        await served.desired.record.written()
        for version in list(served.dispatcher.loaded.values()):
            await version.executor.close()
