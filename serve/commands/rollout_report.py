"""A rollout in one line for people."""

from __future__ import annotations

from typing import Any


def rollout_line(rollout: dict[str, Any]) -> str:
    """Of one under way: `ranker: rollout of version 2 for 1: at 10% (steps 1, 10, 50, 100): not decided yet: 3 of 100
    calls`."""
    way = _way(rollout)
    if rollout["state"] == "going back":
        return f"{way}: goes back: {rollout['reason']}"
    steps = ", ".join(map(str, rollout["steps"]))
    return f"{way}: at {rollout['percent']}% (steps {steps}): {rollout['reason']}"


def ended_line(ended: dict[str, Any]) -> str:
    """Of one that has ended: `ranker: rollout of version 2 for 1: went back at 2026-01-02T03:04:05+00:00: why`."""
    when = "" if ended["ended"] is None else f" at {ended['ended']}"
    return f"{_way(ended)}: {ended['state']}{when}: {ended['reason']}"


def was_sent_back(ended: dict[str, Any]) -> bool:
    """Whether the guard has sent the version back, and that is still how the model is served."""
    return ended["state"] == "went back" and bool(ended["holds"])


def _way(rollout: dict[str, Any]) -> str:
    return f"{rollout['model']}: rollout of version {rollout['canary']} for {rollout['stable']}"
