"""Waiting until the rollouts that an apply has begun have ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from model_store.errors import ModelNotReady
from serve.commands.progress import open_rows, progress
from serve.commands.rollout_report import rollout_line

LOOK_S = 1.0
"""Rollouts are judged once a second."""

AWAY_LOOKS = 120
"""So often nobody may answer, one time after the other: the controller may be replaced meanwhile."""

State = dict[str, Any]


def begun_rollouts(state: State, generation: int) -> list[dict[str, Any]]:
    """The rollouts under way, and those of the generation that have ended by now."""
    ended = [each for each in state.get("ended_rollouts", ()) if each["generation"] == generation]
    return [*state.get("rollouts", ()), *ended]


def patient(state: Callable[[], State], sleep: Callable[[float], None] = time.sleep) -> Callable[[], State]:
    """Asks for the `state` again where nobody answers; raises `ModelNotReady` after `AWAY_LOOKS` times."""

    def asked() -> State:
        for _ in range(AWAY_LOOKS - 1):
            with suppress(ModelNotReady):
                return state()
            sleep(LOOK_S)
        return state()

    return asked


def ends_of(
    begun: list[dict[str, Any]],
    state: Callable[[], State],
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """The rollouts as they have ended; asks for the `state` until then. Raises what that raises."""
    ended: dict[int, dict[str, Any]] = {}
    with progress() as line:
        while True:
            now = state()
            awaited = [(place, each) for place, each in enumerate(begun) if place not in ended]
            ended |= {place: end for place, each in awaited if (end := _end(each, now))}
            if len(ended) == len(begun):
                return [ended[place] for place in range(len(begun))]
            line.show("; ".join(rollout_line(each) for each in now["rollouts"]))
            sleep(LOOK_S)


def _end(rollout: dict[str, Any], state: State) -> dict[str, Any] | None:
    """None as long as it is under way, or nobody knows of it: a new controller looks its rollouts up when it has
    prepared the model."""
    model, began = rollout["model"], rollout["began"]
    newest = [each for each in (*state["rollouts"], *state["ended_rollouts"]) if each["model"] == model]
    for each in newest:
        if (each["canary"], each["began"]) == (rollout["canary"], began):
            return each if "ended" in each else None
        if each["began"] >= began:
            return rollout | {"state": "replaced", "ended": None, "reason": "another rollout has begun"}
    rows = [row for row in state["models"] if row["name"] == model]
    if not rows:
        return rollout | {"state": "stopped", "ended": None, "reason": "the model was retired"}
    failed = [row["reason"] for row in rows if row["state"] == "FAILED"]
    if failed and not open_rows({"models": rows}):
        return rollout | {"state": "stopped", "ended": None, "reason": f"nobody leads it any more: {failed[0]}"}
    return None
