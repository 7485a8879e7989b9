"""What the management port may ask of the controller, from the parts that know it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from model_store.errors import ModelNotReady
from model_store.manifest import Manifest
from serve.access.audit import AuditLog
from serve.access.callers import Caller
from serve.access.key_calls import KeyCalls, NewKey
from serve.config import Config
from serve.control.administration import Administration
from serve.control.desired import Change
from serve.control.desired_state import DesiredState
from serve.control.fleet import Fleet
from serve.control.history import History, history
from serve.control.management_queries import Administers
from serve.control.planned_edits import Plannable
from serve.control.process_logs import ProcessLogs, WantedLines
from serve.control.state import describe_state
from serve.control.stored_versions import stored_manifests
from serve.dialects.base import HttpReply
from serve.handed_calls import GatewayCalls, HandedCall
from serve.metrics.controller_counts import CountedStore
from serve.metrics.ledger import Ledger
from serve.metrics.snapshot import Snapshot, encoded_page
from serve.operations import ModelList, Operation
from serve.rollouts.comparison_report import describe_comparison
from serve.rollouts.observations import Observatory
from serve.router import Router

COME_AGAIN_S = 1.2
"""When gateways should have told a new controller what they know."""


def described_state(desired: DesiredState, fleet: Fleet) -> dict[str, Any]:
    """What `ControllerAuthority.state` tells, with times since 1970 and not by this process's clock."""
    since_1970_s = time.time() - time.monotonic()
    state = describe_state(desired.config, desired.number, fleet, desired.gathered, since_1970_s)
    return state | {"rollouts": desired.rollouts.told(), "ended_rollouts": desired.rollouts.all_last_told()}


def described_comparison(model: str, desired: DesiredState, fleet: Fleet, observatory: Observatory) -> dict[str, Any]:
    """What `ControllerAuthority.comparison` tells; raises `ModelNotFound`."""
    report = describe_comparison(model, Router(fleet.table), observatory.total())
    under_way = desired.rollouts.under_way.get(model)
    return report | {"rollout": under_way and under_way.told(), "ended_rollout": desired.rollouts.last_told(model)}


@dataclass(frozen=True)
class ControllerAuthority:
    """`administration` answers operations, noted in `audit` where there is one; `planned` only plans them. `has_table`
    says whether this controller has handed out a table yet."""

    desired: DesiredState
    fleet: Fleet
    store: CountedStore
    administration: Administers
    planned: Administration
    audit: AuditLog | None
    key_calls: KeyCalls
    observatory: Observatory
    ledger: Ledger
    process_logs: ProcessLogs
    has_table: Callable[[], bool]
    gateway_calls: GatewayCalls

    def state(self) -> dict[str, Any]:
        """The state as `GET /api/state` answers it (DESIGN: output that programs read)."""
        return described_state(self.desired, self.fleet)

    def comparison(self, model: str) -> dict[str, Any]:
        """How the versions of a model do beside each other, over all gateways; raises `ModelNotFound`."""
        return described_comparison(model, self.desired, self.fleet, self.observatory)

    async def manifests(self, model: str, version: int | None, limit: int) -> list[Manifest]:
        """The newest versions of a model in the store, or that one; raises `ModelNotFound` and `IntegrityError`."""
        return await asyncio.to_thread(stored_manifests, self.desired.store, model, version, limit)

    async def keys(self) -> list[dict[str, Any]]:
        """All keys, without what is secret of them."""
        return await self.key_calls.listed()

    async def create_key(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        """A new key, with its text; raises as `KeyCalls.create`."""
        return await self._noted(f"CreateKey {asked.name}", self.key_calls.create(caller, asked))

    async def revoke_key(self, caller: Caller | None, id: str) -> dict[str, Any]:
        """Which keys are none any more; raises as `KeyCalls.revoke`."""
        return await self._noted(f"RevokeKey {id}", self.key_calls.revoke(caller, id))

    async def _noted(self, what: str, call: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        return await (call if self.audit is None else self.audit.noted(what, (), call))

    async def hand_on(self, call: HandedCall) -> HttpReply:
        """What a gateway's endpoint answers."""
        return await self.gateway_calls.answer(call)

    async def plan_change(self, operation: Plannable) -> list[Change]:
        """What the operation would change; raises as it would."""
        return await self.planned.plan(operation)

    async def metrics(self) -> bytes:
        """The page of `GET /metrics`; raises `ModelNotReady` as long as gateways may not have told what they counted
        before this controller started: less than before would be taken for a restart of all of them."""
        if not (self.has_table() and self.ledger.is_whole):
            raise ModelNotReady("the gateways are still telling what they have counted", retry_after_s=COME_AGAIN_S)
        return await asyncio.to_thread(encoded_page, self._snapshot())

    def _snapshot(self) -> Snapshot:
        state, fleet, ledger = self.state(), self.fleet, self.ledger
        names = {row["name"] for row in state["models"]} | fleet.table.routes.keys() | fleet.table.unavailable.keys()
        guarded = [model.name for model in self.desired.config.models if model.rollout is not None]
        return Snapshot(
            state["generation"],
            state["models"],
            state["rollouts"],
            self.observatory.total().comparisons,
            frozenset(names),
            ledger.called(fleet.versions.keys()),
            ledger.parts(),
            ledger.present(),
            fleet.heard.gateways,
            ledger.memory_bytes(),
            fleet.heard.replicas,
            self.store.counts.now(),
            self.desired.rollouts.ended.counts(guarded),
        )

    async def plan(self, config: Config) -> list[Change]:
        """What `apply` of `config` would change; raises `ConfigError` as it would."""
        return await self.desired.plan(config)

    async def apply(self, config: Config, generation: int | None = None) -> list[Change]:
        """Makes `config` the desired state; returns what that changes, before it is done. Raises as
        `DesiredState.apply`."""
        applied = self.desired.apply(config, generation)
        if self.audit is None:
            return await applied
        return await self.audit.noted("apply", [model.name for model in config.models], applied)

    async def change(self, operation: Operation) -> ModelList:
        """What the operation has made of its models; raises as the operation says."""
        return await self.administration.answer(operation)

    async def history(self, model: str | None, limit: int) -> History:
        """The newest generations, with `model` those that changed it and what was served of it."""
        return await asyncio.to_thread(history, self.desired.store, model, limit)

    async def logs(self, wanted: WantedLines) -> dict[str, Any]:
        """Log lines of all processes."""
        return await self.process_logs.tell(wanted)

    def request_shutdown(self) -> None:
        """Asks the `up` that started this to end; it sees the wish in the state."""
        if self.audit is not None:
            self.audit.note("shutdown")
        self.desired.gathered.stopping = True
