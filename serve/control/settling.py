"""Waiting until an edit of desired state has come about: its models can be called, or hold no memory any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from model_store.errors import Conflict, ModelNotReady
from serve.control.desired_edits import is_overtaken
from serve.control.desired_state import DesiredState, Edit
from serve.routing import VersionKey

LOADING_S = 300.0
"""How long a version that is prepared may take until it can be called: replicas may wait for CPUs that never come."""

SCALING_S = 60.0
"""How long a call that scales waits for the last of the replicas."""


class Settling:
    """Looks at the fleet after each of its steps. `loading_s` is how long versions may take to load."""

    def __init__(self, desired: DesiredState, loading_s: float = LOADING_S) -> None:
        self._desired = desired
        self._loading_s = loading_s

    async def callable(self, edit: Edit, model: str) -> None:
        """Returns when every gateway routes to the versions that are wanted of the model since the edit.

        Raises why that can't be had, `Conflict` when another change came in between, and `ModelNotReady` when loading
        takes too long.
        """
        desired, fleet = self._desired, self._desired.fleet
        await self._until(lambda: self._is_prepared(edit, model))
        try:
            async with asyncio.timeout(self._loading_s):
                await desired.step(now=True)
                await self._until(lambda: self._is_ready(edit, model))
                number = fleet.table.number
                await self._until(lambda: fleet.heard.is_followed(number))
        except TimeoutError:
            raise ModelNotReady(
                f"model {model!r} could not be called {self._loading_s:g} s after it was prepared; look in the state "
                "for what its replicas or the gateway wait for"
            ) from None

    async def scaled(self, model: str) -> None:
        """Returns when the model has as many replicas as are wanted, or after `SCALING_S` with those that it has: the
        others may wait for CPUs, while these answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SCALING_S):
                await self._until(lambda: self._has_all_replicas(model))

    async def gone(self, model: str) -> None:
        """Returns when no process holds a version that is not wanted of the model."""
        fleet = self._desired.fleet
        await self._desired.step(now=True)
        left = [key for key in fleet.versions if key[0] == model]
        await self._until(lambda: all(self._is_wanted(key) or self._is_gone(key) for key in left))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._desired.step()

    def _refuse_overtaken(self, edit: Edit, model: str) -> None:
        if is_overtaken(edit.former, edit.written, self._desired.config, model):
            raise Conflict(f"model {model!r} was unloaded or changed by another call meanwhile")

    def _is_prepared(self, edit: Edit, model: str) -> bool:
        self._refuse_overtaken(edit, model)
        gathered = self._desired.gathered
        if model in gathered.failures:
            raise gathered.failures[model]
        return model not in gathered.progress

    def _is_ready(self, edit: Edit, model: str) -> bool:
        self._refuse_overtaken(edit, model)
        states = [self._desired.fleet.versions[wanted.entry.key] for wanted in self._desired.fleet.wanted(model)]
        for state in states:
            if state.error is not None:
                raise state.error
        return all(state.phase == "READY" for state in states)

    def _has_all_replicas(self, model: str) -> bool:
        fleet = self._desired.fleet
        # Where the number moves, the fleet's is the one of now.
        entries = [fleet.versions[wanted.entry.key].entry for wanted in fleet.wanted(model)]
        return all(
            entry.serve.executor != "replicas" or len(fleet.heard.replicas_of(entry.key)) >= entry.serve.replicas
            for entry in entries
        )

    def _is_gone(self, key: VersionKey) -> bool:
        fleet = self._desired.fleet
        return key not in fleet.versions and not fleet.heard.replicas_of(key)

    def _is_wanted(self, key: VersionKey) -> bool:
        return any(wanted.entry.key == key for wanted in self._desired.fleet.wanted(key[0]))
