"""Leaves out, for a while, a server that answers errors of its own while others answer.

One that can't be reached, or ends its connection, is another matter: `remote.py` sees that by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ERRORS_IN_A_ROW = 5
"""Of one server, while others answer, before it is left out."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""How long it is left out the first time, and at most: the pause doubles with each failed probe."""


@dataclass(slots=True)
class _Errors:
    """Of one server since its last answer. `others_before` are the answers of all servers before the first error."""

    others_before: int
    count: int = 0
    pause_s: float = 0.0
    until_s: float | None = None
    """When it is asked again; None while it is not left out."""


class CircuitBreaker:
    """The servers of one version. `clock` tells seconds.

    At most half of them are left out, for then the fault is more likely elsewhere, and the others would have to carry
    more than twice their share.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers = 0
        self._errors: dict[str, _Errors] = {}

    @property
    def quiet(self) -> bool:
        """Whether no server has answered an error last."""
        return not self._errors

    def note_answer(self, server: str) -> bool:
        """A batch was answered; whether the server was left out and is not any more."""
        self._answers += 1
        if not self._errors:
            return False
        errors = self._errors.pop(server, None)
        return errors is not None and errors.until_s is not None

    def note_error(self, server: str, servers: int) -> bool:
        """A batch was answered with an error of the server's own; whether the server, one of `servers`, is left out
        from now on."""
        errors = self._errors.setdefault(server, _Errors(self._answers))
        errors.count += 1
        if errors.until_s is not None:
            # What it was sent before it was left out says nothing new.
            return self.is_on_probe(server) and self._leave_out(errors)
        enough = errors.count >= ERRORS_IN_A_ROW and self._answers > errors.others_before
        out = sum(other.until_s is not None for other in self._errors.values())
        return enough and 2 * (out + 1) <= servers and self._leave_out(errors)

    def is_out(self, server: str) -> bool:
        """Whether the server gets no batches now."""
        until_s = self._until_s(server)
        return until_s is not None and self._clock() < until_s

    def is_on_probe(self, server: str) -> bool:
        """Whether the server has been left out for long enough to get one batch."""
        until_s = self._until_s(server)
        return until_s is not None and self._clock() >= until_s

    def forget(self, server: str) -> None:
        """The server is none of the version's any more."""
        self._errors.pop(server, None)

    def _until_s(self, server: str) -> float | None:
        errors = self._errors.get(server)
        return None if errors is None else errors.until_s

    def _leave_out(self, errors: _Errors) -> bool:
        errors.pause_s = min(errors.pause_s * 2, LONGEST_PAUSE_S) or FIRST_PAUSE_S
        errors.until_s = self._clock() + errors.pause_s
        return True
