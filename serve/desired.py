"""Two desired states side by side: what applying the second would change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from model_store.errors import OnegateError
from model_store.manifest import Manifest
from serve.config import Config
from serve.config_model import ModelConfig, VersionConfig

StoredVersion = Callable[[ModelConfig, VersionConfig], Manifest | None]


class Change(msgspec.Struct, frozen=True):
    """What happens to one model. `details` are lines for people, as `serve.cpus: 1 -> 2`."""

    model: str
    action: Literal["add", "change", "keep", "retire"]
    details: tuple[str, ...] = ()


def plan(old: Config | None, new: Config, serving: dict[str, set[int]], stored: StoredVersion) -> list[Change]:
    """What `apply` of `new` does. `serving` are the versions that answer now by model, `stored` looks a version up
    without converting it."""
    before = {model.name: model for model in old.models} if old else {}
    changes = [_change(before.get(model.name), model, serving, stored) for model in new.models]
    kept = {model.name for model in new.models}
    return changes + [Change(name, "retire") for name in before if name not in kept]


def _change(old: ModelConfig | None, new: ModelConfig, serving: dict[str, set[int]], stored: StoredVersion) -> Change:
    details = tuple(_version_lines(new, serving.get(new.name, set()), stored))
    if old is None:
        return Change(new.name, "add", details)
    details = (*_differences("", _plain(old), _plain(new)), *details)
    return Change(new.name, "change" if details else "keep", details)


def _version_lines(model: ModelConfig, serving: set[int], stored: StoredVersion) -> Iterator[str]:
    for version in model.wanted_versions():
        place = version.source or f"version {version.version}"
        try:
            manifest = stored(model, version)
        except OnegateError as error:
            yield f"{place}: {error.message}"
            continue
        if manifest is None:
            yield f"{place}: will be converted to a new version"
        elif manifest.version not in serving:
            yield f"{place}: version {manifest.version} of the store will be loaded"


def _plain(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new:
            yield from _differences(f"{path}.{key}" if path else key, old.get(key), new[key])
    elif old != new:
        yield f"{path}: {old} -> {new}"
