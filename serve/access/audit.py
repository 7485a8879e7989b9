"""The audit log: a line of JSON for each call that changes something, with who asked and what became of it. Of calls
that were not let in, `refused.py` says which are noted.

Lines are written by a thread, in the order in which calls end; a call is answered once its line is written. A line that
can't be written is told in the server's log, and the call goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from model_store.errors import ConfigError
from serve.caller import CALLER
from serve.errors import presentable
from serve.operations import InspectModel, ListModels, ModelList, Operation
from serve.reports import failure_text

log = logging.getLogger("onegate")

T = TypeVar("T")

DONE = "done"


def require_writable(file: Path) -> None:
    """Raises `ConfigError` for a file that no line could be appended to. It is not made yet."""
    folder = file.parent
    if not folder.is_dir():
        trouble = f"{str(folder)!r} is no folder; make it first"
    elif file.is_dir():
        trouble = "it is a folder"
    elif not os.access(file if file.exists() else folder, os.W_OK):
        trouble = "this user may not write there"
    else:
        return
    raise ConfigError(f"access.audit_log: {str(file)!r} can't be written: {trouble}")


class AuditLog:
    """Appends to `file`; `generation` tells the number of desired state."""

    def __init__(self, file: str, generation: Callable[[], int]) -> None:
        self._file = file
        self._generation = generation
        self._writer = ThreadPoolExecutor(1, "audit")
        self._under_way: set[asyncio.Task[Any]] = set()

    async def noted(self, what: str, models: Iterable[str], call: Coroutine[Any, Any, T]) -> T:
        """What `call` returns or raises, with a line about it. It goes on when who asked has gone."""
        task = asyncio.get_running_loop().create_task(self._noted(what, tuple(models), call))
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def note(
        self,
        what: str,
        models: Iterable[str] = (),
        outcome: str = DONE,
        *,
        caller: str | None = None,
        left_out: int = 0,
    ) -> Future[None]:
        """Has a line written; returns at once. `caller` is by default whose call is being answered; `left_out` is how
        many refused calls before this one got no line."""
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(),
            "caller": CALLER.get() if caller is None else caller,
            "what": what,
            "models": list(models),
            "outcome": outcome,
            "generation": self._generation(),
        }
        if left_out:
            line["left_out"] = left_out
        return self._writer.submit(self._write, json.dumps(line) + "\n")

    def close(self) -> None:
        """Returns when all lines are written."""
        self._writer.shutdown()

    async def _noted(self, what: str, models: tuple[str, ...], call: Coroutine[Any, Any, T]) -> T:
        try:
            result = await call
        except Exception as error:
            # Presented once: each time it is, an internal error gets another id.
            told = presentable(error)
            await asyncio.wrap_future(self.note(what, models, failure_text(told)))
            raise told from error
        if isinstance(result, ModelList):
            models = tuple(sorted({*models, *(model.model for model in result.models)}))
        await asyncio.wrap_future(self.note(what, models))
        return result

    def _write(self, line: str) -> None:
        try:
            # Opened each time, so that the file may be moved away; others may not read who did what.
            with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
                file.write(line)
        except OSError as error:
            log.error("the audit log %s can't be written: %s; lost: %s", self._file, error, line.rstrip())

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # One that nobody waits for any more would be logged as lost.
            task.exception()


class AuditedAdministration:
    """Answers operations as `answer` does; each that changes something gets a line."""

    def __init__(self, answer: Callable[[Operation], Coroutine[Any, Any, ModelList]], audit: AuditLog) -> None:
        self._answer = answer
        self._audit = audit

    def answer(self, operation: Operation) -> Awaitable[ModelList]:
        """The models concerned; raises as the administration."""
        call = self._answer(operation)
        if isinstance(operation, ListModels | InspectModel):
            return call
        return self._audit.noted(type(operation).__name__, named_models(operation), call)


def named_models(operation: Any) -> tuple[str, ...]:
    """The models that an operation names; one to load may be named by its archive alone."""
    if hasattr(operation, "models"):
        return tuple(str(model.get("name")) for model in operation.models)
    return () if operation.model is None else (operation.model,)
