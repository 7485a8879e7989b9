"""What a call that registers models brings: sources that have to be admitted, archives that say their own name, and
exports as bytes, which become versions of the store before desired state can name them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from serve.config import Config
from serve.config_sections.model import ModelConfig
from serve.config_sections.rules import ALIAS_PATTERN
from serve.control import desired_edits as edits
from serve.control.allowed_sources import admitted
from serve.control.desired_edits import Known
from serve.control.desired_state import DesiredState
from serve.control.model_documents import Document
from serve.control.preparation import archive_manifest
from serve.operations import LoadModel

_DRAFT = {"version": 2**31 - 1}
"""Stands in an edit for the version that is still to be made."""


class Registration:
    """Reads what comes with operations; `known` is that of the edits."""

    def __init__(self, desired: DesiredState, known: Known) -> None:
        self._desired = desired
        self._known = known

    async def admitted(self, source: str) -> str:
        """The source as it may be registered; raises `Forbidden`."""
        config = self._desired.config
        return await asyncio.to_thread(admitted, source, config.allowed_sources, config.gateway.model_folder)

    async def admitted_model(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """The model with its sources as they may be registered; those that the config has are not asked about."""
        known = {version.source for each in self._desired.config.models for version in each.wanted_versions()}
        changed = dict(await self._admitted_in(model, known))
        if "versions" in changed:
            changed["versions"] = [await self._admitted_in(version, known) for version in changed["versions"]]
        return changed

    async def _admitted_in(self, place: Document, known: set[str | None]) -> Document:
        source = place.get("source")
        return place if source is None or source in known else {**place, "source": await self.admitted(source)}

    async def named(self, operation: LoadModel, source: str) -> LoadModel:
        """The operation with what an archive says of itself: its name where none is given, and TorchServe's versions,
        which stand side by side under the numbers in the archives. Raises `SourceError`."""
        server = self._desired.config.gateway.model_server
        side_by_side = server == "torchserve" and operation.version is None and not operation.replace
        if operation.model is not None and not side_by_side:
            return operation
        manifest = await asyncio.to_thread(archive_manifest, source, self._desired.config.allowed_sources)
        if manifest is None:
            return operation
        version = operation.version
        if side_by_side and re.fullmatch(ALIAS_PATTERN, manifest.version or ""):
            version = manifest.version
        return msgspec.structs.replace(operation, model=operation.model or manifest.name, version=version)

    async def published(self, operation: LoadModel) -> int:
        """The number of the version that the operation's files are made into; raises as a conversion does."""

        def draft(config: Config) -> ModelConfig:
            drafted = edits.load(config, operation, self._known, _DRAFT)
            return next(model for model in drafted.models if model.name == operation.model)

        model = await asyncio.to_thread(draft, self._desired.config)
        return (await self._desired.preparer.publish_files(model, operation.files)).version
