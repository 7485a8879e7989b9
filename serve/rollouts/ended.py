"""How rollouts have ended: of each model the last one, and how many in which way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any, Literal

from serve.rollouts.records import RolloutRecord, State, moment

Outcome = Literal["finished", "rolled_back", "stopped"]

OUTCOMES: tuple[Outcome, ...] = ("finished", "rolled_back", "stopped")


class EndedRollouts:
    """What this controller knows of them."""

    def __init__(self) -> None:
        self._counted: Counter[tuple[str, Outcome]] = Counter()
        self._last: dict[str, RolloutRecord] = {}

    def take_up(self, record: RolloutRecord) -> None:
        """The newest record of a model, which an earlier controller has written."""
        if record.has_ended:
            self._last[record.model] = record

    def note_sent_back(self, model: str) -> None:
        """The guard has sent a version back; what desired state does about it may take a while."""
        self._counted[model, "rolled_back"] += 1

    def note(self, record: RolloutRecord, before: State) -> None:
        """A rollout has ended, whose state was `before`."""
        self._last[record.model] = record
        if before != "going back":
            self._counted[record.model, "finished" if record.state == "finished" else "stopped"] += 1

    def forget(self, model: str) -> None:
        """The model is retired."""
        self._last.pop(model, None)

    def counts(self, guarded: Iterable[str]) -> dict[tuple[str, Outcome], int]:
        """How many ended, or were sent back, since this controller started. Models that are `guarded` have zeros too,
        so that whoever reads this again and again sees the first one come."""
        return dict.fromkeys(product(guarded, OUTCOMES), 0) | self._counted

    def of(self, model: str, sole: int | None) -> dict[str, Any] | None:
        """The last one of a model, for people and programs. `sole` is the version that has all traffic now, and `holds`
        says whether that is the one to which the rollout led."""
        record = self._last.get(model)
        if record is None:
            return None
        rollout = record.rollout
        led_to = {"finished": rollout.canary, "went back": rollout.stable}.get(record.state)
        return {
            "model": model,
            "stable": rollout.stable,
            "canary": rollout.canary,
            "state": record.state,
            "began": moment(rollout.began_s),
            "ended": record.at,
            "generation": record.generation,
            "ended_generation": record.ended_generation,
            "ended_by": record.ended_by,
            "reason": record.reason,
            "evidence": [each.text() for each in record.evidence],
            "holds": led_to is not None and led_to == sole,
        }

    def models(self) -> list[str]:
        """Those of which there is one."""
        return sorted(self._last)
