"""`onegate up --watch FOLDER`: what lies in the folder, and the edits of desired state that follow from it.

Nothing here waits or knows a socket: `poll` is called again and again, and looks no oftener than every two seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store.errors import OnegateError
from serve.importing.base import ImportedModel
from serve.importing.entries import entries, read_entry

POLL_S = 2.0

Fingerprint = tuple[tuple[str, int, int], ...]
"""Relative path, size in bytes and time of the last change in ns of each file."""


def fingerprints(folder: Path) -> dict[str, Fingerprint]:
    """Entry -> its files as they are now; raises `OSError` where the folder can't be listed."""
    return {
        name: tuple(sorted(stat for part in parts for stat in _stats(folder, part)))
        for name, parts in entries(os.listdir(folder)).items()
    }


def _stats(folder: Path, name: str) -> Iterable[tuple[str, int, int]]:
    path = folder / name
    if not path.is_dir():
        yield from _stat(path, name)
        return
    yield name, 0, 0
    for place, folders, files in os.walk(path):
        # Links to folders are not followed, in circles maybe: what they lead to counts as one file.
        linked = (each for each in folders if os.path.islink(os.path.join(place, each)))
        for each in (*files, *linked):
            inner = Path(place, each)
            yield from _stat(inner, str(inner.relative_to(folder)))


def _stat(path: Path, name: str) -> Iterable[tuple[str, int, int]]:
    try:
        found = path.stat()
    except OSError:  # it went away meanwhile, or is a link to nothing
        return
    yield name, found.st_size, found.st_mtime_ns


@dataclass
class _Seen:
    fingerprint: Fingerprint | None
    """None for an entry that has gone."""
    since: float
    """When it was first seen so."""


class FolderWatch:
    """The models in a folder, each as soon as its files have stood still between two looks.

    `tell` gets a line for each entry that is no model, once for each change of it.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._tell = tell
        self._clock = clock
        self._looked: float | None = None
        self._listed = True
        self._seen: dict[str, _Seen] = {}
        self._settled: dict[str, Fingerprint] = {}
        self._models: dict[str, dict[str, Any]] = {}

    def poll(self) -> bool:
        """Looks, where it is time to; whether a model came, went, or may have other bytes."""
        now = self._clock()
        if self._looked is not None and now - self._looked < POLL_S:
            return False
        self._looked = now
        try:
            present = fingerprints(self.folder)
        except OSError as error:
            if self._listed:
                self._tell(f"--watch: {self.folder} can't be listed, and its models stay: {error.strerror}")
            self._listed = False
            return False
        self._listed = True
        self._note(present, now)
        ripe = [name for name, seen in self._seen.items() if self._is_ripe(name, seen, now)]
        changed = [self._settle(name, self._seen[name].fingerprint) for name in ripe]
        return any(changed)

    def models(self) -> list[dict[str, Any]]:
        """The config of each model, by the names of their entries. A name that two entries have is the first one's."""
        found: dict[str, dict[str, Any]] = {}
        for _, mapping in sorted(self._models.items()):
            found.setdefault(mapping["name"], mapping)
        return list(found.values())

    def _note(self, present: Mapping[str, Fingerprint], now: float) -> None:
        for name in present.keys() | self._seen.keys():
            fingerprint = present.get(name)
            seen = self._seen.get(name)
            if seen is None or seen.fingerprint != fingerprint:
                self._seen[name] = _Seen(fingerprint, now)

    def _is_ripe(self, name: str, seen: _Seen, now: float) -> bool:
        gone = seen.fingerprint is None
        return now - seen.since >= POLL_S and (gone or self._settled.get(name) != seen.fingerprint)

    def _settle(self, name: str, fingerprint: Fingerprint | None) -> bool:
        """Takes over what an entry is now; whether it is or was a model."""
        if fingerprint is None:
            self._settled.pop(name, None)
            del self._seen[name]
            return self._models.pop(name, None) is not None
        self._settled[name] = fingerprint
        try:
            self._take(name, read_entry(self.folder / name))
        except (OnegateError, OSError) as error:
            self._say(name, error.message if isinstance(error, OnegateError) else f"can't be read: {error.strerror}")
        return name in self._models

    def _take(self, entry: str, model: ImportedModel) -> None:
        """Where it is no model any more, the last that it was stays: what serves goes on."""
        for leftover in model.leftovers:
            if leftover.left_out:
                self._say(entry, leftover.reason)
        others = sum(not leftover.left_out for leftover in model.leftovers)
        if model.mapping is None:
            return
        if others:
            self._say(entry, f"{others} of its settings have no counterpart; `onegate import` lists them")
        twin = next((name for name, each in self._models.items() if each["name"] == model.name and name != entry), None)
        if twin is not None:
            self._say(entry, f"{twin!r} is a model of the name {model.name!r} too; the first of them by name is served")
        self._models[entry] = model.mapping

    def _say(self, entry: str, problem: str) -> None:
        self._tell(f"--watch: {entry}: {problem}")


def edited(
    document: Mapping[str, Any], watched: Iterable[str], models: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Desired state with `models` in place of those called `watched`, which came from the folder earlier.

    Returns it, and the names among `models` that somebody else has: those stay as they are.
    """
    mine = set(watched)
    others = [model for model in document["models"] if model["name"] not in mine]
    taken = {model["name"] for model in others}
    wanted = [model for model in models if model["name"] not in taken]
    clashes = [str(model["name"]) for model in models if model["name"] in taken]
    return {**document, "models": [*others, *wanted]}, clashes
