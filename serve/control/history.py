"""Who changed desired state, when, why and what: the generations of a store, each beside the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from model_store import generations, served
from model_store.errors import IntegrityError
from model_store.generations import Generation
from model_store.served import Served
from model_store.store import Store
from serve.config_sections.model import ModelConfig
from serve.control.pinning import summary
from serve.differences import Difference, differences
from serve.rollouts import records as rollout_records
from serve.rollouts.guard import Evidence
from serve.rollouts.records import RolloutRecord

LIMIT = 20
"""Entries that are told unless somebody asks for more."""


class ModelChange(msgspec.Struct, frozen=True):
    """What one generation changed of a model."""

    model: str
    action: Literal["add", "change", "retire"]
    differences: tuple[Difference, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One generation. `changes` are those of models, `settings` those of other keys of the config."""

    number: int
    created: str
    by: str
    why: str
    changes: tuple[ModelChange, ...]
    settings: tuple[Difference, ...] = ()


class ServedEntry(msgspec.Struct, frozen=True):
    """One record of what was served of a model; `text` says it for people."""

    number: int
    since: str
    by: str
    generation: int
    text: str
    document: dict[str, Any]


class RolloutEntry(msgspec.Struct, frozen=True):
    """One moment of a rollout: it began, took a step or ended, at which percent of the calls, why, what was seen."""

    number: int
    at: str
    by: str
    generation: int
    stable: int
    canary: int
    state: str
    percent: int
    reason: str
    evidence: tuple[Evidence, ...]
    ended_by: str = ""
    ended_generation: int | None = None


class History(msgspec.Struct, frozen=True):
    """Generations, newest first, and of one model what was served and how it got there."""

    generations: tuple[Entry, ...]
    served: tuple[ServedEntry, ...] = ()
    rollouts: tuple[RolloutEntry, ...] = ()


def history(store: Store, model: str | None = None, limit: int = LIMIT) -> History:
    """The newest `limit` entries, with `model` of those that changed it. Damaged ones are passed over. Reads only as
    much as that takes; blocks. Raises `StoreError`."""
    entries = _entries(store)
    if model is None:
        return History(tuple(islice(entries, limit)))
    mine = (entry for each in entries if (entry := _only(each, model)).changes)
    records = islice(served.newest_first(store, model), limit)
    steps = islice(rollout_records.newest_first(store, model), limit)
    return History(tuple(islice(mine, limit)), tuple(map(_served_entry, records)), tuple(map(_rollout_entry, steps)))


def _entries(store: Store) -> Iterator[Entry]:
    newer: Generation | None = None
    for number in reversed(generations.numbers(store)):
        with suppress(IntegrityError):
            generation = generations.read(store, number)
            if newer is not None:
                yield _entry(generation.config, newer)
            newer = generation
    if newer is not None:
        yield _entry({}, newer)


def _entry(before: Mapping[str, Any], generation: Generation) -> Entry:
    old, new = ({model["name"]: model for model in each.get("models", [])} for each in (before, generation.config))
    changes = [
        ModelChange(name, "change" if name in old else "add", _model_differences(old.get(name), model))
        for name, model in new.items()
        if old.get(name) != model
    ]
    changes += [ModelChange(name, "retire") for name in old if name not in new]
    settings = differences(_settings(before), _settings(generation.config)) if before else ()
    return Entry(generation.number, generation.created, generation.by, generation.why, tuple(changes), tuple(settings))


def _model_differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """None for a model that was added: all of it is new."""
    return () if old is None else tuple(differences(_typed(old), _typed(new)))


def _typed(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """With defaults for keys that came after it was written; as it is where it can't be read any more."""
    try:
        return ModelConfig.model_validate(model).model_dump(mode="json")
    except ValidationError:
        return model


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "models"}


def _only(entry: Entry, model: str) -> Entry:
    return msgspec.structs.replace(entry, changes=tuple(each for each in entry.changes if each.model == model))


def _served_entry(record: Served) -> ServedEntry:
    return ServedEntry(
        record.number, record.since, record.by, record.generation, summary(record.document), record.document
    )


def _rollout_entry(record: RolloutRecord) -> RolloutEntry:
    rollout = record.rollout
    percent = {"going back": 0, "went back": 0}.get(record.state, rollout.percent)
    return RolloutEntry(
        *(record.number, record.at, record.by, record.generation, rollout.stable, rollout.canary),
        *(record.state, percent, record.reason, record.evidence, record.ended_by, record.ended_generation),
    )
