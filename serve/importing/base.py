"""What reading another server's configuration yields, and the account of its keys.

Nothing is dropped in silence: a table says of each key of a format what becomes of it, and `unanswered` lists the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from serve.config_sections.rules import Alias, Label, ModelName


@dataclass(frozen=True)
class Leftover:
    """Something of the old configuration that is not in the new one."""

    file: str
    """Where it stands, relative to what was imported."""
    key: str
    """As the file spells it, or what else was seen there."""
    reason: str
    """Why, and what to do."""
    model: str | None = None
    left_out: bool = False
    """Whether the whole model is missing from the config because of it."""
    needs_trust: bool = False
    """Whether the model is served only once somebody says that its code may run."""


@dataclass(frozen=True)
class ImportedModel:
    """One model: its config, or None where it can't be served, and what is not in it."""

    name: str
    mapping: dict[str, Any] | None
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True)
class Imported:
    """Everything that one server served."""

    server: str
    """In words, as `Triton model repository`."""
    gateway: dict[str, Any]
    models: list[ImportedModel]
    leftovers: list[Leftover] = field(default_factory=list)
    """Those of no model; models have their own."""
    remarks: tuple[str, ...] = ()
    """What to know about the `gateway` that was written."""

    def any_served(self) -> bool:
        """Whether a model is left that can be served."""
        return any(model.mapping is not None for model in self.models)

    def all_leftovers(self) -> list[Leftover]:
        """The server's own first, then each model's."""
        return [*self.leftovers, *(leftover for model in self.models for leftover in model.leftovers)]


@dataclass(frozen=True)
class Fate:
    """What becomes of a key, and with it of all keys below that the table does not name."""

    reason: str
    listed: bool


TAKEN: Final = Fate("is read into the config", listed=False)
"""What of it has no counterpart, the reader lists itself."""


def needless(why: str) -> Fate:
    """A key without which onegate does the same."""
    return Fate(why, listed=False)


def without(reason: str) -> Fate:
    """A key that onegate has no counterpart for."""
    return Fate(reason, listed=True)


UNKNOWN: Final = without("a key that this importer does not know")

Keys = Mapping[str, Fate]
"""Key path without positions, as `instance_group.gpus` -> its fate."""


def unanswered(paths: Iterable[tuple[str, ...]], keys: Keys, file: str, model: str | None = None) -> Iterator[Leftover]:
    """The keys among `paths` that are to be listed, each once, cut where the table stops naming what is below."""
    told = set()
    for path in paths:
        depth, fate = _fate(path, keys)
        shown = ".".join(path[:depth])
        if fate.listed and shown not in told:
            told.add(shown)
            yield Leftover(file, shown, fate.reason, model)


def _fate(path: tuple[str, ...], keys: Keys) -> tuple[int, Fate]:
    """How many parts of `path` the longest entry covers, and what it says."""
    plain = [re.sub(r"\[.*\]\Z", "", part, flags=re.DOTALL) for part in path]
    for depth in range(len(plain), 0, -1):
        fate = keys.get(".".join(plain[:depth]))
        if fate is not None:
            return depth, fate
    known = (depth for depth in range(len(plain) - 1, 0, -1) if _is_section(".".join(plain[:depth]), keys))
    return next(known, 0) + 1, UNKNOWN


def _is_section(name: str, keys: Keys) -> bool:
    return any(key.startswith(name + ".") for key in keys)


_NAMES: TypeAdapter[str] = TypeAdapter(ModelName)
_LABELS: TypeAdapter[str] = TypeAdapter(Label)
_ALIASES: TypeAdapter[str] = TypeAdapter(Alias)


def name_problem(name: str) -> str | None:
    """Why no model can have this name here; None where one can."""
    problem = _problem(_NAMES, name)
    return f"no model can be called {name!r} here: {problem}; rename it" if problem else None


def label_problem(label: str) -> str | None:
    """Why no version can have this label here; None where one can."""
    problem = _problem(_LABELS, label)
    return f"no version can have this label here: {problem}" if problem else None


def alias_problem(version: str) -> str | None:
    """Why no version can be called so here; None where one can."""
    problem = _problem(_ALIASES, version)
    return f"no version can be called {version!r} here: {problem}" if problem else None


def _problem(rule: TypeAdapter[str], text: str) -> str | None:
    try:
        rule.validate_python(text)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return None


def without_empty(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """`mapping` without the entries that say nothing: None, and empty mappings and lists."""
    return {key: value for key, value in mapping.items() if value is not None and value != {} and value != []}


class Notes:
    """Collects the leftovers of one model, or of the server where `model` is None."""

    def __init__(self, file: str, model: str | None = None) -> None:
        self.file = file
        self._model = model
        self.found: list[Leftover] = []

    def add(self, key: str, reason: str, file: str | None = None) -> None:
        """One more; `file` where it is another than usual."""
        self.found.append(Leftover(file or self.file, key, reason, self._model))

    def needs_trust(self, key: str, what: str) -> None:
        """Code of the model's own, `what` in words, which runs only where somebody says so."""
        reason = f"{what}: say `trust: true` for this model, or `--trust {self._model}`, where you trust it"
        self.found.append(Leftover(self.file, key, reason, self._model, needs_trust=True))

    def at_most(self, key: str, value: int, most: int) -> int:
        """`value`, or `most` where that is less and is told."""
        if value > most:
            self.add(key, f"{value} is more than onegate's largest; {most} is taken")
        return min(value, most)

    def unanswered(self, paths: Iterable[tuple[str, ...]], keys: Keys) -> None:
        """The keys among `paths` that are to be listed."""
        self.found += unanswered(paths, keys, self.file, self._model)

    def left_out(self, key: str, reason: str) -> tuple[Leftover, ...]:
        """All of them, and what keeps the whole model from being served."""
        return (*self.found, Leftover(self.file, key, reason, self._model, left_out=True))
