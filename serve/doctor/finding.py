"""What a check found, and how checks run: side by side, each within a time, whatever happens inside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from model_store.errors import OnegateError, named_line

Level = Literal["ok", "warning", "problem"]

CHECK_S = 30.0
"""For one check: a store or a name server that hangs is a finding too."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `advice` says what to do about a warning or a problem."""

    check: str
    level: Level
    text: str
    advice: str | None = None


Check = Callable[[], Iterable[Finding]]


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", text)


def warning(check: str, text: str, advice: str) -> Finding:
    """It serves, but not as well as it could, or not for long."""
    return Finding(check, "warning", text, advice)


def problem(check: str, text: str, advice: str) -> Finding:
    """It does not serve."""
    return Finding(check, "problem", text, advice)


def run_checks(checks: Sequence[tuple[str, Check]], timeout_s: float = CHECK_S) -> list[Finding]:
    """The findings of all checks, in their order. One that fails or hangs is a problem of its own."""
    running = [_Running(name, check) for name, check in checks]
    return [finding for each in running for finding in each.findings(timeout_s)]


class _Running:
    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._found: list[Finding] = []
        # A daemon: what hangs does not keep the command from ending.
        self._thread = threading.Thread(target=self._run, name=f"check {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = list(self._check())
        except OnegateError as error:
            self._found = [problem(self._name, error.message, "put right what the message says, and check again")]
        except Exception as error:
            advice = "this check does not work here; report it with this line"
            self._found = [problem(self._name, f"can't be checked: {named_line(error)}", advice)]

    def findings(self, timeout_s: float) -> list[Finding]:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return [problem(self._name, f"no answer within {timeout_s:g} s", "find out what hangs, and check again")]
        return self._found
