"""The gateway deployment: front doors, dispatcher, and the loops that follow the controller.

Its replicas hold the listening sockets themselves; Ray Serve places, watches and restarts them and carries no request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import ray

from model_store.errors import Forbidden
from serve.access.guard import guard_of
from serve.access_log import AccessLog
from serve.config_sections.access import AccessConfig
from serve.controller_link import CONTROLLER_APP, ControllerLink, repeat
from serve.dialects.base import HttpReply
from serve.dialects.registry import ModelServer, grpc_services, http_dialects
from serve.dispatcher import Dispatcher
from serve.front_doors.cors import Cors
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_connections import HttpApplication
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import GRPC, HTTP, Tls
from serve.garbage import collect_rarely
from serve.handed_calls import HandedCall, answered
from serve.heartbeat import Heartbeat
from serve.inference import Answer, Query
from serve.loading import VersionLoader
from serve.log_format import TEXT_LOG, LogStyle
from serve.logs import log_to_file
from serve.metrics.ledger import NO_ESTATE
from serve.metrics.requests import RequestCounter
from serve.metrics.tally import Tally
from serve.operations import Operation
from serve.reports import GatewayReport, Heard
from serve.router import Router
from serve.store_policy import NO_POLICY, StorePolicy
from serve.tls_files import ServerFiles
from serve.tracing.settings import TracingSettings
from serve.tracing.tracer import Tracer

if TYPE_CHECKING:
    from serve.tracing.exporting import Exporting

log = logging.getLogger("onegate")

POLL_RETRY_S = 0.2

FIRST_KEYS_S = 5.0
"""How long a gateway that looks at keys waits for the first, before it listens."""


class GatewaySettings(msgspec.Struct, frozen=True):
    """What a gateway replica needs to know before it hears of any model. `secret` opens the model replicas."""

    host: str
    http_port: int
    grpc_port: int
    max_body_bytes: int
    drain_timeout_s: float
    secret: str
    management_on_endpoint: bool = False
    model_server: ModelServer = "torchserve"
    max_requests: int = 4096
    max_connections: int = 4096
    body_timeout_s: float = 60.0
    tls: ServerFiles | None = None
    cors_origins: tuple[str, ...] = ()
    model_memory_mib: int = 0
    log_file: str | None = None
    log_style: LogStyle = TEXT_LOG
    access_log: bool = False
    access_file: str | None = None
    tracing: TracingSettings | None = None
    access: AccessConfig = AccessConfig()
    controller_app: str = CONTROLLER_APP
    policy: StorePolicy = NO_POLICY


class Gateway:
    """One gateway replica. It lives on the event loop that Ray Serve gives it, sockets included."""

    async def __init__(self, settings: GatewaySettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        self._untold = log_to_file(settings.log_file, "gateway", settings.log_style)
        self._settings = settings
        context = ray.get_runtime_context()
        self._id = f"{context.get_actor_id()}-{os.getpid()}"
        self._node = context.get_node_id()
        self._folder = Path(tempfile.mkdtemp(prefix="onegate-gateway-"))
        self._dispatcher = dispatcher = Dispatcher(Router())
        self._counter = RequestCounter()
        self._tally = Tally(dispatcher.counted, dispatcher.loaded, self._counter.refusals)
        self._estate = NO_ESTATE
        self._heartbeat = Heartbeat()
        self._loader = VersionLoader(
            dispatcher,
            self._folder,
            self._node,
            settings.secret,
            self._heartbeat.note_news,
            settings.model_memory_mib * 2**20,
            settings.policy,
        )
        self._link = ControllerLink(app=settings.controller_app)
        self._epoch = -1
        self._tracer, self._traces = _traces(settings)
        if self._tracer is not None:
            self._counter.on_end = self._tracer.note
        self._access_log = _access_log(settings)
        self._guard = guard_of(settings.access)
        self._has_table = asyncio.Event()
        self._handed_door = self._http_door()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(repeat("heartbeat", self._report, pause_s=0)),
            loop.create_task(repeat("routing table", self._follow_table, pause_s=0)),
            loop.create_task(repeat("replicas", self._loader.reconnect)),
        ]
        if self._guard is not None:
            # Callers with keys go to other gateways meanwhile, and would be refused here.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_table.wait(), FIRST_KEYS_S)
        await self._open_doors()
        collect_rarely()

    async def _open_doors(self) -> None:
        settings = self._settings
        tls = settings.tls
        self._http = HttpListener(
            self._http_door(),
            settings.host,
            settings.http_port,
            max_connections=settings.max_connections,
            header_timeout_s=settings.body_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            tls=None if tls is None else Tls(tls, HTTP),
            access_log=self._access_log,
        )
        self._http.start()
        self._grpc = GrpcFrontDoor(
            grpc_services(),
            self._answer,
            max_message_bytes=settings.max_body_bytes,
            max_requests=settings.max_requests,
            max_connections=settings.max_connections,
            timeout_s=settings.body_timeout_s,
            guard=self._guard,
            tls=None if tls is None else Tls(tls, GRPC),
            recorder=self._counter,
            tracer=self._tracer,
            access_log=self._access_log,
        )
        await self._grpc.start([f"{settings.host}:{settings.grpc_port}"])

    def _http_door(self) -> HttpApplication:
        settings = self._settings
        door = HttpFrontDoor(
            http_dialects(settings.model_server),
            self._answer,
            settings.max_body_bytes,
            max_requests=settings.max_requests,
            regions=self._loader.regions,
            guard=self._guard,
            origins=settings.cors_origins,
            recorder=self._counter,
            tracer=self._tracer,
            tells_ids=settings.access_log,
        )
        return Cors(door, settings.cors_origins) if settings.cors_origins else door

    def _check_doors(self) -> None:
        """Raises when a listener has ended."""
        self._http.check()
        self._grpc.check()

    async def _close_doors(self, timeout_s: float) -> None:
        """Accepts nothing any more, and returns when what came in is answered."""
        await asyncio.gather(self._http.stop(), self._grpc.stop(timeout_s))

    async def answer_handed(self, call: HandedCall) -> HttpReply:
        """The reply to a call that the controller hands on."""
        return await answered(self._handed_door, call)

    def _answer(self, query: Query) -> Awaitable[Answer]:
        return self._administer(query) if isinstance(query, Operation) else self._dispatcher.answer(query)

    async def _administer(self, operation: Operation) -> Answer:
        if not self._settings.management_on_endpoint:
            raise Forbidden(
                "calls that manage models answer on the management port; `gateway: {management_on_endpoint: true}` "
                "in the config opens them here too"
            )
        return await self._link.administer(operation)

    async def _report(self) -> None:
        await self._heartbeat.due(len(self._loader.states))
        heard = await self._tell()
        if heard.epoch != self._epoch:
            # The whole table, and all that was counted, go only to a controller that does not know this gateway yet.
            self._tally.start_over()
            heard = await self._link.report_gateway(self._state(), self._dispatcher.router.table, self._estate)
            self._tally.arrived()
            self._epoch = heard.epoch
        if heard.estate is not None:
            self._estate = heard.estate

    async def _tell(self) -> Heard:
        table = self._dispatcher.router.table if self._epoch < 0 else None
        lines = self._untold.lines()
        heard = await self._link.report_gateway(msgspec.structs.replace(self._state(), lines=lines), table)
        self._untold.note_told(lines)
        self._tally.arrived()
        return heard

    def _state(self) -> GatewayReport:
        loader, dispatcher = self._loader, self._dispatcher
        return GatewayReport(
            self._id,
            dispatcher.router.table.number,
            dict(loader.states),
            loader.loads(),
            dispatcher.observer.report(),
            self._tally.report(),
            self._estate.number,
            self._node,
        )

    async def _follow_table(self) -> None:
        try:
            table = await self._link.next_table(self._dispatcher.router.table.number)
        except Exception:
            await asyncio.sleep(POLL_RETRY_S)
            raise
        if table.number > self._dispatcher.router.table.number:
            if self._guard is not None:
                self._guard.take_over(table.keys)
            self._loader.follow(table)
            self._has_table.set()

    async def check_health(self) -> None:
        """Ray Serve's health check: raises, and the replica is replaced, when the listener or a loop has ended."""
        self._check_doors()
        for loop in self._loops:
            if loop.done():
                loop.result()

    async def __del__(self) -> None:
        """Ray Serve awaits this when the replica is to stop: the last requests are answered first."""
        self._dispatcher.draining = True
        timeout_s = self._settings.drain_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(self._close_doors(timeout_s), self._loader.drain())
        except TimeoutError:
            log.warning("requests were still under way after %s s of draining", timeout_s)
        for loop in self._loops:
            loop.cancel()
        try:
            # What was counted since the last heartbeat.
            await self._tell()
            await self._link.goodbye_gateway(self._id)
        except Exception:
            log.info("the controller was gone before the gateway's goodbye")
        # What the last requests have left behind.
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in (self._traces, self._access_log) if each))
        shutil.rmtree(self._folder, ignore_errors=True)


def _traces(settings: GatewaySettings) -> tuple[Tracer | None, Exporting | None]:
    """What notes traces and what sends them; nothing where there are to be none."""
    tracing = settings.tracing
    if tracing is None:
        return None, None
    # Takes 0.3 s to import, and is there with an extra only.
    from serve.tracing.exporting import Exporting

    tracer = Tracer(tracing.sample, tracing.slow_ms)
    traces = Exporting(tracer, tracing)
    traces.start()
    return tracer, traces


def _access_log(settings: GatewaySettings) -> AccessLog | None:
    if not settings.access_log:
        return None
    access_log = AccessLog(settings.access_file or settings.log_file, settings.log_style, "gateway")
    access_log.start()
    return access_log
