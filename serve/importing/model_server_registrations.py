"""Which archives TorchServe or MXNet Model Server loads when it starts: `load_models`, `models`, `model_snapshot`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from model_store.archives import looks_like_archive
from model_store.errors import SourceError, first_line
from serve.importing.base import Notes


@dataclass(frozen=True)
class Registration:
    """One archive that is loaded."""

    archive: str
    """Absolute path, or URL."""
    name: str | None = None
    """None for what the archive's manifest says, as `version`."""
    version: str | None = None
    key: str = "load_models"
    """What of the file asks for it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the file says of this version, as `batchSize`."""
    final: bool = False
    """Whether the settings go before those of the archive's own `model-config.yaml`."""


def store_archives(store: Path) -> list[Path]:
    """The archives in a model store, by name; none where it is no folder."""
    if not store.is_dir():
        return []
    return sorted(path for path in store.iterdir() if not path.name.startswith(".") and looks_like_archive(path))


def registrations(properties: dict[str, str], store: Path, notes: Notes, only: Path | None) -> list[Registration]:
    """All that is loaded, in the order of the file; just the archive `only` where that is given."""
    if only is not None:
        return [Registration(str(only.resolve()))]
    snapshot = _json(properties, "model_snapshot").get("models")
    if snapshot is not None:
        return _described(_mapping(snapshot, "model_snapshot"), store, "model_snapshot", final=True)
    models = _json(properties, "models")
    described = _described(models, store, "models", final=False)
    wanted = properties.get("load_models")
    if wanted is None and described:
        return described
    if wanted is None:
        notes.add("load_models", "not given: every archive of the model store is taken")
    elif wanted.strip().lower() in ("", "none"):
        return described
    if wanted is None or wanted.strip().lower() == "all":
        loaded = [Registration(str(path.resolve())) for path in store_archives(store)]
    else:
        loaded = [_loaded(each.strip(), store) for each in wanted.split(",") if each.strip()]
    return [_with_settings(each, described) for each in loaded]


def _loaded(text: str, store: Path) -> Registration:
    """`name=archive` or `archive`, of which the first is told from a URL's own equals sign."""
    name, equals, archive = text.partition("=")
    if not equals or "/" in name or ":" in name:
        name, archive = "", text
    return Registration(_placed(archive.strip(), store), name.strip() or None)


def _placed(archive: str, store: Path) -> str:
    return archive if "://" in archive else str((store / archive).resolve())


def _described(models: dict[str, Any], store: Path, key: str, *, final: bool) -> list[Registration]:
    return [
        Registration(_placed(str(settings.get("marName") or f"{name}.mar"), store), name, version, key, settings, final)
        for name, versions in models.items()
        for version, settings in _mapping(versions, key).items()
        if _mapping(settings, key) is settings
    ]


def _with_settings(loaded: Registration, described: list[Registration]) -> Registration:
    """With what `models` says of the same archive."""
    for each in described:
        if each.archive == loaded.archive and loaded.name in (None, each.name):
            return Registration(loaded.archive, each.name, each.version, loaded.key, each.settings)
    return loaded


def _json(properties: dict[str, str], key: str) -> dict[str, Any]:
    text = properties.get(key)
    if text is None:
        return {}
    try:
        return _mapping(msgspec.json.decode(text), key)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceError(f"config.properties: {key}: expected JSON: {first_line(error)}") from error


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SourceError(f"config.properties: {key}: expected an object in braces, got {str(value)[:60]!r}")
    return value
