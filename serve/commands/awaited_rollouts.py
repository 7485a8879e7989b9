"""Waiting until the rollouts that an apply has begun have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from model_store.errors import ModelNotReady
from serve.commands.progress import progress
from serve.commands.rollout_report import rollout_line

LOOK_S = 1.0
"""Rollouts are judged once a second."""

AWAY_LOOKS = 120
"""So often nobody may answer, one time after the other: the controller may be replaced meanwhile."""

State = Mapping[str, Any]


def begun_rollouts(state: State, generation: int) -> list[dict[str, Any]]:
    """The rollouts under way, and those of the generation that have ended by now."""
    ended = [each for each in state.get("ended_rollouts", ()) if each["generation"] == generation]
    return [*state.get("rollouts", ()), *ended]


def ends_of(
    begun: list[dict[str, Any]],
    state: Callable[[], State],
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """The rollouts as they have ended; asks for the `state` until then. Raises what that raises, `ModelNotReady` only
    where nobody has answered `AWAY_LOOKS` times."""
    ended: dict[int, dict[str, Any]] = {}
    away = 0
    with progress() as line:
        while True:
            try:
                now, away = state(), 0
            except ModelNotReady:
                away += 1
                if away >= AWAY_LOOKS:
                    raise
            else:
                awaited = [(place, each) for place, each in enumerate(begun) if place not in ended]
                ended |= {place: end for place, each in awaited if (end := _end(each, now))}
                if len(ended) == len(begun):
                    return [ended[place] for place in range(len(begun))]
                line.show("; ".join(rollout_line(each) for each in now["rollouts"]))
            sleep(LOOK_S)


def _end(rollout: dict[str, Any], state: State) -> dict[str, Any] | None:
    """None as long as it is under way, or nobody knows of it: a new controller looks its rollouts up."""
    model, began = rollout["model"], rollout["began"]
    newest = [each for each in (*state["rollouts"], *state["ended_rollouts"]) if each["model"] == model]
    for each in newest:
        if (each["canary"], each["began"]) == (rollout["canary"], began):
            return each if "ended" in each else None
        if each["began"] >= began:
            return rollout | {"state": "replaced", "ended": None, "reason": "another rollout has begun"}
    if model not in {row["name"] for row in state["models"]}:
        return rollout | {"state": "stopped", "ended": None, "reason": "the model was retired"}
    return None
