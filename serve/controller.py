"""The controller deployment: the single authority over desired state.

It holds nothing that it cannot rebuild: desired state comes from the store, addresses and progress from the heartbeats
of gateways and replicas. It prepares versions (`preparation.py`), moves them through their life (`fleet.py`), keeps
their replicas (`deployer.py`), hands out routing tables by long poll, and owns the management port.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import msgspec

from model_store import generations
from model_store.errors import ConfigError
from model_store.store import Store
from serve.config import Config, ModelConfig
from serve.controller_link import LONG_POLL_S
from serve.deployer import Deployer
from serve.desired import Change, plan
from serve.errors import presentable
from serve.fleet import Fleet
from serve.front_doors.http import HttpListener
from serve.logs import log_to_file
from serve.management import Management
from serve.preparation import Preparer, stored_version
from serve.replica import ModelSettings
from serve.reports import GatewayReport, ReplicaReport
from serve.routing import RoutingTable, VersionEntry, VersionKey
from serve.state import Gathered, describe_state

log = logging.getLogger("onegate")

STEP_S = 0.25
CONVERSIONS_AT_ONCE = 2
ADOPTION_S = 1.2
"""How long a new controller collects the tables of gateways before it writes one of its own."""


class ControllerSettings(msgspec.Struct, frozen=True):
    """What the controller is started with. `replica_host` is where model replicas listen for other nodes."""

    store: str
    secret: str
    replica_host: str
    log_file: str | None = None


class Controller:
    """The one replica of the controller."""

    async def __init__(self, settings: ControllerSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        log_to_file(settings.log_file, "controller")
        self._settings = settings
        self._store = Store(settings.store)
        # Larger than every number of an earlier controller's tables.
        self._epoch = time.time_ns() // 1_000_000
        self._fleet = Fleet(settings.store, self._epoch)
        self._first_report: float | None = None
        self._preparer = Preparer(self._store, CONVERSIONS_AT_ONCE)
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._gathered = Gathered()
        self._wake = asyncio.Event()
        self._table_changed = asyncio.Condition()
        self._table_told = 0
        self._first_table = asyncio.Event()
        self._deployer = Deployer(
            self._fleet.deployments, self._fleet.deployments_of, self._model_settings, self._on_trouble
        )
        generation = await asyncio.to_thread(generations.newest, self._store)
        assert generation is not None, "the store has a generation before a controller starts"
        self._number = generation.number
        self._config = Config.model_validate(generation.config)
        self._take_over(self._config)
        gateway = self._config.gateway
        self._management = HttpListener(Management(self), gateway.management_host, gateway.management_port)
        self._management.start()
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(self._reconcile()),
            loop.create_task(self._deploy()),
        ]

    # -- called by gateways and replicas ---------------------------------------------------------------------------

    async def hear_gateway(self, report: GatewayReport, table: RoutingTable | None) -> int:
        """A gateway's heartbeat; answers with this controller's epoch."""
        if table is not None:
            self._fleet.adopt(table, report)
            self._first_report = self._first_report or time.monotonic()
        self._fleet.hear_gateway(report, time.monotonic())
        self._wake.set()
        return self._epoch

    async def forget_gateway(self, gateway_id: str) -> None:
        """A gateway's farewell."""
        self._fleet.forget_gateway(gateway_id)
        self._wake.set()

    async def hear_replica(self, report: ReplicaReport) -> None:
        """A replica's heartbeat, farewell or failure."""
        self._fleet.hear_replica(report, time.monotonic())
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

    # -- called by management --------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The state as `GET /api/state` answers it (DESIGN: output that programs read)."""
        return describe_state(self._config, self._number, self._fleet, self._gathered)

    async def plan(self, config: Config) -> list[Change]:
        """What `apply` of `config` would change; raises `ConfigError` as it would."""
        self._refuse_fixed_changes(config)
        serving: dict[str, set[int]] = {}
        for name, version in self._fleet.versions:
            serving.setdefault(name, set()).add(version)
        return await asyncio.to_thread(
            plan,
            self._config,
            config,
            serving,
            lambda model, version: stored_version(self._store, model, version),
        )

    async def apply(self, config: Config) -> list[Change]:
        """Makes `config` the desired state; returns what that changes, before it is done.

        Raises `ConfigError` for changes of what only a restart can change, `Conflict` when another controller wrote.
        """
        changes = await self.plan(config)
        generation = await asyncio.to_thread(generations.append, self._store, self._number + 1, config.document())
        self._number = generation.number
        self._take_over(config)
        return changes

    def request_shutdown(self) -> None:
        """Asks the `up` that started this to end; it sees the wish in the state."""
        self._gathered.stopping = True

    # -- desired state ---------------------------------------------------------------------------------------------

    def _refuse_fixed_changes(self, config: Config) -> None:
        for key in ("store", "gateway"):
            old, new = getattr(self._config, key), getattr(config, key)
            if old != new:
                raise ConfigError(f"{key}: expected {old!r} as running, got {new!r}; restart `onegate up` to change it")

    def _take_over(self, config: Config) -> None:
        names = {model.name for model in config.models}
        for gone in {model.name for model in self._config.models} - names:
            self._fleet.retire(gone)
            self._gathered.forget(gone)
            if task := self._preparing.pop(gone, None):
                task.cancel()
        self._config = config
        for model in config.models:
            if previous := self._preparing.pop(model.name, None):
                previous.cancel()
            self._gathered.begin(model.name)
            self._fleet.name(model.name)
            self._fleet.unavailable.setdefault(model.name, "it is being prepared; try again shortly")
            self._preparing[model.name] = asyncio.get_running_loop().create_task(self._prepare(model))
        self._wake.set()

    async def _prepare(self, model: ModelConfig) -> None:
        def on_progress(text: str) -> None:
            self._gathered.note_progress(model.name, text)

        try:
            wanted = await self._preparer.prepare(model, on_progress)
        except Exception as error:
            reason = presentable(error).message
            self._gathered.fail(model.name, reason)
            self._fleet.unavailable[model.name] = reason
        else:
            self._gathered.forget(model.name)
            self._fleet.want(model.name, wanted)
        self._wake.set()

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
            self._fleet.step(time.monotonic())
            self._deployer.note_change()
            if self._fleet.table.number != self._table_told:
                self._table_told = self._fleet.table.number
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
        alone = msgspec.structs.replace(entry, serve=msgspec.structs.replace(entry.serve, replicas=1), replicas=())
        return ModelSettings(settings.store, alone, settings.secret, settings.replica_host, grace_s, settings.log_file)

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
