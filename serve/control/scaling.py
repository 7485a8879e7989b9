"""How many replicas each version is to have, from what gateways report of its load.

Pure logic with the clock of who calls it: no Ray, no input or output. The fleet keeps the numbers (`fleet.py`), and the
deployer has Ray Serve follow them. What is remembered here is only since when a load has been high or low: a controller
that starts anew leaves every number as it finds it, and waits out the delays once more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from serve.control.fleet import Fleet
from serve.reports import VersionLoad
from serve.routing import Scaling, VersionKey

DOWN_STEP_S = 2.0
"""Between two replicas that go, once the load has been low for long enough: each is out of the table and has ended its
calls before the next."""

BUSY_SHARE = 0.8
"""How much of their time the replicas that stay may be busy, before one goes. Rows that arrive singly may wait for
nothing and keep several replicas busy all the same."""


@dataclass(frozen=True)
class Scaled:
    """A version whose number of replicas moves: what bounds it, what it is now, what gateways last said of its load
    and when the newest of them said so."""

    scaling: Scaling
    replicas: int
    loads: Mapping[str, VersionLoad]
    heard: float


def scaled_versions(fleet: Fleet) -> dict[VersionKey, Scaled]:
    """The versions of the fleet whose number moves now: those that are ready. One that is loading keeps its own."""
    found = {}
    for key, state in fleet.versions.items():
        serve = state.entry.serve
        if serve.scaling is not None and state.phase == "READY":
            said = fleet.heard.loads_of(key)
            loads = {gateway: load for gateway, (_, load) in said.items()}
            found[key] = Scaled(serve.scaling, serve.replicas, loads, max((at for at, _ in said.values()), default=0.0))
    return found


@dataclass
class _Watched:
    """What is remembered of a version. `busy_s` is the time that all its batches took since it is watched."""

    heard: float
    used: float
    over_since: float | None = None
    under_since: float | None = None
    stepped: float = -math.inf
    busy_s: float = 0.0
    busy_before_s: float = 0.0
    told: dict[str, float] = field(default_factory=dict)

    def note(self, version: Scaled) -> int:
        """Takes in new reports; returns the rows that wait or run."""
        for gateway, load in version.loads.items():
            # A gateway that is new here, or that has started anew, tells of a time that is not counted.
            self.busy_s += max(0.0, load.busy_s - self.told.get(gateway, load.busy_s))
            if load.idle_s is not None:
                self.used = max(self.used, version.heard - load.idle_s)
        self.told = {gateway: load.busy_s for gateway, load in version.loads.items()}
        self.heard = version.heard
        rows = sum(load.rows for load in version.loads.values())
        if rows:
            self.used = version.heard
        return rows

    def is_over(self, up_delay_s: float) -> bool:
        """Whether the load has been too high for that long."""
        self.under_since = None
        if self.over_since is None:
            self.over_since = self.heard
        return self.heard - self.over_since >= up_delay_s

    def is_under(self, down_delay_s: float, replicas: int) -> bool:
        """Whether the load has been low for that long, and one replica fewer had had time for it."""
        self.over_since = None
        if self.under_since is None:
            self._begin_under()
        assert self.under_since is not None
        lasted_s = self.heard - self.under_since
        if lasted_s < down_delay_s or self.heard - self.stepped < DOWN_STEP_S:
            return False
        if self.busy_s - self.busy_before_s > BUSY_SHARE * (replicas - 1) * lasted_s:
            self._begin_under()
            return False
        self.stepped = self.heard
        return True

    def _begin_under(self) -> None:
        self.under_since, self.busy_before_s = self.heard, self.busy_s

    def settle(self) -> None:
        """The load is neither too high nor low."""
        self.over_since = self.under_since = None


class Scaler:
    """Decides for all versions whose number moves."""

    def __init__(self) -> None:
        self._watched: dict[VersionKey, _Watched] = {}

    def step(self, versions: Mapping[VersionKey, Scaled]) -> dict[VersionKey, int]:
        """The new numbers, of the versions that are to have another one. What is not among `versions` is forgotten."""
        self._watched = {key: watched for key, watched in self._watched.items() if key in versions}
        changed = {}
        for key, version in versions.items():
            watched = self._watched.setdefault(key, _Watched(-math.inf, version.heard))
            # One report is one observation, however often it is looked at.
            if version.loads and version.heard > watched.heard:
                replicas = _replicas(version, watched)
                if replicas != version.replicas:
                    changed[key] = replicas
        return changed


def _replicas(version: Scaled, watched: _Watched) -> int:
    scaling, now = version.scaling, version.replicas
    rows = watched.note(version)
    if now == 0:
        return 1 if rows else 0
    needed = max(scaling.within(math.ceil(rows / scaling.target_rows)), 1)
    if needed > now:
        return needed if watched.is_over(scaling.up_delay_s) else now
    if now == 1 and scaling.least == 0:
        watched.settle()
        return 0 if watched.heard - watched.used >= scaling.down_delay_s else 1
    if needed < now:
        return now - 1 if watched.is_under(scaling.down_delay_s, now) else now
    watched.settle()
    return now
