"""Operations on models, answered: each is an edit of desired state, and a wait until that has come about.

What an edit is, `desired_edits.py` says, what a call may bring, `registration.py`. An edit that does not come off is
taken back. An operation goes on when who asked for it has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from model_store.errors import Conflict, InvalidInput, ModelNotFound, OnegateError
from serve import desired_edits as edits
from serve.desired_edits import Known
from serve.desired_state import DesiredState, Edit
from serve.model_documents import Document
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    Operation,
    ReplaceModels,
    ScaleModel,
    SetDefault,
    UnloadModel,
)
from serve.registration import Registration
from serve.routing import VersionKey
from serve.state import model_names, model_statuses, stored_status


class Administration:
    """Answers operations, several at once."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired
        self._known = Known(self._called, desired.earlier, desired.store.versions)
        self._registration = Registration(desired, self._known)
        self._running: set[asyncio.Task[ModelList]] = set()
        self._answers: dict[type[Operation], Callable[[Any], Coroutine[Any, Any, ModelList]]] = {
            ListModels: self._list,
            InspectModel: self._inspect,
            LoadModel: self._load,
            UnloadModel: self._unload,
            ScaleModel: self._scale,
            SetDefault: self._set_default,
            ReplaceModels: self._replace,
        }

    async def answer(self, operation: Operation) -> ModelList:
        """The models concerned, as they are afterwards; raises what `serve/operations.py` says of the operation."""
        task = asyncio.get_running_loop().create_task(self._answers[type(operation)](operation))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

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

    def _called(self, model: str, version: Document) -> str | None:
        """What clients call a version of the config by."""
        if alias := version.get("as_version"):
            return str(alias)
        if number := version.get("version"):
            return str(number)
        made = (wanted for wanted in self._desired.fleet.wanted(model) if wanted.source == version["source"])
        return next((str(wanted.entry.key[1]) for wanted in made), None)

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
        edit = await self._desired.edit(
            lambda config: edits.load(config, operation, self._known, made), _only(operation)
        )
        return await self._finish(edit, wait=operation.wait, names=_only(operation))

    async def _unload(self, operation: UnloadModel) -> ModelList:
        fleet, name = self._desired.fleet, operation.model
        edit = await self._desired.edit(lambda config: edits.unload(config, operation, self._known))
        if not operation.wait:
            return await self._finish(edit, wait=False, names=(name,))
        held = [key for key in fleet.versions if key[0] == name]
        await self._finish(edit, wait=True, names=())
        await self._until(lambda: all(self._is_gone(key) or self._is_wanted(key) for key in held))
        return self._statuses(name)

    async def _scale(self, operation: ScaleModel) -> ModelList:
        edit = await self._desired.edit(lambda config: edits.scale(config, operation, self._known))
        return await self._finish(edit, wait=operation.wait, names=(operation.model,))

    async def _set_default(self, operation: SetDefault) -> ModelList:
        edit = await self._desired.edit(lambda config: edits.set_default(config, operation, self._known))
        return await self._finish(edit, wait=True, names=(operation.model,))

    async def _replace(self, operation: ReplaceModels) -> ModelList:
        models = [await self._registration.admitted_model(model) for model in operation.models]
        operation = msgspec.structs.replace(operation, models=tuple(models))
        edit = await self._desired.edit(lambda config: edits.replace_all(config, operation))
        return await self._finish(edit, wait=operation.wait, names=tuple(model.name for model in edit.written.models))

    async def _finish(self, edit: Edit, *, wait: bool, names: tuple[str, ...]) -> ModelList:
        """The answer, with `wait` once the models can be called; an edit that does not come off is taken back."""
        if wait:
            try:
                for name in sorted(edit.models & {model.name for model in edit.written.models}):
                    await self._callable(name)
            except OnegateError:
                await self._desired.edit(lambda config: edits.restored(config, edit.written, edit.former))
                raise
        self._desired.keep(edit)
        return self._statuses(*names)

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def _callable(self, name: str) -> None:
        """Returns when every gateway routes to the wanted versions; raises why that can't be had."""
        fleet = self._desired.fleet
        await self._until(lambda: self._is_prepared(name))
        await self._desired.step(now=True)
        await self._until(lambda: self._is_ready(name))
        number = fleet.table.number
        await self._until(lambda: fleet.is_followed(number))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._desired.step()

    def _is_prepared(self, name: str) -> bool:
        gathered = self._desired.gathered
        if name in gathered.failures:
            raise gathered.failures[name]
        return name not in gathered.progress

    def _is_ready(self, name: str) -> bool:
        fleet = self._desired.fleet
        states = [fleet.versions[wanted.entry.key] for wanted in fleet.wanted(name)]
        if not states:
            raise Conflict(f"model {name!r} was unloaded by another call meanwhile")
        for state in states:
            if state.error is not None:
                raise state.error
        return self._is_prepared(name) and all(state.phase == "READY" for state in states)

    def _is_gone(self, key: VersionKey) -> bool:
        fleet = self._desired.fleet
        return key not in fleet.versions and not fleet.replicas_of(key)

    def _is_wanted(self, key: VersionKey) -> bool:
        return any(wanted.entry.key == key for wanted in self._desired.fleet.wanted(key[0]))


def _only(operation: LoadModel) -> tuple[str, ...]:
    return (operation.model,) if operation.model is not None else ()
