"""What there is of models before a change, for plans of it (`desired.py`)."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from serve.control.fleet import Fleet
from serve.rollouts.guard import Rollout
from serve.rollouts.under_way import UnderWay


@dataclass(frozen=True)
class Present:
    """What there is, by model.

    `loaded` are its versions that are, `traffic` percent by version of what its route says, `spare_s` for how many
    seconds a version has been kept that nobody wants, `rollouts` those under way. Of the models of `going_back` the
    rollout is on its way back to the old version.
    """

    loaded: Mapping[str, set[int]] = field(default_factory=dict)
    traffic: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    spare_s: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    going_back: Collection[str] = ()


def present(fleet: Fleet, under_way: Mapping[str, UnderWay]) -> Present:
    """What the fleet has now, and the rollouts that are under way."""
    # The fleet's steps are by this clock.
    now_s = time.monotonic()
    loaded: dict[str, set[int]] = {}
    spare_s: dict[str, dict[int, float]] = {}
    for (name, version), state in fleet.versions.items():
        if state.phase in ("LOADING", "READY"):
            loaded.setdefault(name, set()).add(version)
            if state.spare_since is not None:
                spare_s.setdefault(name, {})[version] = now_s - state.spare_since
    return Present(
        loaded,
        {name: {v: n for v, n in route.split if n} for name, route in fleet.table.routes.items()},
        spare_s,
        {name: each.rollout for name, each in under_way.items()},
        {name for name, each in under_way.items() if each.state == "going back"},
    )
