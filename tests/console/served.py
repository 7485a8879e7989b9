"""The console over everything that a controller and a gateway do, without Ray: for browsers.

`python -m tests.console.served FOLDER` serves models in all states and prints a line of JSON with the addresses;
`--key` asks for keys, and knows none any more after SIGUSR1. It ends with its standard input. The metrics are recorded
ones, counted on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np

from model_store.manifest import Manifest
from model_store.store import Store
from serve.access import key_ring
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.key_calls import KeyCalls, NewKey
from serve.access.stored_keys import StoredKeys
from serve.config import Config
from serve.config_sections.access import AccessConfig
from serve.control.authority import described_comparison, described_state
from serve.control.desired import Change
from serve.control.history import History, history
from serve.control.management import Management
from serve.control.planned_edits import Plannable
from serve.control.stored_versions import stored_manifests
from serve.dialects.base import HttpReply
from serve.dialects.registry import http_dialects, management_dialects
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.handed_calls import HandedCall, answered
from serve.inference import Answer, InferenceRequest, Query
from serve.operations import ModelList, Operation
from serve.rollouts.guarding import Guarding
from serve.rollouts.observations import Observatory, decoded
from tests.console.recorded_metrics import metrics_reply
from tests.e2e.running import free_ports
from tests.serve.administered import Administered, administered, converted
from tests.serve.waiting import eventually

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
CIFAR: dict[str, Any] = {
    "name": "cifar",
    "source": str(QUICKSTART / "cifar"),
    "inputs": [{"name": "data", "datatype": "FP32", "shape": [-1, 3, 32, 32]}],
    "processor": {
        "type": "image",
        "scale": 1 / 255,
        "mean": [0.4914, 0.4822, 0.4465],
        "std": [0.2023, 0.1994, 0.201],
        "softmax": True,
        "top": 3,
    },
    "labels": str(QUICKSTART / "cifar-labels.txt"),
}
"""The quickstart's model that takes pictures."""

MAX_BODY_BYTES = 16 << 20
LONGEST_NAME = "a-model-with-the-longest-name-that-there-can-be-" + "0123456789" * 15 + "ab"
START_S = 90.0
CALLS_S = 0.05


