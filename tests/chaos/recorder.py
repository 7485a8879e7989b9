"""What was asked and what came back, and which answers were right when.

A model of these tests multiplies by a factor of its version, so that an answer tells which version made it. Whoever
changes something says before which factors may answer from now on, and afterwards which ones still may.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

Outcome = float | str
"""The factor that an answer shows, or why there is none, as `404` or `ServerDisconnectedError`."""

ABSENT = "404"
"""The outcome of a call to a model that is not served."""

NOT_YET = "503"
"""The outcome of a call to a model that is being prepared."""


@dataclass(frozen=True)
class Call:
    """One request of a client. Times are of `time.monotonic`; `told` is the version that the answer names, or the text
    of an error."""

    model: str
    sent: float
    answered: float
    outcome: Outcome
    told: str = ""
    retried: bool = False


class Timeline:
    """Which outcomes were right for one model, from which time on."""

    def __init__(self) -> None:
        self._since: list[float] = []
        self._allowed: list[frozenset[Outcome]] = []

    def allow(self, outcomes: Iterable[Outcome]) -> None:
        """These are right too from now on: a change begins that brings them."""
        before = self._allowed[-1] if self._allowed else frozenset()
        self.settle(before | frozenset(outcomes))

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Only these are right for what is sent from now on: the change is over."""
        self._since.append(time.monotonic())
        self._allowed.append(frozenset(outcomes))

    @property
    def allowed(self) -> frozenset[Outcome]:
        """What is right now."""
        return self._allowed[-1]

    def admits(self, call: Call) -> bool:
        """Whether the outcome was right at some time between the sending and the answer."""
        first = max(bisect_right(self._since, call.sent) - 1, 0)
        last = bisect_right(self._since, call.answered)
        return any(call.outcome in allowed for allowed in self._allowed[first:last])


@dataclass(frozen=True)
class Gap:
    """Time between two answers to a steady load on one model, and the last thing that was done before its end."""

    seconds: float
    after: str


@dataclass
class Verdict:
    """What a run has shown. `wrong` are answers of a version that had no right to answer, or not the version's own."""

    calls: int = 0
    failed: list[Call] = field(default_factory=list)
    wrong: list[Call] = field(default_factory=list)
    retried: int = 0
    slowest_s: float = 0.0
    gaps: dict[str, Gap] = field(default_factory=dict)
    """Of each model the longest."""
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        return self.calls > 0 and not self.failed and not self.wrong


class Recorder:
    """Keeps every call; `note_event` what was done to the server. May be used from several threads."""

    def __init__(self) -> None:
        self._timelines: dict[str, Timeline] = {}
        self._calls: list[Call] = []
        self._events: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def timeline(self, model: str) -> Timeline:
        """The model's, for whoever changes it."""
        return self._timelines.setdefault(model, Timeline())

    def note(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def note_event(self, text: str) -> None:
        with self._lock:
            self._events.append((time.monotonic(), text))

    @property
    def count(self) -> int:
        return len(self._calls)

    def events_before(self, moment: float, count: int) -> list[str]:
        """The last that were done by then, each with how long before."""
        with self._lock:
            return [f"{moment - when:8.2f} s before: {text}" for when, text in self._events if when <= moment][-count:]

    def verdict(self) -> Verdict:
        """To be called when all calls are answered."""
        verdict = Verdict(calls=len(self._calls))
        factors: dict[tuple[str, str], Outcome] = {}
        for call in self._calls:
            verdict.slowest_s = max(verdict.slowest_s, call.answered - call.sent)
            verdict.retried += call.retried
            right = self._timelines[call.model].admits(call)
            if isinstance(call.outcome, str):
                if not right:
                    verdict.failed.append(call)
                continue
            verdict.versions[f"{call.model} {call.told}"] += 1
            if not right or factors.setdefault((call.model, call.told), call.outcome) != call.outcome:
                verdict.wrong.append(call)
        verdict.gaps = {model: self._longest_gap(model) for model in sorted(self._timelines)}
        return verdict

    def _longest_gap(self, model: str) -> Gap:
        answered = sorted(call.answered for call in self._calls if call.model == model)
        seconds, end = max(((after - before, after) for before, after in pairwise(answered)), default=(0.0, 0.0))
        earlier = [text for when, text in self._events if when <= end]
        return Gap(seconds, earlier[-1] if earlier else "nothing")
