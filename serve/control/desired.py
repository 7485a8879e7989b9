"""Two desired states side by side: what applying the second would change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from model_store.errors import OnegateError
from model_store.manifest import Manifest
from serve.config import Config
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.differences import Difference, differences

NEW = "new"
"""In a plan's traffic: the version that is to be converted and has no number yet."""


@dataclass(frozen=True)
class Present:
    """What there is: the versions that are loaded, by model, and percent by version of what its route says."""

    loaded: Mapping[str, set[int]] = field(default_factory=dict)
    traffic: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Lookup:
    """How a model's versions are found without converting anything: `listed` are those that its config asks for, with
    their traffic, `stored` is one in the store, None where it must be converted."""

    listed: Callable[[ModelConfig], Sequence[VersionConfig]]
    stored: Callable[[ModelConfig, VersionConfig], Manifest | None]


class VersionStep(msgspec.Struct, frozen=True):
    """What happens to one version. `place` is where it comes from: a source, or `version 3`. `reason` says why it
    fails, or when it is dropped where that is not at once."""

    action: Literal["convert", "load", "keep", "drop", "fail"]
    place: str
    version: int | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """For people."""
        told = {
            "convert": "will be converted to a new version",
            "load": f"version {self.version} of the store will be loaded",
            "keep": f"version {self.version} stays loaded",
            "drop": f"will be dropped{self.reason or ''}",
            "fail": self.reason,
        }
        return f"{self.place}: {told[self.action]}"


class Traffic(msgspec.Struct, frozen=True):
    """Percent by version, before and after."""

    before: dict[str, int]
    after: dict[str, int]


class Change(msgspec.Struct, frozen=True):
    """What happens to one model. `details` are lines for people, as `serve.cpus: 1 -> 2`; `traffic` is None where it
    stays as it is."""

    model: str
    action: Literal["add", "change", "keep", "retire"]
    details: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    versions: tuple[VersionStep, ...] = ()
    traffic: Traffic | None = None


def plan(old: Config | None, new: Config, present: Present, lookup: Lookup) -> list[Change]:
    """What `apply` of `new` does."""
    before = {model.name: model for model in old.models} if old else {}
    changes = [_change(before.get(model.name), model, present, lookup) for model in new.models]
    kept = {model.name for model in new.models}
    return changes + [_retired(name, present) for name in before if name not in kept]


def _change(old: ModelConfig | None, new: ModelConfig, present: Present, lookup: Lookup) -> Change:
    loaded = present.loaded.get(new.name, set())
    found = list(_found(new, loaded, lookup))
    steps = [step for step, _ in found]
    different = () if old is None else tuple(differences(_plain(old), _plain(new)))
    changing = [step for step in steps if step.action != "keep"]
    if old is not None and not different and not changing:
        return Change(new.name, "keep")
    gone = loaded - {step.version for step in steps if step.version is not None}
    dropped = _dropped(gone, new.keep_previous_s)
    return Change(
        new.name,
        "add" if old is None else "change",
        (*(each.text for each in different), *(step.text for step in [*changing, *dropped])),
        different,
        (*steps, *dropped),
        _traffic(present.traffic.get(new.name, {}), found),
    )


def _retired(name: str, present: Present) -> Change:
    dropped = _dropped(present.loaded.get(name, set()))
    return Change(
        name,
        "retire",
        tuple(step.text for step in dropped),
        versions=dropped,
        traffic=_traffic(present.traffic.get(name, {}), []),
    )


def _found(model: ModelConfig, loaded: set[int], lookup: Lookup) -> Iterator[tuple[VersionStep, int]]:
    """A step for each version that the model asks for, and its traffic."""
    try:
        listed = lookup.listed(model)
    except OnegateError as error:
        yield VersionStep("fail", "versions", reason=error.message), 0
        return
    for version in listed:
        yield _step(model, version, loaded, lookup), version.traffic or 0


def _step(model: ModelConfig, version: VersionConfig, loaded: set[int], lookup: Lookup) -> VersionStep:
    place = version.source or f"version {version.version}"
    try:
        manifest = lookup.stored(model, version)
    except OnegateError as error:
        return VersionStep("fail", place, reason=error.message)
    if manifest is None:
        return VersionStep("convert", place)
    return VersionStep("keep" if manifest.version in loaded else "load", place, manifest.version)


def _dropped(versions: set[int], keep_s: float = 0.0) -> tuple[VersionStep, ...]:
    reason = f" after {keep_s:g} s" if keep_s else None
    return tuple(VersionStep("drop", f"version {version}", version, reason) for version in sorted(versions))


def _traffic(present: Mapping[int, int], found: Sequence[tuple[VersionStep, int]]) -> Traffic | None:
    # What has no number yet is newer than all that have.
    after: dict[float, int] = {}
    for step, percent in found:
        if percent:
            number = math.inf if step.version is None else step.version
            after[number] = after.get(number, 0) + percent
    return None if present == after else Traffic(_by_version(present.items()), _by_version(after.items()))


def _by_version(shares: Iterable[tuple[float, int]]) -> dict[str, int]:
    return {NEW if math.isinf(number) else str(number): percent for number, percent in sorted(shares)}


def _plain(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(mode="json")
