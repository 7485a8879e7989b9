"""The model deployment: one version's runtime behind a front door for gateways.

Batches come straight from gateways, on a local socket for those of the same node and on TCP for others. The replica
tells the controller where it listens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
import ray

from model_store.errors import InternalError
from serve.controller_link import ControllerLink, repeat
from serve.dialects.open_inference_replica import ReplicaService
from serve.dispatcher import Dispatcher
from serve.errors import presentable
from serve.executors.inline import build_inline_executor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.lanes import LoadedVersion
from serve.loading import load_version
from serve.logs import log_to_file
from serve.reports import ReplicaReport, deployment_text, failure_text
from serve.routing import ModelRoute, Replica, Router, RoutingTable, VersionEntry
from serve.store_policy import NO_POLICY, StorePolicy
from serve.watchdog import hang_of

log = logging.getLogger("onegate")

FAREWELL_S = 0.5
"""From the farewell to the end of accepting calls: time for gateways to hear of it. A call that still comes is sent
elsewhere by the gateway."""


class ModelSettings(msgspec.Struct, frozen=True):
    """What a replica is started with. `host` is the address for other nodes: loopback when there are none."""

    store: str
    entry: VersionEntry
    secret: str
    host: str
    grace_s: float
    log_file: str | None = None
    policy: StorePolicy = NO_POLICY


class Model:
    """One model replica."""

    async def __init__(self, settings: ModelSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        log_to_file(settings.log_file, f"{settings.entry.key[0]}-v{settings.entry.key[1]}")
        self._settings = settings
        self._hung = False
        self._link = ControllerLink()
        context = ray.get_runtime_context()
        replica_id = f"{context.get_actor_id()}-{os.getpid()}"
        self._replica = Replica(replica_id, context.get_node_id(), f"unix-abstract:onegate-{replica_id}", "")
        try:
            await self._load()
        except Exception as error:
            await self._tell(failure=failure_text(presentable(error)))
            raise
        self._heartbeat = asyncio.get_running_loop().create_task(repeat("heartbeat", self._beat))

    async def _load(self) -> None:
        # The gateway has waited for more rows already, and has its own cache: here nothing waits, nothing is kept, and
        # the version is run as a gateway runs one of its own.
        batching = msgspec.structs.replace(self._settings.entry.serve.batching, max_delay_ms=0)
        serve = msgspec.structs.replace(self._settings.entry.serve, executor="inline", batching=batching, cache_mib=0)
        entry = msgspec.structs.replace(self._settings.entry, serve=serve)
        with tempfile.TemporaryDirectory(prefix="onegate-model-") as folder:
            settings = self._settings
            runtime = await asyncio.to_thread(load_version, settings.store, entry, Path(folder), settings.policy)
        executor = self._executor = await asyncio.to_thread(
            build_inline_executor, runtime, entry.manifest, batching.max_batch_size
        )
        name, version = entry.key
        table = RoutingTable(1, self._settings.store, (entry,), {name: ModelRoute(((version, 100),))})
        dispatcher = Dispatcher(Router(table))
        self._version = dispatcher.loaded[entry.key] = LoadedVersion(entry, executor)
        # An abstract socket leaves no file behind when the process is killed; the secret guards it.
        self._service = ReplicaService(dispatcher.answer)
        self._door = ReplicaFrontDoor(self._service, self._settings.secret)
        _, port = await self._door.start([self._replica.local, f"{self._settings.host}:0"])
        self._replica = msgspec.structs.replace(self._replica, remote=f"{self._settings.host}:{port}")

    async def _beat(self) -> None:
        self._service.forget_dropped()
        await self._tell()

    async def _tell(self, failure: str | None = None, leaving: bool = False) -> None:
        entry = self._settings.entry
        await self._link.report_replica(
            ReplicaReport(self._replica, entry.key, deployment_text(entry), failure, leaving)
        )

    async def check_health(self) -> None:
        """Ray Serve's health check: raises, and the replica is replaced, when the runtime hangs."""
        hang = hang_of(self._settings.entry, self._executor)
        if hang is None and not self._hung:
            return
        if not self._hung:
            self._hung = True
            log.error("a replica hangs and is replaced: %s", hang)
            self._heartbeat.cancel()
            # The batch that hangs is answered with that, so that no other replica gets it; what waits goes elsewhere.
            self._version.give_up(hang or "")
            with suppress(Exception):
                await self._tell(leaving=True)
            await self._door.stop(FAREWELL_S)
        raise InternalError(hang or "the replica hung and is being replaced")

    async def __del__(self) -> None:
        """Ray Serve awaits this when the replica is to stop: out of the routing table first, then calls end."""
        if not hasattr(self, "_heartbeat") or self._hung:
            return
        self._heartbeat.cancel()
        try:
            await self._tell(leaving=True)
            await asyncio.sleep(FAREWELL_S)
        except Exception:
            log.info("the controller was gone before the replica's farewell")
        await self._door.stop(self._settings.grace_s)
        await self._executor.close()
