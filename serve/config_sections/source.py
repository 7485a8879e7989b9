"""The plain values of a config, and the line that each of them came from.

Knows nothing of the keys that a config has: it answers where a value stands, for the messages of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the config down to a value."""


def render_path(path: KeyPath) -> str:
    """As users read it: `models[0].serve.cpus`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def shorten(value: Any) -> str:
    """A value for a message, on one line and of bounded length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where it stands, at which key, and what would be right."""

    place: str
    """`configs/x.yaml:12`, or the environment variable or option that brought the value."""
    line: int
    """0 for a value that comes from outside the text."""
    path: KeyPath
    problem: str

    @property
    def text(self) -> str:
        """One line: place, key, problem."""
        return ": ".join(part for part in (self.place, render_path(self.path), self.problem) if part)


@dataclass(frozen=True)
class ConfigSource:
    """Plain values and what is known of their places."""

    name: str
    """Of the file or the request, for messages."""
    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """First line is 1. The line of a mapping's entry is that of its key."""
    spelled: dict[KeyPath, str] = field(default_factory=dict)
    """Unquoted text that YAML reads as something other than text: `1.0`, `yes`."""
    origins: dict[KeyPath, str] = field(default_factory=dict)
    """Who brought a value that is not from the text."""
    mistakes: tuple[Mistake, ...] = ()
    called: Mapping[KeyPath, str] = field(default_factory=dict)
    """What readers know a part by, as `model 'ranker'`, where its place in the text says nothing to them."""

    def mistake(self, path: KeyPath, problem: str) -> Mistake:
        """A mistake at `path`, placed at the nearest enclosing thing whose place is known."""
        for end in range(len(path), -1, -1):
            if (name := self.called.get(path[:end])) is not None:
                return Mistake(name, 0, path[end:], problem)
            if (origin := self.origins.get(path[:end])) is not None:
                return Mistake(origin, 0, path, problem)
            if (line := self.lines.get(path[:end])) is not None:
                return Mistake(f"{self.name}:{line}", line, path, problem)
        return Mistake(self.name, 0, path, problem)

    def with_setting(self, path: KeyPath, value: Any, origin: str) -> ConfigSource:
        """A copy in which `value` stands at `path`; unchanged where a section on the way is no mapping."""
        document = _with_value(self.value, path, value)
        spelled = {at: text for at, text in self.spelled.items() if at != path}
        return replace(self, value=document, spelled=spelled, origins=self.origins | {path: origin})


def _with_value(document: Any, path: KeyPath, value: Any) -> Any:
    if not path:
        return value
    if not isinstance(document, dict):
        return document
    return document | {path[0]: _with_value(document.get(path[0], {}), path[1:], value)}
