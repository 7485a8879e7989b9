"""The models of a watched folder as desired state: applied through the management port, as `onegate apply` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from model_store import generations
from model_store.errors import Conflict, ModelNotReady, OnegateError
from model_store.generations import Generation
from model_store.store import Store
from serve.commands.progress import open_rows
from serve.config import Config
from serve.watching import FolderWatch, edited

_WORDS = {"add": "adding", "change": "changing", "retire": "retiring"}


class Management(Protocol):
    """What is asked of the management port."""

    def put_config(self, document: dict[str, Any], *, generation: int) -> dict[str, Any]:
        """Applies the whole desired state that was made from `generation`; raises `Conflict` where there is a newer."""


class WatchedModels:
    """Keeps desired state in step with a folder. Models that it did not bring stay as they are: those of the config,
    and what management calls changed meanwhile."""

    def __init__(
        self,
        watch: FolderWatch,
        management: Management,
        current: Callable[[], Generation],
        tell: Callable[[str], None],
    ) -> None:
        self._watch = watch
        self._management = management
        self._current = current
        self._tell = tell
        self._names: set[str] = set()
        self._due = False
        self._told: set[tuple[str, str]] = set()

    def step(self) -> None:
        """Looks at the folder, and applies what changed in it. A gateway that does not answer yet, or whose desired
        state somebody else changed meanwhile, is asked again with the next step."""
        self._due = self._watch.poll() or self._due
        if not self._due:
            return
        models = self._watch.models()
        try:
            current = self._current()
            document, clashes = edited(current.config, self._names, models)
            for name in clashes:
                self._tell_once(name, f"--watch: {name}: the config has a model of that name, which stays")
            mine = {model["name"] for model in models} - set(clashes)
            answer = self._management.put_config(document, generation=current.number)
        except Conflict:
            return
        except ModelNotReady:
            # It may have been applied all the same, and only the answer be lost.
            self._names |= mine
            return
        except OnegateError as error:
            self._due = False
            self._tell(f"--watch: the changes can't be applied: {error.message}")
            return
        self._due = False
        self._names = mine
        for change in answer["changes"]:
            if change["action"] in _WORDS:
                self._told = {each for each in self._told if each[0] != change["model"]}
                self._tell(f"--watch: {_WORDS[change['action']]} {change['model']}")

    def note_outcomes(self, state: dict[str, Any], *, quietly: bool = False) -> None:
        """Tells, once each, which of its models serve and which failed; `quietly` for what was told otherwise."""
        unsettled = {row["name"] for row in open_rows(state)}
        for row in state["models"]:
            if row["name"] not in self._names - unsettled or row["state"] not in ("READY", "IDLE", "FAILED"):
                continue
            served = f"{row['name']} is served (version {row['version']} of the store)"
            text = served if row["state"] != "FAILED" else f"{row['name']} is not served: {row['reason']}"
            if quietly:
                self._told.add((row["name"], text))
            else:
                self._tell_once(row["name"], f"--watch: {text}")

    def _tell_once(self, model: str, text: str) -> None:
        if (model, text) not in self._told:
            self._told.add((model, text))
            self._tell(text)


def newest_generation(config: Config) -> Generation:
    """Desired state as it is now, read from the store of `config`, which has one. Raises `StoreError`."""
    newest = generations.newest(Store(config.store))
    assert newest is not None, "`up` writes a generation before anything looks at a folder"
    return newest
