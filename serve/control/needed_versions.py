"""Which stored versions desired state needs, for pruning: those that generations name, those that are
served, and those that a rollback goes back to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from model_store import generations, served
from model_store.errors import IntegrityError, ModelNotReady, OnegateError
from model_store.store import Store
from serve.config import Config
from serve.config_sections.model import ModelConfig
from serve.control.preparation import stored_version
from serve.control.version_policies import follows_store, numbers_in_store
from serve.management_client import ManagementClient

PATIENCE_S = 5.0
"""How long a gateway may take to say what it serves; usually none runs, and that is told at once."""

SERVED = "served"
NAMED = "a generation needs it"
UNREADABLE = "its source can't be read"
RECORDED = ("served last", "a rollback goes back to it")
"""Of the newest records of what was served of a model: the present one, and where a rollback goes."""


class NeededVersions:
    """Answers for one model after the other; `tell` hears what is kept because nobody can say more of it.

    `connect` gives the client of the gateway that may run with a config. Raises what that answers when it does not say
    what it serves.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[str], None],
        connect: Callable[[Config], ManagementClient],
    ) -> None:
        self._store = store
        self._tell = tell
        newest = generations.newest(store)
        self._config = Config.model_validate(newest.config) if newest else None
        self._named: dict[str, set[int]] = {}
        self._running: dict[str, set[int]] = {}
        for number in generations.numbers(store):
            # One that is damaged can't be gone back to.
            with suppress(IntegrityError):
                self._note_named(generations.read(store, number).config)
        if self._config is not None:
            self._note_served(connect(self._config))

    def __call__(self, model: str) -> dict[int, str]:
        """Numbers of the versions of `model` that are needed, each with the first reason that there is."""
        needed = dict.fromkeys(self._running.get(model, ()), SERVED)
        for reason, record in zip(RECORDED, served.newest_first(self._store, model), strict=False):
            needed = dict.fromkeys(_numbers(record.document), reason) | needed
        needed = dict.fromkeys(self._named.get(model, ()), NAMED) | needed
        for config in self._config.models if self._config else ():
            if config.name == model:
                needed = self._of_sources(config) | needed
        return needed

    def _note_named(self, document: dict[str, object]) -> None:
        models = document.get("models")
        for model in models if isinstance(models, list) else ():
            self._named.setdefault(model["name"], set()).update(_numbers(model))

    def _note_served(self, client: ManagementClient) -> None:
        try:
            state = client.state(timeout_s=PATIENCE_S)
        except ModelNotReady as error:
            if isinstance(getattr(error.__cause__, "reason", None), ConnectionRefusedError):
                return  # none runs
            raise
        for row in state["models"]:
            if row["version"] is not None:
                self._running.setdefault(row["name"], set()).add(row["version"])

    def _of_sources(self, model: ModelConfig) -> dict[int, str]:
        """The versions made of the model's sources as they are now; all, where a source can't be read here."""
        needed = {}
        if follows_store(model):
            return dict.fromkeys(numbers_in_store(self._store, model), NAMED)
        for version in model.wanted_versions():
            if version.source is None:
                continue
            try:
                manifest = stored_version(self._store, model, version, ())
            except OnegateError as error:
                self._tell(f"all versions of {model.name!r} are kept: {error.message}")
                return dict.fromkeys(self._store.versions(model.name), UNREADABLE)
            if manifest is not None:
                needed[manifest.version] = NAMED
        return needed


def _numbers(model: Mapping[str, Any]) -> Iterable[int]:
    """The versions that a model's document names by number."""
    listed = model.get("versions")
    return [v["version"] for v in listed if v.get("version") is not None] if isinstance(listed, list) else []