class Authority:
    """What the controller is to its management port, over desired state in this process."""

    def __init__(self, it: Administered, door: HttpFrontDoor, keys: StoredKeys) -> None:
        self._it = it
        self._door = door
        self._observatory = Observatory()
        self._keys = KeyCalls(it.store, keys.look)
        self.guarding = Guarding(it.desired, it.administration.answer, self._observatory.total)

    async def observe(self) -> None:
        """Hears what the gateway has counted, as heartbeats bring it."""
        while True:
            table = self._it.fleet.table
            self._observatory.follow(table.number, table.routes)
            report = self._it.dispatcher.observer.report()
            self._observatory.hear("g", self._it.dispatcher.router.table.number, decoded(report))
            await asyncio.sleep(0.3)

    def state(self) -> dict[str, Any]:
        return described_state(self._it.desired, self._it.fleet)

    def comparison(self, model: str) -> dict[str, Any]:
        return described_comparison(model, self._it.desired, self._it.fleet, self._observatory)

    async def plan(self, config: Config) -> list[Change]:
        return await self._it.desired.plan(config)

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        return await self._it.desired.apply(config, generation)

    async def change(self, operation: Operation) -> ModelList:
        return await self._it.administration.answer(operation)

    async def plan_change(self, operation: Plannable) -> list[Change]:
        return await self._it.administration.plan(operation)

    async def history(self, model: str | None, limit: int) -> History:
        return await asyncio.to_thread(history, self._it.store, model, limit)

    async def manifests(self, model: str, version: int | None, limit: int) -> list[Manifest]:
        return await asyncio.to_thread(stored_manifests, self._it.store, model, version, limit)

    async def keys(self) -> list[dict[str, Any]]:
        return await self._keys.listed()

    async def create_key(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        return await self._keys.create(caller, asked)

    async def revoke_key(self, caller: Caller | None, id: str) -> dict[str, Any]:
        return await self._keys.revoke(caller, id)

    async def hand_on(self, call: HandedCall) -> HttpReply:
        return await answered(self._door, call)

    def request_shutdown(self) -> None:
        sys.exit(0)

    async def answer(self, query: Query) -> Answer:
        """What management calls of dialects ask."""
        assert isinstance(query, Operation)
        return await self._it.administration.answer(query)


class WithMetrics(Management):
    """The management port with `/metrics`."""

    async def answer(self, request: Any) -> HttpReply:
        if request.path == "/metrics":
            if request.caller is not None and "metrics" not in request.caller.grants.scopes:
                return HttpReply(403, b'{"error": "the call needs the scope metrics"}')
            return metrics_reply(time.time())
        return await super().answer(request)


def models(folder: Path, crowd: int) -> list[dict[str, Any]]:
    """One model for each thing that the console shows; `crowd` more that fail."""
    first, second = (converted(folder, n, "shared", "compared", "stepped", LONGEST_NAME) for n in (1, 2))
    for n in (1, -1):
        converted(folder, n, "returned")
    return [
        CIFAR,
        {"name": "digits", "source": str(QUICKSTART / "digits-mlp.onnx")},
        {
            "name": "shared",
            "versions": [
                {"source": first, "label": "stable", "traffic": 90},
                {"source": second, "label": "canary", "traffic": 10},
            ],
        },
        {"name": "compared", "versions": [{"source": first, "traffic": 100}, {"source": second, "shadow": True}]},
        {"name": "stepped", "source": first},
        {"name": "returned", "source": first},
        {"name": "broken", "source": str(_damaged(folder))},
        {"name": LONGEST_NAME, "source": second},
        *({"name": f"crowd-{n:03}", "source": str(folder / f"absent-{n}.onnx")} for n in range(crowd)),
    ]


def _damaged(folder: Path) -> Path:
    file = folder / "damaged.onnx"
    shutil.copyfile(QUICKSTART / "digits-mlp.onnx", file)
    file.write_bytes(file.read_bytes()[:2000])
    return file


async def serve(folder: Path, crowd: int, with_keys: bool) -> None:
    """Until standard input ends."""
    listed = models(folder, crowd)
    port, http, grpc = free_ports(3)
    gateway = {"http_port": http, "grpc_port": grpc, "management_port": port}
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(administered(folder, *listed, gateway=gateway))
        guard, said = _guard(it.store) if with_keys else (None, {})
        keys = StoredKeys(it.store, lambda found: None if guard is None else guard.take_over(found))
        await keys.look()
        door = HttpFrontDoor(http_dialects("torchserve"), it.dispatcher.answer, MAX_BODY_BYTES, guard=guard)
        authority = Authority(it, door, keys)
        managed = HttpFrontDoor(management_dialects("torchserve"), authority.answer, MAX_BODY_BYTES, guard=guard)
        listener = HttpListener(WithMetrics(authority, managed, guard), "127.0.0.1", port)
        listener.start()
        if guard is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, guard.take_over, ())
        stack.push_async_callback(listener.stop)
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(each) for each in (authority.observe(), authority.guarding.run(), _calls(it))]
            await _settled(it)
            await _roll_out(it, folder)
            print(json.dumps({"management": f"http://127.0.0.1:{port}", "longest": LONGEST_NAME} | said), flush=True)
            await asyncio.to_thread(sys.stdin.read)
            for loop in loops:
                loop.cancel()


def _guard(store: Store) -> tuple[Guard, dict[str, str]]:
    scopes = {"key": ("ada", ("view", "manage", "infer", "metrics")), "viewer": ("grace", ("view",))}
    said = {word: key_ring.create(store, name, allowed)[1] for word, (name, allowed) in scopes.items()}
    return Guard(AccessConfig(anonymous=[])), said


async def _settled(it: Administered) -> None:
    await eventually(lambda: bool(it.dispatcher.loaded) and not it.desired.gathered.progress, START_S)


async def _roll_out(it: Administered, folder: Path) -> None:
    """One rollout that stays under way, and one of a version that answers otherwise, which the guard sends back."""
    bounds = {"min_requests": 10, "max_disagreement": 0.01, "compare_percent": 100}
    rollouts = {
        "stepped": ("2.onnx", {"steps": [10, 50, 100], "step_s": 3600}),
        "returned": ("-1.onnx", {"steps": [50, 100], "step_s": 0} | bounds),
    }
    # A busy machine is no reason to go back here.
    patient = {"max_latency_ratio": 1000}
    document = it.desired.config.document()
    for model in document["models"]:
        if model["name"] in rollouts:
            file, rollout = rollouts[model["name"]]
            model |= {"source": str(folder / file), "rollout": rollout | patient}
    await it.desired.apply(Config.model_validate(document))
    await eventually(lambda: list(it.desired.rollouts.under_way) == ["stepped"], START_S)
    await eventually(lambda: [each["state"] for each in it.desired.rollouts.all_last_told()] == ["went back"], START_S)


async def _calls(it: Administered) -> None:
    """A little traffic, so that there is something to compare."""
    random = np.random.default_rng(1)
    while True:
        for name in ("shared", "compared", "stepped", "returned"):
            if it.dispatcher.router.table.routes.get(name):
                x = random.random((2, 2), np.float32)
                await it.dispatcher.infer(InferenceRequest(name, inputs={"x": x}))
        await asyncio.sleep(CALLS_S)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crowd", type=int, default=0)
    parser.add_argument("--key", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.folder, arguments.crowd, arguments.key))


if __name__ == "__main__":
    main()
