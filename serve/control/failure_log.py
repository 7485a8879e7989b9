"""Why models fail, in the log: each failure once, however often it is tried again."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from serve.control.fleet import Fleet
from serve.control.state import Gathered
from serve.reports import DRAINING, IDLE, LOADING, READY

log = logging.getLogger("onegate")

_Subject = tuple[str, int | None]
"""A model's version, or its preparation."""


class FailureLog:
    """`look` is called after each step of the fleet. What fails anew for the reason that was told last is told no more,
    until it has come off in between; nor is what a gateway can't load, which tells it itself."""

    def __init__(self, fleet: Fleet, gathered: Gathered) -> None:
        self._fleet = fleet
        self._gathered = gathered
        self._told: dict[_Subject, str] = {}

    def look(self) -> None:
        """Tells what has failed since the last look."""
        failing = dict(self._failing())
        for subject, reason in failing.items():
            if self._told.get(subject) != reason and not self._is_told_by_gateway(subject):
                model, version = subject
                what = f"model {model}" if version is None else f"version {version} of {model}"
                log.warning("%s failed: %s", what, reason)
        if self._told or failing:
            tried = {subject: reason for subject, reason in self._told.items() if self._is_tried(subject)}
            self._told = tried | failing

    def _failing(self) -> Iterator[tuple[_Subject, str]]:
        for model, error in self._gathered.failures.items():
            yield (model, None), error.message
        for key, state in self._fleet.versions.items():
            if state.error is not None:
                yield key, state.error.message

    def _is_told_by_gateway(self, subject: _Subject) -> bool:
        model, version = subject
        said = [] if version is None else self._fleet.heard.states((model, version))
        return any(text not in (None, READY, IDLE, LOADING, DRAINING) for text in said)

    def _is_tried(self, subject: _Subject) -> bool:
        model, version = subject
        if version is None:
            return model in self._gathered.progress
        state = self._fleet.versions.get((model, version))
        return state is not None and state.phase == "LOADING"
