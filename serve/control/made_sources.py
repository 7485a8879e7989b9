"""Which sources of a model are read when it is prepared: one that a version was made of stays that version, whatever it
holds by now, until somebody asks for it to be read again.

That outlives a controller: gateways' tables say what was made of what (`routing.Made`), generations who asked since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress

from converters.base import ConversionOptions
from model_store.errors import OnegateError
from model_store.manifest import Manifest
from model_store.store import Store
from serve.config import Config
from serve.config_sections.model import ModelConfig
from serve.control.fleet import Fleet
from serve.control.preparation import conversion_options
from serve.control.wanted import Wanted
from serve.routing import Made


class MadeSources:
    """Of the models that one controller prepares."""

    def __init__(self, store: Store, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet
        self._options: dict[str, ConversionOptions] = {}
        """With which the versions that are wanted of a model were made."""
        self._read: dict[str, Collection[str] | None] = {}

    def ask(self, model: str, read: Collection[str] | None) -> None:
        """The next preparation of the model is to read these sources anew; None is all."""
        self._read[model] = read

    def to_read(self, model: str) -> Collection[str] | None:
        """What `ask` last said."""
        return self._read[model]

    def forget(self, model: str) -> None:
        """The model is not desired any more."""
        self._options.pop(model, None)
        self._read.pop(model, None)

    def made(self, model: ModelConfig, asked: int, read: Collection[str] | None) -> dict[str, Manifest]:
        """Source -> the version that was made of it, of the sources that are not to be `read`. `asked` is the newest
        generation that asked for them to be. May block: a controller that begins looks into the store."""
        if read is None:
            return {}
        is_first = model.name not in self._options
        made = self._made_before(model.name, asked) if is_first else self._made_here(model)
        return {source: manifest for source, manifest in made.items() if source not in read}

    def _made_here(self, model: ModelConfig) -> dict[str, Manifest]:
        """As this controller has it, where the model is still made alike."""
        if self._options.get(model.name) != conversion_options(model):
            return {}
        wanted = self._fleet.wanted(model.name)
        return {w.source: w.entry.manifest for w in wanted if w.source is not None}

    def _made_before(self, model: str, asked: int) -> dict[str, Manifest]:
        """As an earlier controller had it."""
        made, found = self._fleet.made(model), {}
        if made is not None and made.generation >= asked:
            for source, number in made.versions.items():
                # One that has gone is made anew.
                with suppress(OnegateError):
                    found[source] = self._store.manifest(model, number)
        return found

    def note_made(self, model: ModelConfig, wanted: Iterable[Wanted], generation: int) -> Made:
        """These versions are wanted of the model for `generation`; what the next controller is to be told of that."""
        self._options[model.name] = conversion_options(model)
        return Made(generation, {w.source: w.entry.key[1] for w in wanted if w.source is not None})


def to_be_read(former: Config, config: Config, models: Collection[str], read: Collection[str] | None) -> set[str]:
    """Of the models that an edit changes, those with a source that it wants `read`, or that are made otherwise now."""
    before = {model.name: conversion_options(model) for model in former.models}
    return {
        model.name
        for model in config.models
        if model.name in models
        and (
            read is None
            or before.get(model.name) != conversion_options(model)
            or any(version.source in read for version in model.wanted_versions())
        )
    }
