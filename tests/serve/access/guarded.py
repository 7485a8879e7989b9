"""Every port of a gateway and of its controller behind a guard, with nothing behind that: what is let in is told so."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model_store.access_keys import AccessKey, make_key
from model_store.errors import Unsupported
from model_store.manifest import Manifest
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.key_calls import NewKey
from serve.access.refused import RefusedCalls
from serve.config import Config
from serve.config_sections.access import AccessConfig
from serve.control.desired import Change
from serve.control.history import History
from serve.control.management import Management
from serve.control.process_logs import WantedLines
from serve.dialects.base import HttpReply
from serve.dialects.registry import grpc_services, http_dialects, management_dialects
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.handed_calls import HandedCall
from serve.inference import Answer, Query
from serve.operations import ModelList, Operation
from tests.e2e.running import free_ports

REACHED = "the call was let in"
SECRET = "the-secret-of-the-cluster"
MAX_BODY_BYTES = 1 << 20


class Nobody:
    """Stands for dispatcher, administration and controller."""

    def __init__(self) -> None:
        self.asked: list[Query] = []

    async def answer(self, query: Query) -> Answer:
        self.asked.append(query)
        raise Unsupported(REACHED)

    def state(self) -> dict[str, Any]:
        raise Unsupported(REACHED)

    def comparison(self, model: str) -> dict[str, Any]:
        raise Unsupported(REACHED)

    async def plan_change(self, operation: Operation) -> list[Change]:
        raise Unsupported(REACHED)

    async def manifests(self, model: str, version: int | None, limit: int) -> list[Manifest]:
        raise Unsupported(REACHED)

    async def keys(self) -> list[dict[str, Any]]:
        raise Unsupported(REACHED)

    async def create_key(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        raise Unsupported(REACHED)

    async def revoke_key(self, caller: Caller | None, id: str) -> dict[str, Any]:
        raise Unsupported(REACHED)

    async def hand_on(self, call: HandedCall) -> HttpReply:
        raise Unsupported(REACHED)

    async def metrics(self) -> bytes:
        raise Unsupported(REACHED)

    async def plan(self, config: Config) -> list[Change]:
        raise Unsupported(REACHED)

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        raise Unsupported(REACHED)

    async def change(self, operation: Operation) -> ModelList:
        raise Unsupported(REACHED)

    async def history(self, model: str | None, limit: int) -> History:
        raise Unsupported(REACHED)

    async def logs(self, wanted: WantedLines) -> dict[str, Any]:
        raise Unsupported(REACHED)

    def request_shutdown(self) -> None:
        raise Unsupported(REACHED)


class Keys:
    """Keys by their scopes, made when they are asked for."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._texts: dict[Any, str] = {}
        self.made: list[AccessKey] = []

    def key(self, *scopes: str, expired: bool = False, **limits: Any) -> str:
        """The text of a key with these scopes."""
        name = (scopes, expired, *limits.items())
        if name not in self._texts:
            expires = datetime.now(UTC) - timedelta(seconds=1) if expired else None
            made, self._texts[name] = make_key(f"k{len(self.made)}", scopes, expires=expires, **limits)
            self.made.append(made)
            self._guard.take_over(self.made)
        return self._texts[name]

    def revoke_all(self) -> None:
        self.made, self._texts = [], {}
        self._guard.take_over(())


@dataclass
class Ports:
    endpoint: int
    management: int
    grpc: int
    keys: Keys
    guard: Guard
    nobody: Nobody


@asynccontextmanager
async def guarded(
    anonymous: Iterable[str] = (),
    max_requests: int | None = None,
    refused: RefusedCalls | None = None,
    **access: Any,
) -> AsyncIterator[Ports]:
    """The ports, for callers of whom those without a key have the scopes `anonymous`."""
    nobody = Nobody()
    guard = Guard(AccessConfig(anonymous=list(anonymous), **access), SECRET)
    guard.take_over(())
    door = HttpFrontDoor(http_dialects("torchserve"), nobody.answer, MAX_BODY_BYTES, guard=guard)
    managed = HttpFrontDoor(management_dialects("torchserve"), nobody.answer, MAX_BODY_BYTES, guard=guard)
    grpc_door = GrpcFrontDoor(grpc_services(), nobody.answer, guard=guard, max_requests=max_requests)
    endpoint, management = free_ports(2)
    listeners = [
        HttpListener(door, "127.0.0.1", endpoint),
        HttpListener(Management(nobody, managed, guard, refused=refused), "127.0.0.1", management),
    ]
    for listener in listeners:
        listener.start()
    (port,) = await grpc_door.start(["127.0.0.1:0"])
    try:
        yield Ports(endpoint, management, port, Keys(guard), guard, nobody)
    finally:
        for listener in listeners:
            await listener.stop()
        await grpc_door.stop(0)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> str:
        return self.body.decode()


async def ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Iterable[tuple[str, str | bytes]] = ()
) -> Reply:
    """One request on a connection of its own; headers may come twice."""

    def blocking() -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.putrequest(method, path)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


def bearer(key: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {key}")]


def json_body(document: Any) -> bytes:
    return json.dumps(document).encode()
