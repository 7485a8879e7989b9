"""Operations on models, answered: each is an edit of desired state, and a wait until that has come about.

What an edit is, `desired_edits.py` says, what a call may bring, `registration.py`, what is waited for, `settling.py`.
An edit that does not come off is taken back. An operation goes on when who asked for it has gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from model_store.errors import InvalidInput, ModelNotFound, OnegateError
from serve.config import Config
from serve.control import desired_edits as edits
from serve.control.desired import Change
from serve.control.desired_state import DesiredState, Edit
from serve.control.ended_shadows import with_ended_shadows
from serve.control.known_models import known_models
from serve.control.model_documents import Document
from serve.control.planned_edits import Plannable, PlannedEdits, is_at_once
from serve.control.registration import Registration
from serve.control.settling import Settling
from serve.control.state import model_names, model_statuses, stored_status
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    Operation,
    ReplaceModels,
    RollBack,
    ScaleModel,
    SetDefault,
    SetLabels,
    SetTraffic,
    UnloadModel,
)

log = logging.getLogger("onegate")


class Administration:
    """Answers operations, several at once."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired
        self._known = known_models(desired)
        self._registration = Registration(desired, self._known)
        self._settling = Settling(desired)
        self._planned = PlannedEdits(desired, self._known)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running: set[asyncio.Task[ModelList]] = set()
        self._answers: dict[type[Operation], Callable[[Any], Coroutine[Any, Any, ModelList]]] = {
            ListModels: self._list,
            InspectModel: self._inspect,
            LoadModel: self._load,
            UnloadModel: self._unload,
            ScaleModel: self._scale,
            SetDefault: self._set_default,
            ReplaceModels: self._replace,
            SetTraffic: self._make_planned,
            SetLabels: self._make_planned,
            RollBack: self._make_planned,
        }

    async def answer(self, operation: Operation) -> ModelList:
        """The models concerned, as they are afterwards; raises what `serve/operations.py` says of the operation."""
        task = asyncio.get_running_loop().create_task(self._answers[type(operation)](operation))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def plan(self, operation: Plannable) -> list[Change]:
        """What the operation would change; raises as `PlannedEdits.plan`."""
        return await self._planned.plan(operation)

    def _forget(self, task: asyncio.Task[ModelList]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # One that nobody waits for any more would be logged as lost.
            task.exception()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _list(self, operation: ListModels) -> ModelList:
        desired = self._desired
        names = sorted(model_names(desired.config, desired.fleet))
        models = model_statuses(names, desired.fleet, desired.gathered)
        if operation.stored:
            models += await asyncio.to_thread(self._only_stored, set(names))
        return ModelList(tuple(sorted(models, key=lambda model: model.model)))

    def _only_stored(self, others: set[str]) -> tuple[ModelStatus, ...]:
        store = self._desired.store
        return tuple(
            ModelStatus(name, tuple(stored_status(store.manifest(name, version)) for version in store.versions(name)))
            for name in store.models()
            if name not in others
        )

    async def _inspect(self, operation: InspectModel) -> ModelList:
        desired = self._desired
        if operation.model not in model_names(desired.config, desired.fleet):
            raise ModelNotFound(f"model {operation.model!r} is not loaded", model=operation.model)
        (model,) = self._statuses(operation.model).models
        if operation.version is not None:
            versions = tuple(status for status in model.versions if status.version == operation.version)
            if not versions:
                raise ModelNotFound(
                    f"model {operation.model!r} has no version {operation.version:.40} here",
                    model=operation.model,
                    version=operation.version,
                )
            model = ModelStatus(model.model, versions)
        return ModelList((model,))

    def _statuses(self, *names: str) -> ModelList:
        return ModelList(model_statuses(names, self._desired.fleet, self._desired.gathered))

    # -- changing --------------------------------------------------------------------------------------------------

    async def _load(self, operation: LoadModel) -> ModelList:
        if operation.source is not None and operation.files:
            raise InvalidInput("a model is loaded from a source or from files, got both")
        made: Document | None = None
        if operation.source is not None:
            source = await self._registration.admitted(operation.source)
            operation = await self._registration.named(operation, source)
            made = {"source": source}
        if operation.model is None:
            raise InvalidInput("expected the name of the model to load, got none")
        if operation.files:
            made = {"version": await self._registration.published(operation)}
        change = partial(edits.load, operation=operation, known=self._known, made=made)
        read = None if made is None else {source for key, source in made.items() if key == "source"}
        return await self._change(
            change, operation.model, wait=operation.wait, again=True, read=read, why=f"load of {operation.model}"
        )

    async def _unload(self, operation: UnloadModel) -> ModelList:
        change = partial(edits.unload, operation=operation, known=self._known)
        # Takes no turn: it may end what others wait for.
        edit = await self._desired.edit(change, why=f"unload of {operation.model}")
        if operation.wait:
            await self._come_about(edit)
            self._desired.fleet.release(operation.model)
            await self._settling.gone(operation.model)
        self._desired.keep(edit)
        return self._statuses(operation.model)

    async def _scale(self, operation: ScaleModel) -> ModelList:
        change = partial(edits.scale, operation=operation, known=self._known)
        changed = await self._change(change, operation.model, wait=operation.wait, why=f"scaling of {operation.model}")
        if not operation.wait:
            return changed
        await self._settling.scaled(operation.model)
        return self._statuses(operation.model)

    async def _set_default(self, operation: SetDefault) -> ModelList:
        change = partial(edits.set_default, operation=operation, known=self._known)
        why = f"default version of {operation.model}"
        return await self._change(change, operation.model, wait=True, why=why, at_once=True)

    async def _make_planned(self, operation: Plannable) -> ModelList:
        change, why = await self._planned.edit_of(operation)
        return await self._change(change, operation.model, wait=True, why=why, at_once=is_at_once(operation))

    async def _replace(self, operation: ReplaceModels) -> ModelList:
        models = [await self._registration.admitted_model(model) for model in operation.models]
        operation = msgspec.structs.replace(operation, models=tuple(models))
        names = [str(model.get("name")) for model in models]
        change = partial(edits.replace_all, operation=operation)
        return await self._change(change, *names, wait=operation.wait, why="replacement of all models")

    async def _change(
        self,
        change: Callable[[Config], Config],
        *names: str,
        wait: bool,
        again: bool = False,
        read: Collection[str] | None = (),
        why: str,
        at_once: bool = False,
    ) -> ModelList:
        """The models of these names after an edit, with `wait` once they can be called. Calls that wait for the same
        model take turns: what one of them has written may be taken back."""
        async with AsyncExitStack() as turns:
            for name in sorted(set(names)) if wait else ():
                await turns.enter_async_context(self._turns.setdefault(name, asyncio.Lock()))
            edit = await self._desired.edit(change, names if again else (), read, why, at_once=at_once)
            if wait:
                await self._come_about(edit)
        self._desired.keep(edit)
        return with_ended_shadows(self._statuses(*names), edit, self._known)

    async def _come_about(self, edit: Edit) -> None:
        """Returns when the models of the edit can be called; one that does not come off is taken back."""
        try:
            for name in sorted(edit.models & {model.name for model in edit.written.models}):
                await self._settling.callable(edit, name)
        except OnegateError:
            try:
                await self._desired.edit(
                    lambda config: edits.restored(config, edit.written, edit.former), why=f"{edit.why} taken back"
                )
            except OnegateError as error:
                log.warning("desired state can't be taken back to what it was: %s", error.message)
            raise
