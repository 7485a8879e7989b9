"""The model deployment: one version's runtime behind a front door for gateways.

Batches come straight from gateways, on a local socket for those of the same node and on TCP for others. The replica
tells the controller where it listens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from functools import partial
from pathlib import Path

import msgspec
import ray

from model_store.errors import InternalError, ModelNotReady
from serve.controller_link import CONTROLLER_APP, ControllerLink, repeat
from serve.cuda import find_gpus
from serve.devices import CPU, Device, Gpu, choose_device
from serve.dialects.open_inference_replica import ReplicaService
from serve.dispatcher import Dispatcher
from serve.errors import presentable
from serve.executors.inline import build_inline_executor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.lanes import LoadedVersion
from serve.log_format import TEXT_LOG, LogStyle
from serve.logs import log_to_file
from serve.memory import used_bytes
from serve.metrics.busy import BusyShare
from serve.metrics.gpus import GpuWatch
from serve.reports import ReplicaReport, deployment_text, failure_text
from serve.router import Router
from serve.routing import ModelRoute, Replica, RoutingTable, VersionEntry
from serve.runtime_loading import load_version
from serve.runtimes.base import try_device
from serve.store_policy import NO_POLICY, StorePolicy
from serve.watchdog import hang_of

log = logging.getLogger("onegate")

LOOPBACK = "127.0.0.1"

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""By which Ray tells a process of its GPUs, and CUDA sees no others."""

FAREWELL_S = 0.5
"""From the farewell to the end of accepting calls: time for gateways to hear of it. A call that still comes is sent
elsewhere by the gateway."""


class ModelSettings(msgspec.Struct, frozen=True):
    """What a replica is started with. `nodes_may_join` says that Ray has, or may get, several nodes: where it has not,
    replicas listen on loopback only. `no_gpu` says why it was placed without the GPU that was asked for, if so."""

    store: str
    entry: VersionEntry
    secret: str
    grace_s: float
    log_file: str | None = None
    nodes_may_join: bool = False
    no_gpu: str | None = None
    controller_app: str = CONTROLLER_APP
    policy: StorePolicy = NO_POLICY
    log_style: LogStyle = TEXT_LOG


class Model:
    """One model replica."""

    async def __init__(self, settings: ModelSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        who = f"{settings.entry.key[0]}-v{settings.entry.key[1]}"
        self._untold = log_to_file(settings.log_file, who, settings.log_style)
        self._settings = settings
        self._hung = False
        self._link = ControllerLink(app=settings.controller_app)
        context = ray.get_runtime_context()
        replica_id = f"{context.get_actor_id()}-{os.getpid()}"
        self._replica = Replica(replica_id, context.get_node_id(), f"unix-abstract:onegate-{replica_id}", "")
        self._device = CPU
        self._busy = BusyShare()
        self._gpus: GpuWatch | None = None
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
        self._device = await asyncio.to_thread(self._choose_device)
        if self._device.kind != "cpu":
            self._gpus = await asyncio.to_thread(GpuWatch)
        with tempfile.TemporaryDirectory(prefix="onegate-model-") as folder:
            settings = self._settings
            runtime = await asyncio.to_thread(
                load_version, settings.store, entry, Path(folder), self._device, settings.policy
            )
        executor = self._executor = await asyncio.to_thread(
            build_inline_executor, runtime, entry.manifest, batching.max_batch_size, batching.preferred
        )
        name, version = entry.key
        table = RoutingTable(1, self._settings.store, (entry,), {name: ModelRoute(((version, 100),))})
        dispatcher = Dispatcher(Router(table))
        self._version = dispatcher.loaded[entry.key] = LoadedVersion(entry, executor)
        # An abstract socket leaves no file behind when the process is killed; the secret guards it.
        self._service = ReplicaService(dispatcher.answer)
        self._door = ReplicaFrontDoor(self._service, self._settings.secret)
        host = ray.util.get_node_ip_address() if self._settings.nodes_may_join else LOOPBACK
        _, port = await self._door.start([self._replica.local, f"{host}:0"])
        self._replica = msgspec.structs.replace(self._replica, remote=f"{host}:{port}")

    def _choose_device(self) -> Device:
        """Before any framework is loaded, which would take the GPUs that it sees."""
        entry = self._settings.entry
        asked, runtime = entry.serve.devices, entry.manifest.runtime
        # Ray leaves the variable alone where no GPU was asked for: all of the node's would be seen.
        visible = os.environ.get(VISIBLE, "") if asked.gpus and self._settings.no_gpu is None else ""
        device = choose_device(asked, runtime, self._find_gpus, partial(try_device, runtime), visible)
        if device.kind == "cpu":
            os.environ[VISIBLE] = ""
        return device

    def _find_gpus(self) -> tuple[Gpu, ...]:
        if self._settings.no_gpu is not None:
            raise ModelNotReady(self._settings.no_gpu)
        return find_gpus()

    async def _beat(self) -> None:
        self._service.forget_dropped()
        await self._tell(busy=self._busy.since_last(self._executor.busy_s))

    async def _tell(self, failure: str | None = None, leaving: bool = False, busy: float = 0.0) -> None:
        entry = self._settings.entry
        lines = self._untold.lines()
        report = ReplicaReport(
            self._replica,
            entry.key,
            deployment_text(entry),
            failure,
            leaving,
            self._device,
            busy,
            used_bytes(),
            () if self._gpus is None else await asyncio.to_thread(self._gpus.look),
            lines,
        )
        await self._link.report_replica(report)
        self._untold.note_told(lines)

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
            self._version.give_up(InternalError(hang or ""))
            await self._say_farewell(logging.WARNING)
            await self._door.stop(FAREWELL_S)
        raise InternalError(hang or "the replica hung and is being replaced")

    async def __del__(self) -> None:
        """Ray Serve awaits this when the replica is to stop: out of the routing table first, then calls end."""
        if not hasattr(self, "_heartbeat") or self._hung:
            return
        self._heartbeat.cancel()
        # When everything ends, the controller may be gone before: no reason to warn.
        if await self._say_farewell(logging.INFO):
            await asyncio.sleep(FAREWELL_S)
        await self._door.stop(self._settings.grace_s)
        await self._executor.close()

    async def _say_farewell(self, level: int) -> bool:
        """Whether the controller heard it; where not, a line of that level says why, and gateways find out by
        themselves."""
        try:
            await self._tell(leaving=True)
        except Exception as error:
            log.log(level, "a replica's farewell did not reach the controller, going on without it: %.300r", error)
            return False
        return True
