"""Versions as desired state wants them, and where each is in its life. What moves them on is `fleet.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from model_store.errors import OnegateError
from serve.rollouts.sticky import Sticky
from serve.routing import ModelRoute, VersionEntry


class Wanted(msgspec.Struct, frozen=True):
    """A version that the desired state names. `alias` is what clients call it by instead of its number, `source` what
    the config says it is made from, `shadow_percent` of how many calls it gets copies."""

    entry: VersionEntry
    traffic: int
    labels: tuple[str, ...] = ()
    alias: str | None = None
    source: str | None = None
    shadow_percent: float = 0.0
    sticky: Sticky | None = None
    """The model's, the same for each of its versions."""
    counted: bool = False
    """Whether its figures are kept though it has no traffic."""


@dataclass
class VersionState:
    """Where a version is in its life.

    `since_table` is the first table that holds the phase: with the version when LOADING, without it when DRAINING; what
    gateways with older tables say is about an earlier life of it. `fallback` is how a version that answers already is
    run until a change of that (of its executor, say) is ready everywhere, and again if the change fails.
    """

    entry: VersionEntry
    phase: str = "LOADING"
    reason: str | None = None
    error: OnegateError | None = None
    since_table: int = 0
    fallback: VersionEntry | None = None
    spare_since: float | None = None
    """Since when nobody wants it and no route leads to it, by the controller's clock."""


def wanted_route(wanted: Sequence[Wanted]) -> ModelRoute:
    """How a model's calls go to these, once all are ready."""
    return ModelRoute(
        split=tuple((w.entry.key[1], w.traffic) for w in wanted if w.traffic or w.counted),
        labels={label: w.entry.key[1] for w in wanted for label in w.labels},
        aliases={w.alias: w.entry.key[1] for w in wanted if w.alias is not None},
        shadows=tuple((w.entry.key[1], w.shadow_percent) for w in wanted if w.shadow_percent),
        sticky=next((w.sticky for w in wanted), None),
    )
