"""The management port on a real socket, with a stand-in for the controller."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from model_store.errors import ModelNotFound
from model_store.manifest import Manifest
from serve.access.callers import Caller
from serve.access.key_calls import NewKey
from serve.caller import CALLER
from serve.config import Config
from serve.control.desired import Change
from serve.control.history import Entry, History
from serve.control.management import MAX_CONFIG_BYTES, Management
from serve.control.process_logs import WantedLines
from serve.dialects.base import HttpReply
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.handed_calls import HandedCall
from serve.inference import Answer, Query
from serve.operations import ModelList, ModelStatus, Operation, VersionStatus
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import eventually

CHANGES = [Change("digits", "add", ("/exports/digits.onnx: will be converted to a new version",))]
CONFIG = b'{"store": "/store", "models": [{"name": "digits", "source": "/exports/digits.onnx"}]}'


class Desired:
    """Stands for the controller: notes what it is asked."""

    def __init__(self) -> None:
        self.generation = 4
        self.planned: list[Config] = []
        self.applied: list[Config] = []
        self.made_from: int | None = None
        self.asked: list[Query] = []
        self.callers: list[str] = []
        self.histories: list[tuple[str | None, int]] = []
        self.planned_changes: list[Operation] = []
        self.listings: list[tuple[str, int | None, int]] = []
        self.handed: list[HandedCall] = []
        self.wanted_lines: list[WantedLines] = []
        self.stopping = False
        self.refusal: Exception | None = None

    def state(self) -> dict[str, Any]:
        return {"generation": self.generation, "models": []}

    def comparison(self, model: str) -> dict[str, Any]:
        if model != "digits":
            raise ModelNotFound(f"model {model!r} is not served here")
        return {"model": model, "versions": [], "comparisons": []}

    async def metrics(self) -> bytes:
        self._refuse()
        return b"onegate_gateways 1\n"

    async def plan(self, config: Config) -> list[Change]:
        self._refuse()
        self.planned.append(config)
        return CHANGES

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        self._refuse()
        self.made_from = generation
        self.applied.append(config)
        self.generation += 1
        return CHANGES

    async def change(self, operation: Operation) -> ModelList:
        self._refuse()
        self.callers.append(CALLER.get())
        self.asked.append(operation)
        return ModelList((ModelStatus("m", (VersionStatus(version="2", state="READY", traffic=100),)),))

    async def plan_change(self, operation: Operation) -> list[Change]:
        self._refuse()
        self.planned_changes.append(operation)
        return CHANGES

    async def manifests(self, model: str, version: int | None, limit: int) -> list[Manifest]:
        self.listings.append((model, version, limit))
        return [manifest(model, version or 1)]

    async def keys(self) -> list[dict[str, Any]]:
        return [{"name": "shop"}]

    async def create_key(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        return {"name": asked.name, "key": "og_a_b"}

    async def revoke_key(self, caller: Caller | None, id: str) -> dict[str, Any]:
        return {"revoked": [id]}

    async def hand_on(self, call: HandedCall) -> HttpReply:
        self._refuse()
        self.handed.append(call)
        return HttpReply(201, b'{"outputs": []}', [("content-type", "application/json")])

    async def history(self, model: str | None, limit: int) -> History:
        self.histories.append((model, limit))
        return History((Entry(4, "2026-01-02T03:04:05+00:00", "key:ada", "apply", ()),))

    async def logs(self, wanted: WantedLines) -> dict[str, Any]:
        self.wanted_lines.append(wanted)
        return {"lines": [], "next": 7, "epoch": 1}

    def request_shutdown(self) -> None:
        self.stopping = True

    async def answer(self, query: Query) -> Answer:
        """What dialects ask."""
        self.asked.append(query)
        self._refuse()
        return ModelList((ModelStatus("m", (VersionStatus(version="1", state="READY"),)),))

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


class Port:
    """The management port of a controller."""

    def __init__(self, desired: Desired, number: int) -> None:
        self.desired = desired
        self.number = number

    async def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and answer; `headers` replace those that Python's client sends."""

        def blocking() -> tuple[int, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", self.number, timeout=10)
            try:
                connection.request(method, path, body, headers)
                reply = connection.getresponse()
                assert reply.getheader("content-type") == "application/json"
                return reply.status, json.loads(reply.read())
            finally:
                connection.close()

        return await asyncio.to_thread(blocking)


@asynccontextmanager
async def listening(number: int) -> AsyncIterator[Port]:
    """A management port with that number."""
    desired = Desired()
    door = HttpFrontDoor([OpenInferenceHttp()], desired.answer, MAX_CONFIG_BYTES)
    listener = HttpListener(Management(desired, door), "127.0.0.1", number)
    listener.start()
    await eventually(lambda: _answers(number))
    yield Port(desired, number)
    await listener.stop()


def _answers(number: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", number, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True
