"""The controller deployment: the single authority over desired state.

Its parts are in `serve/control/`. It holds nothing that it cannot rebuild: desired state comes from the store
(`desired_state.py`), addresses, progress and load from the heartbeats of gateways and replicas. It moves versions
through their life (`fleet.py`), decides how many replicas they have (`scaling.py`) and keeps them (`deployer.py`),
hands out routing tables by long poll, answers operations (`administration.py`), and owns the management port.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial

import msgspec

from model_store import generations
from model_store.access_keys import AccessKey
from model_store.errors import OnegateError
from serve.access.audit import AuditedAdministration, AuditLog
from serve.access.guard import guard_of
from serve.access.key_calls import KeyCalls
from serve.access.refused import RefusedCalls
from serve.access.stored_keys import StoredKeys
from serve.caller import CALLER
from serve.control import deployments
from serve.control.administration import Administration
from serve.control.authority import ControllerAuthority
from serve.control.deployer import Deployer
from serve.control.desired_state import DesiredState
from serve.control.fleet import Fleet
from serve.control.gateways import GATEWAY_APP, GATEWAY_DEPLOYMENT, follow_nodes
from serve.control.management import Management
from serve.control.management_queries import Administers, ManagementQueries
from serve.control.process_logs import ProcessLogs
from serve.control.scaling import Scaler, scaled_versions
from serve.control.state import called_versions
from serve.control.store_following import StoreFollowing
from serve.controller_link import CONTROLLER_APP, LONG_POLL_S
from serve.dialects.registry import management_dialects
from serve.errors import presentable
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from serve.handed_calls import GatewayCalls
from serve.log_format import TEXT_LOG, LogStyle
from serve.logs import log_to_file
from serve.metrics.controller_counts import CountedStore
from serve.metrics.counts import decoded as decoded_counts
from serve.metrics.ledger import NO_ESTATE, Estate, Ledger
from serve.operations import ModelList, Operation
from serve.replica import ModelSettings
from serve.reports import GatewayReport, Heard, ReplicaReport
from serve.rollouts.guarding import Guarding
from serve.rollouts.observations import Observatory, decoded
from serve.routing import RoutingTable, VersionEntry, VersionKey
from serve.store_policy import NO_POLICY, StorePolicy
from serve.tls_files import server_files

log = logging.getLogger("onegate")

STEP_S = 0.25
ADOPTION_S = 1.2
"""How long a new controller collects the tables of gateways before it writes one of its own."""


class ControllerSettings(msgspec.Struct, frozen=True):
    """What the controller is started with. `nodes_may_join` says that Ray has, or may get, several nodes."""

    store: str
    secret: str
    nodes_may_join: bool = False
    log_file: str | None = None
    gateways_per_node: int = 0
    """0 where gateways do not follow the nodes."""
    app: str = CONTROLLER_APP
    """The application that it runs in."""
    policy: StorePolicy = NO_POLICY
    log_style: LogStyle = TEXT_LOG


class Controller:
    """The one replica of the controller."""

    async def __init__(self, settings: ControllerSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        untold = log_to_file(settings.log_file, "controller", settings.log_style)
        self._settings = settings
        store = CountedStore(settings.store)
        # Larger than every number of an earlier controller's tables.
        self._epoch = time.time_ns() // 1_000_000
        self._logs = ProcessLogs(self._epoch, settings.log_file, untold)
        self._fleet = Fleet(settings.store, self._epoch)
        self._scaler = Scaler()
        self._observatory = Observatory()
        self._ledger = Ledger()
        self._first_report: float | None = None
        self._wake = asyncio.Event()
        self._table_changed = asyncio.Condition()
        self._table_told = 0
        self._first_table = asyncio.Event()
        self._adopted = asyncio.Event()
        self._deployer = Deployer(
            self._fleet.deployments,
            self._fleet.heard.deployments_of,
            self._model_settings,
            self._on_trouble,
            self._fleet.wait,
        )
        generation = await asyncio.to_thread(generations.newest, store)
        assert generation is not None, "the store has a generation before a controller starts"
        self._desired = DesiredState(store, self._fleet, generation, self._wake.set, settings.policy, self._adopted)
        access = self._desired.config.access
        self._audit = None if access.audit_log is None else AuditLog(access.audit_log, lambda: self._desired.number)
        administration = Administration(self._desired)
        self._administration: Administers = administration
        if self._audit is not None:
            self._administration = AuditedAdministration(administration.answer, self._audit)
        self._refused = None if self._audit is None else RefusedCalls(self._audit)
        stored_keys = StoredKeys(store, self._take_over_keys)
        authority = ControllerAuthority(
            self._desired,
            self._fleet,
            store,
            self._administration,
            administration,
            self._audit,
            KeyCalls(store, stored_keys.look),
            self._observatory,
            self._ledger,
            self._logs,
            lambda: self._table_told > 0,
            GatewayCalls(),
        )
        self._guard = guard_of(access, settings.secret)
        loop = asyncio.get_running_loop()
        self._loops = []
        if self._guard is not None:
            # Before the first table: gateways would take one without keys for the newest.
            await stored_keys.look()
            self._loops.append(loop.create_task(stored_keys.follow()))
        self._management = self._open_management(authority)
        self._loops += [
            loop.create_task(self._reconcile()),
            loop.create_task(self._deploy()),
            loop.create_task(StoreFollowing(self._desired).run()),
            loop.create_task(Guarding(self._desired, self._administration.answer, self._observatory.total).run()),
        ]
        if settings.gateways_per_node:
            scale = partial(deployments.scale_deployment, GATEWAY_APP, GATEWAY_DEPLOYMENT)
            following = follow_nodes(settings.gateways_per_node, lambda: len(deployments.nodes()), scale)
            self._loops.append(loop.create_task(following))

    def _open_management(self, authority: ControllerAuthority) -> HttpListener:
        gateway, guard = self._desired.config.gateway, self._guard
        queries = ManagementQueries(self._fleet, self._administration)
        dialects = management_dialects(gateway.model_server)
        door = HttpFrontDoor(dialects, queries.answer, gateway.max_body_bytes, guard=guard)
        files = server_files("gateway.management_tls", gateway.management_tls)
        listener = HttpListener(
            Management(authority, door, guard, refused=self._refused),
            gateway.management_host,
            gateway.management_port,
            tls=None if files is None else Tls(files, HTTP),
        )
        listener.start()
        return listener

    def _take_over_keys(self, keys: tuple[AccessKey, ...]) -> None:
        if self._guard is not None:
            self._guard.take_over(keys)
        self._fleet.keys = keys
        self._wake.set()

    # -- called by gateways and replicas ---------------------------------------------------------------------------

    async def hear_gateway(
        self, report: GatewayReport, table: RoutingTable | None, estate: Estate = NO_ESTATE
    ) -> Heard:
        """A gateway's heartbeat. It comes with a table and an estate where it is the first to this controller."""
        if table is not None:
            self._fleet.adopt(table, report)
            self._ledger.inherit(estate)
            self._first_report = self._first_report or time.monotonic()
        self._fleet.heard.hear_gateway(report, time.monotonic())
        self._logs.hear(report.lines)
        self._observatory.hear(report.id, report.table, decoded(report.seen))
        self._ledger.hear(report.id, decoded_counts(report.counted), everything=table is not None)
        self._wake.set()
        # Before the first table it is not known yet who has gone.
        newest = self._ledger.estate if self._table_told else NO_ESTATE
        return Heard(self._epoch, newest if newest.number > report.estate else None)

    async def forget_gateway(self, gateway_id: str) -> None:
        """A gateway's farewell."""
        self._fleet.heard.forget_gateway(gateway_id)
        self._wake.set()

    async def hear_replica(self, report: ReplicaReport) -> None:
        """A replica's heartbeat, farewell or failure."""
        self._fleet.hear_replica(report, time.monotonic())
        self._logs.hear(report.lines)
        self._wake.set()

    async def next_table(self, number: int) -> RoutingTable:
        """The newest table, as soon as its number is larger than `number`, or after `LONG_POLL_S`.

        A controller that has not collected what gateways serve has no table to give: number 0, which nobody takes over.
        """
        async with self._table_changed:
            with suppress(TimeoutError):
                async with asyncio.timeout(LONG_POLL_S):
                    await self._table_changed.wait_for(lambda: self._table_told > number)
        return self._fleet.table if self._table_told else RoutingTable(number=0, store=self._settings.store)

    async def administer(self, operation: Operation, caller: str = "") -> ModelList | OnegateError:
        """The answer to an operation of `caller` that reached a gateway. An error is a value here: Ray would wrap a
        raised one."""
        CALLER.set(caller)
        try:
            return await self._administration.answer(operation)
        except Exception as error:
            return presentable(error)

    # -- loops -----------------------------------------------------------------------------------------------------

    def _has_settled(self) -> bool:
        """Whether gateways had the time to tell what an earlier controller had them serve."""
        return self._first_report is not None and time.monotonic() - self._first_report > ADOPTION_S

    async def _reconcile(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(STEP_S):
                    await self._wake.wait()
            self._wake.clear()
            if not self._has_settled():
                continue
            self._adopted.set()
            for key, replicas in self._scaler.step(scaled_versions(self._fleet)).items():
                log.info("version %s of %s: %s replicas from now on", key[1], key[0], replicas)
                self._fleet.scale(key, replicas)
            self._fleet.step(time.monotonic())
            self._ledger.follow(self._fleet.heard.gateways, called_versions(self._fleet))
            self._desired.note_step()
            self._deployer.note_change()
            if self._fleet.table.number != self._table_told:
                self._table_told = self._fleet.table.number
                self._observatory.follow(self._fleet.table.number, self._fleet.table.routes)
                self._first_table.set()
                async with self._table_changed:
                    self._table_changed.notify_all()

    async def _deploy(self) -> None:
        """Begins when it is known what gateways serve: replicas of an earlier controller may be among it."""
        await self._first_table.wait()
        await self._deployer.run()

    def _model_settings(self, entry: VersionEntry) -> ModelSettings:
        settings = self._settings
        grace_s = entry.serve.deadline_ms / 1000
        # Without what may change while replicas run.
        serve = msgspec.structs.replace(entry.serve, replicas=1, scaling=None)
        alone = msgspec.structs.replace(entry, serve=serve, replicas=())
        return ModelSettings(
            settings.store,
            alone,
            settings.secret,
            grace_s,
            settings.log_file,
            nodes_may_join=settings.nodes_may_join,
            controller_app=settings.app,
            policy=settings.policy,
            log_style=settings.log_style,
        )

    def _on_trouble(self, key: VersionKey, reason: str) -> None:
        self._fleet.fail(key, reason)
        self._wake.set()

    async def check_health(self) -> None:
        """Ray Serve's health check: raises, and is replaced, when one of the loops has ended."""
        self._management.check()
        for loop in self._loops:
            if loop.done():
                loop.result()

    async def __del__(self) -> None:
        """Ray Serve awaits this when the controller is to stop."""
        for loop in self._loops:
            loop.cancel()
        await self._management.stop()
        self._logs.close()
        if self._audit is not None and self._refused is not None:
            self._refused.close()
            await asyncio.to_thread(self._audit.close)
