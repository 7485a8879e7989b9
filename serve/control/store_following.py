"""Keeps models whose versions the store decides about in step with it: what is published later joins."""

from __future__ import annotations

import asyncio
import logging

from model_store.errors import StoreError
from serve.config_sections.model import ModelConfig
from serve.control.desired_state import DesiredState
from serve.control.version_policies import follows_store, numbers_in_store
from serve.errors import presentable

log = logging.getLogger("onegate")

LOOK_S = 2.0
"""How often the store is looked at: one listing a model that follows it."""


class StoreFollowing:
    """Looks for versions that came or went."""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired
        self._tried: dict[str, tuple[ModelConfig, list[int]]] = {}
        """What was prepared because of a look; what fails is not tried again until the store has something else."""

    async def run(self) -> None:
        """Looks every `LOOK_S`; what goes wrong is told once until a look succeeds."""
        told: str | None = None
        while True:
            try:
                await self.look()
                told = None
            except Exception as error:
                message = presentable(error).message
                if told is None:
                    log.warning("the store can't be looked at for new versions, trying again: %s", message)
                told = message
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Has the models prepared again of which the store has other versions by now. Raises `StoreError`."""
        desired = self._desired
        for model in [model for model in desired.config.models if follows_store(model)]:
            numbers = await asyncio.to_thread(numbers_in_store, desired.store, model)
            wanted = [each.entry.key[1] for each in desired.fleet.wanted(model.name)]
            # A store that was away for a moment says nothing of the versions.
            if isinstance(desired.gathered.failures.get(model.name), StoreError):
                self._tried.pop(model.name, None)
            waits = model.name in desired.gathered.progress or model not in desired.config.models
            if not waits and numbers != wanted and self._tried.get(model.name) != (model, numbers):
                self._tried[model.name] = (model, numbers)
                desired.prepare_again(model)
