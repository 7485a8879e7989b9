"""A plan for people: what happens to each model, nested as in the config, in colour where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from serve.control.desired import dropped
from serve.differences import told

_SIGNS = {"add": "+", "change": "~", "retire": "-", "keep": "=", "fail": "!"}
_COLOURS = {"+": "green", "~": "yellow", "-": "red", "=": None, "!": "red"}
_VERSION_SIGNS = {"convert": "+", "load": "+", "keep": "=", "drop": "-", "fail": "!"}
_COUNTED = (
    *(("add", "to add"), ("change", "to change"), ("retire", "to retire")),
    *(("fail", "would fail"), ("keep", "unchanged")),
)


def print_plan(changes: list[dict[str, Any]]) -> None:
    """The changes that the management port answers, and the line that sums them up."""
    for change in changes:
        sign = _SIGNS[change["action"]]
        _line(sign, change["model"], bold=change["action"] != "keep")
        for inner_sign, text in _lines(change):
            _line(inner_sign, text, indent=4)
    click.echo(summary(changes))


def summary(changes: list[dict[str, Any]]) -> str:
    """`Plan: 1 to add, 2 to change, 1 to retire, 3 unchanged`; what there is none of is left out."""
    actions = [change["action"] for change in changes]
    counts = [f"{actions.count(action)} {words}" for action, words in _COUNTED if action in actions]
    return f"Plan: {', '.join(counts) or 'no models'}"


def failures(changes: list[dict[str, Any]]) -> list[str]:
    """A line for each version that applying would fail of: `model 'ranker': /b.onnx: no such file`."""
    return [
        f"model {change['model']!r}: {_version_text(step)}"
        for change in changes
        for step in change["versions"]
        if step["action"] == "fail"
    ]


def changes_something(changes: list[dict[str, Any]]) -> bool:
    """Whether applying would do anything."""
    return any(change["action"] != "keep" for change in changes)


def _line(sign: str, text: str, indent: int = 0, bold: bool = False) -> None:
    click.echo(f"{' ' * indent}{click.style(f'{sign} {text}', fg=_COLOURS.get(sign), bold=bold)}")


def _lines(change: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _nested(change["differences"])
    for step in change["versions"]:
        yield _VERSION_SIGNS[step["action"]], _version_text(step)
    if (traffic := change["traffic"]) is not None:
        by_steps = f", by steps {', '.join(map(str, traffic['steps']))}" if traffic["steps"] else ""
        yield "~", f"traffic: {_shares(traffic['before'])} -> {_shares(traffic['after'])}{by_steps}"
    elif change["action"] == "fail" and len(change["versions"]) > len(failures([change])):
        yield "=", "traffic stays as it is"


def _nested(differences: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each section once, above its keys."""
    shown: list[str] = []
    for each in differences:
        *sections, key = each["path"].split(".")
        for depth, section in enumerate(sections):
            if shown[: depth + 1] != sections[: depth + 1]:
                yield " ", f"{'  ' * depth}{section}"
        shown = sections
        yield "~", f"{'  ' * len(sections)}{key}: {told(each['old'])} -> {told(each['new'])}"


def _version_text(step: dict[str, Any]) -> str:
    number = step["version"]
    return {
        "convert": f"{step['place']} will be converted to a new version",
        "load": f"version {number} will be loaded{_from(step)}",
        "keep": f"version {number} stays loaded{_from(step)}",
        "drop": f"version {number} {dropped(step['after_s'], step['after_rollout'])}",
        "fail": f"{step['place']}: {step['reason']}",
    }[step["action"]]


def _from(step: dict[str, Any]) -> str:
    return "" if step["place"] == f"version {step['version']}" else f" (from {step['place']})"


def _shares(shares: dict[str, int]) -> str:
    return ", ".join(f"{version} {percent}%" for version, percent in shares.items()) or "none"
