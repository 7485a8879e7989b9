"""The controller deployment: the single authority over desired state.

It holds nothing that it cannot rebuild: desired state comes from the store, addresses and progress from the heartbeats
of gateways and replicas. It prepares versions (`preparation.py`), moves them through their life (`fleet.py`), carries
out the orders (`deployments.py`), hands out routing tables by long poll, and owns the management port.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from model_store import generations
from model_store.errors import ConfigError
from model_store.store import Store
from serve import deployments
from serve.config import Config, ModelConfig
from serve.controller_link import LONG_POLL_S
from serve.desired import Change, plan
from serve.errors import presentable
from serve.fleet import Fleet, Orders
from serve.front_doors.http import HttpListener
from serve.logs import log_to_file
from serve.management import Management
from serve.preparation import prepare_model, stored_version
from serve.replica import ModelSettings
from serve.reports import GatewayReport, ReplicaReport
from serve.routing import RoutingTable, VersionEntry, VersionKey
from serve.state import Gathered, describe_state

log = logging.getLogger("onegate")

STEP_S = 0.25
CONVERSIONS_AT_ONCE = 2
ADOPTION_S = 1.2
"""How long a new controller collects the tables of gateways before it writes one of its own."""

TROUBLE_CHECK_S = 2.0


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
        self._conversions = asyncio.Semaphore(CONVERSIONS_AT_ONCE)
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._gathered = Gathered()
        self._wake = asyncio.Event()
        self._table_changed = asyncio.Condition()
        self._orders: asyncio.Queue[tuple[VersionKey, Callable[[], None]]] = asyncio.Queue()
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
            loop.create_task(self._carry_out()),
            loop.create_task(self._watch_trouble()),
        ]

    # -- called by gateways and replicas ---------------------------------------------------------------------------

    async def hear_gateway(self, report: GatewayReport, table: RoutingTable | None) -> int:
        """A gateway's heartbeat; answers with this controller's epoch."""
        if table is not None:
            self._fleet.adopt(table)
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
        """The newest table, as soon as its number is larger than `number`, or after `LONG_POLL_S`."""
        async with self._table_changed:
            try:
                async with asyncio.timeout(LONG_POLL_S):
                    await self._table_changed.wait_for(
                        lambda: self._fleet.table.number > number and self._has_settled()
                    )
            except TimeoutError:
                pass
        return self._fleet.table

    # -- called by management --------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The state as `GET /api/state` answers it (DESIGN: output that programs read)."""
        return describe_state(self._config, self._number, self._fleet, self._gathered)

    async def plan(self, config: Config) -> list[Change]:
        """What `apply` of `config` would change."""
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
        self._refuse_fixed_changes(config)
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
        loop = asyncio.get_running_loop()

        def on_progress(text: str) -> None:
            loop.call_soon_threadsafe(self._gathered.note_progress, model.name, text)

        try:
            async with self._conversions:
                wanted = await asyncio.to_thread(prepare_model, self._store, model, on_progress)
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
        """Whether gateways had the time to tell what an earlier controller had them serve, and all that the store
        holds already was looked up."""
        if self._first_report is None:
            return False
        return self._fleet.table.number != self._epoch or time.monotonic() - self._first_report > ADOPTION_S

    async def _reconcile(self) -> None:
        while True:
            try:
                async with asyncio.timeout(STEP_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not self._has_settled():
                continue
            before = self._fleet.table.number
            self._enqueue(self._fleet.step(time.monotonic()))
            if self._fleet.table.number != before:
                async with self._table_changed:
                    self._table_changed.notify_all()

    def _enqueue(self, orders: Orders) -> None:
        for entry in orders.deploy:
            self._orders.put_nowait((entry.key, partial(deployments.deploy_version, self._model_settings(entry))))
        for key in orders.delete:
            self._orders.put_nowait((key, partial(deployments.delete_version, key)))

    def _model_settings(self, entry: VersionEntry) -> ModelSettings:
        settings = self._settings
        grace_s = entry.serve.deadline_ms / 1000
        return ModelSettings(settings.store, entry, settings.secret, settings.replica_host, grace_s, settings.log_file)

    async def _carry_out(self) -> None:
        """One order after the other: a version's creation and deletion must not overtake each other."""
        while True:
            key, order = await self._orders.get()
            try:
                await asyncio.to_thread(order)
            except Exception as error:
                self._fleet.fail(key, presentable(error).message)

    async def _watch_trouble(self) -> None:
        while True:
            await asyncio.sleep(TROUBLE_CHECK_S)
            for key in self._loading_on_replicas():
                try:
                    trouble = await asyncio.to_thread(deployments.version_trouble, key)
                except Exception as error:
                    log.warning("Ray Serve does not tell its status: %s", error)
                    break
                if trouble is not None:
                    self._fleet.fail(key, trouble)
                    self._wake.set()

    def _loading_on_replicas(self) -> list[VersionKey]:
        states = self._fleet.versions.items()
        return [key for key, s in states if s.phase == "LOADING" and s.entry.serve.executor == "replicas"]

    async def __del__(self) -> None:
        """Ray Serve awaits this when the controller is to stop."""
        for loop in self._loops:
            loop.cancel()
        await self._management.stop()
