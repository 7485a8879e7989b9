"""Models of another server whose own code may run, because whoever starts them says so, model by model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from model_store.errors import ConfigError
from serve.importing.base import Imported, ImportedModel


def with_trust(imported: Imported, names: Collection[str]) -> Imported:
    """`imported` with `trust: true` for the models called `names`, where they bring code.

    Raises `ConfigError` for a name that no model has.
    """
    known = [model.name for model in imported.models]
    unknown = sorted(set(names).difference(known))
    if unknown:
        raise ConfigError(f"--trust {unknown[0]}: no model of this name; models: {', '.join(known) or 'none'}")
    return replace(imported, models=[_trusted(model) if model.name in names else model for model in imported.models])


def _trusted(model: ImportedModel) -> ImportedModel:
    others = tuple(leftover for leftover in model.leftovers if not leftover.needs_trust)
    if model.mapping is None or len(others) == len(model.leftovers):
        return model
    return replace(model, mapping={"name": model.name, "trust": True, **model.mapping}, leftovers=others)
