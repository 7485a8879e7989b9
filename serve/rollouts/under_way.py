"""A rollout that has not ended: what the fleet is to want meanwhile, and what is told and written down of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serve.control.wanted import Wanted
from serve.rollouts.guard import Evidence, Rollout
from serve.rollouts.records import RolloutRecord, State, moment
from serve.rollouts.shares import shares


@dataclass(frozen=True)
class UnderWay:
    """A rollout that has not ended. `stable` is the old version as it runs and is called, `target` what is wanted
    in the end. `stands` says that its first shares were in force."""

    rollout: Rollout
    stable: Wanted
    target: tuple[Wanted, ...]
    copied_percent: float
    keep_previous_s: float
    generation: int
    by: str
    state: State = "on"
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    stands: bool = False

    @property
    def wanted(self) -> list[Wanted]:
        """What the fleet is to want now."""
        percent = 0 if self.state == "going back" else self.rollout.percent
        return shares(self.target, self.stable, self.rollout.canary, percent, self.copied_percent)

    def record(self, state: State, reason: str, now_s: float) -> RolloutRecord:
        """To be written down, with the number that comes next."""
        return RolloutRecord(
            *(0, self.rollout.model, moment(now_s), state, self.rollout, self.generation, self.by, reason),
            *(self.evidence, self.stable.labels, self.stable.alias),
        )

    def told(self) -> dict[str, Any]:
        """For people and programs."""
        rollout = self.rollout
        return {
            "model": rollout.model,
            "stable": rollout.stable,
            "canary": rollout.canary,
            "state": self.state,
            "percent": 0 if self.state == "going back" else rollout.percent,
            "steps": list(rollout.bounds.steps),
            "began": moment(rollout.began_s),
            "since": moment(rollout.since_s),
            "generation": self.generation,
            "reason": self.reason or "not judged yet",
            "evidence": [each.text() for each in self.evidence],
        }
