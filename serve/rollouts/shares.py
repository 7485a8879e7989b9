"""What the fleet is to want of a model while its canary has a part of the calls. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.control.wanted import Wanted
from serve.routing import ModelRoute, VersionEntry


def sole_version(wanted: Sequence[Wanted]) -> int | None:
    """The version that is to have all traffic; None where several share it."""
    versions = {each.entry.key[1] for each in wanted if each.traffic}
    return versions.pop() if len(versions) == 1 else None


def routed_beside(split: Iterable[tuple[int, int]], canary: int | None) -> int | None:
    """The version from which a rollout of `canary` begins, by `split`, versions with their percent: of the others that
    answers most; None where none does. A canary that has no number yet is None."""
    others = [(percent, version) for version, percent in split if percent and version != canary]
    return max(others)[1] if others else None


def as_routed(entry: VersionEntry, route: ModelRoute | None) -> Wanted:
    """A version by the names that clients have for it now."""
    labels, aliases = (route.labels, route.aliases) if route else ({}, {})
    number = entry.key[1]
    alias = next((alias for alias, version in aliases.items() if version == number), None)
    return Wanted(entry, 0, tuple(sorted(label for label, version in labels.items() if version == number)), alias)


def shares(target: Sequence[Wanted], stable: Wanted, canary: int, percent: int, copied_percent: float) -> list[Wanted]:
    """`target`, in which `canary` has all traffic, as long as it has `percent` of it and `stable` the rest.

    What `stable` is called by it keeps meanwhile. At 0 the canary is not there at all; at 100 `stable` stays loaded and
    its figures are kept. The version with more calls comes first: metadata is of that one.
    """
    number = stable.entry.key[1]
    others = [each for each in target if each.entry.key[1] not in (number, canary)]
    given = {label for each in others for label in each.labels}
    own = [label for each in target if each.entry.key[1] == number for label in each.labels]
    labels = dict.fromkeys(label for label in (*stable.labels, *own) if label not in given)
    sticky = next((each.sticky for each in target), None)
    replaced = msgspec.structs.replace
    old = replaced(stable, traffic=ALL_TRAFFIC - percent, labels=tuple(labels), sticky=sticky, counted=percent > 0)
    if not percent:
        return [old, *others]
    first, *more = [each for each in target if each.entry.key[1] == canary]
    new = replaced(first, traffic=percent, shadow_percent=copied_percent, counted=True)
    canaries = [_renamed(each, old) for each in (new, *(replaced(each, traffic=0) for each in more))]
    both = [*canaries, old] if percent > ALL_TRAFFIC / 2 else [old, *canaries]
    return [*both, *others]


def _renamed(canary: Wanted, stable: Wanted) -> Wanted:
    """The canary without the names that the stable version still has."""
    labels = tuple(label for label in canary.labels if label not in stable.labels)
    alias = None if canary.alias == stable.alias else canary.alias
    return msgspec.structs.replace(canary, labels=labels, alias=alias)
