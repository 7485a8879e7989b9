"""Lines of the audit log about calls to the management port that were not let in: who knocks at it, and for what.

Who is refused can ask as often as they like, so the lines are bounded: some at once, then one a minute, those of
callers with a name apart from all others. A line says how many before it were left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from model_store.errors import Forbidden, OnegateError, Unauthenticated
from serve.access.audit import AuditLog, named_models
from serve.access.callers import Caller
from serve.dialects.base import HttpRequest
from serve.executors.budget import Budget
from serve.inference import Query
from serve.operations import Operation
from serve.reports import failure_text

AT_ONCE = 100
PER_S = 1 / 60

MAX_TEXT = 200
"""Characters of what a caller chose: paths, names of models."""

MAX_MODELS = 10


class RefusedCalls:
    """Has `audit` write the lines; `clock` tells seconds."""

    def __init__(self, audit: AuditLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._named, self._nameless = (Budget(0, AT_ONCE, begin=AT_ONCE, per_s=PER_S, clock=clock) for _ in range(2))
        self._left_out = 0

    def note_request(self, request: HttpRequest, error: Exception) -> None:
        """A request that was refused by its head or by who asks; other errors are none of this log's."""
        if isinstance(error, Unauthenticated | Forbidden):
            self._note(request.caller, f"{request.method:.20} {request.path:.{MAX_TEXT}}", (), error)

    def note_query(self, caller: Caller, query: Query, error: OnegateError) -> None:
        """A query that its caller may not ask."""
        models = named_models(query) if isinstance(query, Operation) else (getattr(query, "model", None),)
        names = tuple(name[:MAX_TEXT] for name in models[:MAX_MODELS] if name)
        self._note(caller, type(query).__name__, names, error)

    def close(self) -> None:
        """Has it written how many were left out since the last line; to be called at the end."""
        if self._left_out:
            self._audit.note("refused calls", outcome="left out", caller="", left_out=self._left_out)

    def _note(self, caller: Caller | None, what: str, models: tuple[str, ...], error: OnegateError) -> None:
        name = "" if caller is None else caller.name
        if not (self._named if name else self._nameless).take():
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        self._audit.note(what, models, failure_text(error), caller=name, left_out=left_out)
