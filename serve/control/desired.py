"""Two desired states side by side: what applying the second would change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from model_store.errors import OnegateError
from model_store.manifest import Manifest
from serve.config import Config
from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.control.present import Present
from serve.differences import Difference, differences
from serve.rollouts.guard import bounds_of
from serve.rollouts.shares import routed_beside

NEW = "new"
"""In a plan's traffic: the version that is to be converted and has no number yet. Of several, each goes by its place.
"""


@dataclass(frozen=True)
class Lookup:
    """How a model's versions are found without converting anything: `listed` are those that its config asks for, with
    their traffic, `stored` is one in the store, None where it must be converted."""

    listed: Callable[[ModelConfig], Sequence[VersionConfig]]
    stored: Callable[[ModelConfig, VersionConfig], Manifest | None]


class VersionStep(msgspec.Struct, frozen=True):
    """What happens to one version. `place` is where it comes from: a source, or `version 3`. `reason` says why it
    fails, `after_s` in how many seconds it is dropped, which count from the last step of the model's rollout where
    `after_rollout` says so."""

    action: Literal["convert", "load", "keep", "drop", "fail"]
    place: str
    version: int | None = None
    reason: str | None = None
    after_s: float | None = None
    after_rollout: bool = False

    @property
    def text(self) -> str:
        """For people."""
        told = {
            "convert": "will be converted to a new version",
            "load": f"version {self.version} of the store will be loaded",
            "keep": f"version {self.version} stays loaded",
            "drop": dropped(self.after_s, self.after_rollout),
            "fail": self.reason,
        }
        return f"{self.place}: {told[self.action]}"


def dropped(after_s: float | None, after_rollout: bool) -> str:
    """That a version is dropped, and when, in words: `will be dropped after 600 s`."""
    seconds = f"{after_s:g} s" if after_s else ""
    if after_rollout:
        return " ".join(part for part in ("will be dropped", seconds, "after the last step") if part)
    return f"will be dropped after {seconds}" if seconds else "will be dropped"


class Traffic(msgspec.Struct, frozen=True):
    """Percent by version, before and after. `steps` are the percents that a rollout has still to take there."""

    before: dict[str, int]
    after: dict[str, int]
    steps: tuple[int, ...] = ()


class Change(msgspec.Struct, frozen=True):
    """What happens to one model. `fail` says that it can't be prepared: what is served of it goes on. `details` are
    lines for people, as `serve.cpus: 1 -> 2`; `traffic` is None where it stays as it is."""

    model: str
    action: Literal["add", "change", "keep", "retire", "fail"]
    details: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    versions: tuple[VersionStep, ...] = ()
    traffic: Traffic | None = None


def plan(old: Config | None, new: Config, present: Present, lookup: Lookup, *, at_once: bool = False) -> list[Change]:
    """What `apply` of `new` does; `at_once` says that no rollout leads there by steps."""
    before = {model.name: model for model in old.models} if old else {}
    changes = [_change(before.get(model.name), model, present, lookup, at_once) for model in new.models]
    kept = {model.name for model in new.models}
    return changes + [_retired(name, present) for name in before if name not in kept]


def _change(old: ModelConfig | None, new: ModelConfig, present: Present, lookup: Lookup, at_once: bool) -> Change:
    name, loaded = new.name, present.loaded.get(new.name, set())
    found = list(_found(new, loaded, lookup))
    steps = [step for step, _ in found]
    different = () if old is None else tuple(differences(_plain(old), _plain(new)))
    changing = [step for step in steps if step.action != "keep"]
    if old is not None and not different and not changing:
        return Change(name, "keep")
    if any(step.action == "fail" for step in steps):
        return _failing(name, different, steps, loaded)
    way = None if at_once else _way(new, found, present)
    gone = loaded - {step.version for step in steps if step.version is not None}
    versions = (*steps, *(_unasked(new, n, present, way) for n in sorted(gone)))
    after = {str(way.stable): ALL_TRAFFIC} if way and way.is_back else _shares(found)
    return Change(
        name,
        "add" if old is None else "change",
        (*(each.text for each in different), *(step.text for step in versions if step.action != "keep")),
        different,
        versions,
        _traffic(present.traffic.get(name, {}), after, way.steps if way else ()),
    )


def _failing(name: str, different: tuple[Difference, ...], steps: Sequence[VersionStep], loaded: set[int]) -> Change:
    """A model is prepared whole or not at all: where one version fails none is loaded, and none is dropped."""
    failed = tuple(step for step in steps if step.action == "fail")
    places = {step.version: step.place for step in steps if step.action == "keep"}
    kept = tuple(VersionStep("keep", places.get(n, f"version {n}"), n) for n in sorted(loaded))
    details = (*(each.text for each in different), *(step.text for step in failed))
    return Change(name, "fail", details, different, (*failed, *kept))


def _retired(name: str, present: Present) -> Change:
    leaving = tuple(_dropped(version) for version in sorted(present.loaded.get(name, set())))
    return Change(
        name,
        "retire",
        tuple(step.text for step in leaving),
        versions=leaving,
        traffic=_traffic(present.traffic.get(name, {}), {}),
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


def _dropped(version: int, after_s: float = 0.0, *, after_rollout: bool = False) -> VersionStep:
    return VersionStep("drop", f"version {version}", version, after_s=after_s, after_rollout=after_rollout)


def _unasked(model: ModelConfig, version: int, present: Present, way: _Way | None) -> VersionStep:
    """What happens to a version that is loaded, and that the model does not ask for."""
    is_stable = way is not None and version == way.stable
    if way and way.is_back and is_stable:
        return VersionStep("keep", f"version {version}", version)
    return _dropped(version, _left_s(model, version, present), after_rollout=is_stable)


def _left_s(model: ModelConfig, version: int, present: Present) -> float:
    """For how long a version is still kept that nobody wants, in whole seconds where its time runs already."""
    spare_s = present.spare_s.get(model.name, {}).get(version)
    if spare_s is None:
        return model.keep_previous_s
    return float(math.ceil(max(model.keep_previous_s - spare_s, 0.0)))


def _shares(found: Sequence[tuple[VersionStep, int]]) -> dict[str, int]:
    """Percent by version. What has no number yet is newer than all that have."""
    is_alone = sum(step.version is None for step, _ in found) == 1
    numbered: dict[int, int] = {}
    new: dict[str, int] = {}
    for step, percent in found:
        if not percent:
            continue
        if step.version is None:
            new[NEW if is_alone else step.place] = percent
        else:
            numbered[step.version] = numbered.get(step.version, 0) + percent
    return _by_version(numbered) | new


@dataclass(frozen=True)
class _Way:
    """A rollout away from `stable`, by the percents that are still to come. One that `is_back` goes on going back,
    whatever is asked."""

    stable: int
    steps: tuple[int, ...] = ()
    is_back: bool = False


def _way(model: ModelConfig, found: Sequence[tuple[VersionStep, int]], present: Present) -> _Way | None:
    """The rollout that leads there, as `serve/rollouts/leading.py` takes it; None where all goes at once: the model has
    none, several versions are to share the calls, or nothing else answers."""
    if model.rollout is None or len(_shares(found)) != 1:
        return None
    sole = next(step.version for step, percent in found if percent)
    bounds, split = bounds_of(model.rollout), present.traffic.get(model.name, {})
    under_way = present.rollouts.get(model.name)
    if under_way is not None and sole == under_way.canary:
        if model.name in present.going_back:
            return _Way(under_way.stable, is_back=True)
        if bounds == under_way.bounds:
            in_force = split.get(sole) == under_way.percent
            return _Way(under_way.stable, bounds.steps[under_way.step + in_force :])
    stable = routed_beside(split.items(), sole) if under_way is None else under_way.stable
    return None if stable is None or stable == sole else _Way(stable, bounds.steps)


def _traffic(present: Mapping[int, int], after: dict[str, int], steps: tuple[int, ...] = ()) -> Traffic | None:
    before = _by_version(present)
    return None if before == after else Traffic(before, after, steps)


def _by_version(shares: Mapping[int, int]) -> dict[str, int]:
    return {str(number): percent for number, percent in sorted(shares.items())}


def _plain(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(mode="json")
