"""What a run has shown, for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from tests.chaos.recorder import Call, Recorder, Verdict

SHOWN = 10
"""Failures of a kind that are written out; the rest is counted."""
EVENTS = 12
"""Things done before the first failure of a kind that are written out."""


def tell(title: str, recorder: Recorder, *, as_json: bool, **facts: Any) -> bool:
    """Prints the verdict over everything recorded, and `facts`; whether it is a good one."""
    verdict = recorder.verdict()
    if as_json:
        click.echo(json.dumps({"title": title, **facts, **_plain(verdict)}, indent=2))
        return verdict.passed
    click.echo(f"{title}: {verdict.calls:,} requests, {len(verdict.failed)} failed, {len(verdict.wrong)} wrong answers")
    for model, gap in verdict.gaps.items():
        click.echo(f"  longest gap between two answers of {model}: {gap.seconds:.3f} s, after: {gap.after}")
    click.echo(
        f"  slowest answer {verdict.slowest_s:.3f} s; {verdict.retried} requests sent again after a cut connection"
    )
    for name, value in facts.items():
        click.echo(f"  {name.replace('_', ' ')}: {value}")
    for what, calls in (("failed", verdict.failed), ("wrong", verdict.wrong)):
        for text, count in Counter(map(_text, calls)).most_common(SHOWN):
            click.echo(f"  {what} {count} times: {text}")
            first = min(call.answered for call in calls if _text(call) == text)
            for event in recorder.events_before(first, EVENTS):
                click.echo(f"    {event}")
    return verdict.passed


def _text(call: Call) -> str:
    return f"{call.model}: {call.outcome} {call.told}".strip()


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {
        "requests": verdict.calls,
        "failed": dict(Counter(map(_text, verdict.failed))),
        "wrong": dict(Counter(map(_text, verdict.wrong))),
        "retried": verdict.retried,
        "longest_gaps": {
            model: {"seconds": round(gap.seconds, 3), "after": gap.after} for model, gap in verdict.gaps.items()
        },
        "slowest_s": round(verdict.slowest_s, 3),
        "answers_by_version": dict(verdict.versions),
    }
