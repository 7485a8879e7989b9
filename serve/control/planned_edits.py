"""What traffic, labels and rollbacks make of desired state: looked at before it is done, and done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from model_store import served
from model_store.errors import Conflict, ModelNotFound
from serve.config import Config
from serve.control.desired import Change
from serve.control.desired_edits import Known, required
from serve.control.desired_state import DesiredState
from serve.control.serving_record import record_to_return_to
from serve.operations import RollBack, SetLabels, SetTraffic
from serve.rollouts import edits

Plannable = SetTraffic | SetLabels | RollBack
"""Operations that can be planned: what they need is in the store already."""

ConfigEdit = Callable[[Config], Config]


def is_at_once(operation: Plannable) -> bool:
    """Whether what answers changes without the steps of a `rollout`: somebody says of versions and traffic himself."""
    return not isinstance(operation, SetLabels)


class PlannedEdits:
    """Edits of `desired`, to be planned or to be made."""

    def __init__(self, desired: DesiredState, known: Known) -> None:
        self._desired = desired
        self._known = known

    async def plan(self, operation: Plannable) -> list[Change]:
        """What the operation would change of its model; raises as the operation does, but for what loading raises."""
        edit, _ = await self.edit_of(operation)
        config = await asyncio.to_thread(edit, self._desired.config)
        return await self._desired.plan_edit(config, operation.model, at_once=is_at_once(operation))

    async def edit_of(self, operation: Plannable) -> tuple[ConfigEdit, str]:
        """The edit, for threads, and why it is made. Raises `ModelNotFound` for a rollback to nowhere; the edit raises
        `Conflict` where the operation was made from a generation that is not the newest."""
        edit, why = await self._edit_of(operation)
        return partial(self._checked, operation.generation, edit), why

    async def _edit_of(self, operation: Plannable) -> tuple[ConfigEdit, str]:
        if isinstance(operation, SetTraffic):
            return partial(edits.set_traffic, operation=operation, known=self._known), f"traffic of {operation.model}"
        if isinstance(operation, SetLabels):
            return partial(edits.set_labels, operation=operation, known=self._known), f"labels of {operation.model}"
        desired, model = self._desired, operation.model
        await desired.record.written({model})
        current = desired.in_force(model)
        record = await asyncio.to_thread(record_to_return_to, desired.store, model, current, operation.to)
        if record is None:
            there = await asyncio.to_thread(served.numbers, desired.store, model)
            if not there:
                required(desired.config, model, self._known)
            raise ModelNotFound(_no_record(operation, there), model=model)
        why = f"rollback of {model} to {record.number}" + (f": {operation.why}" if operation.why else "")
        return partial(edits.rolled_back, document=record.document), why

    def _checked(self, generation: int | None, edit: ConfigEdit, config: Config) -> Config:
        # Edits take turns, so that the number is that of `config`.
        if generation not in (None, self._desired.number):
            raise Conflict(
                f"the change was planned from generation {generation}, and {self._desired.number} is the newest; look "
                "at what it would change now",
                newest=self._desired.number,
            )
        return edit(config)


def _no_record(operation: RollBack, there: list[int]) -> str:
    if operation.to is None:
        return f"model {operation.model!r} was never served as anything else than it is; there is nothing to go back to"
    listed = ", ".join(map(str, there[-10:])) or "none"
    return (
        f"there is no record {operation.to} of what was served of {operation.model!r}; there: {listed}; "
        f"`onegate history {operation.model}` lists them"
    )
