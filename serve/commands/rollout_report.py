"""A rollout that is under way, in one line for people."""

from __future__ import annotations

from typing import Any


def rollout_line(rollout: dict[str, Any]) -> str:
    """As `ranker: rollout of version 2 for 1: at 10% (steps 1, 10, 50, 100): not decided yet: 3 of 100 calls`."""
    way = f"{rollout['model']}: rollout of version {rollout['canary']} for {rollout['stable']}"
    if rollout["state"] == "going back":
        return f"{way}: goes back: {rollout['reason']}"
    steps = ", ".join(map(str, rollout["steps"]))
    return f"{way}: at {rollout['percent']}% (steps {steps}): {rollout['reason']}"
