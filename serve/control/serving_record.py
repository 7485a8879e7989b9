"""Writes down what was really served: a record in the store whenever a model's route has switched to something else.

Never holds up the controller's loop. What can't be written is told and tried again, and what comes meanwhile waits for
its turn. Until it is written, a rollback does not know of it and a killed controller would take it along: whoever goes
on to something else waits for `written` first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from model_store import served
from model_store.errors import Conflict, StoreError
from model_store.served import Served
from model_store.store import Store
from serve.control.pinning import Prepared
from serve.errors import presentable

log = logging.getLogger("onegate")

RETRY_S = 1.0
PATIENCE_S = 10.0


@dataclass(frozen=True)
class _Due:
    model: str
    prepared: Prepared
    since: str


class ServingRecord:
    """`prepared` are the models as they were last prepared, `is_served` says whether a model's route leads there.
    `retry_s` and `patience_s` stand in for the constants."""

    def __init__(
        self,
        store: Store,
        prepared: Mapping[str, Prepared],
        is_served: Callable[[str], bool],
        retry_s: float = RETRY_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._store = store
        self._prepared = prepared
        self._is_served = is_served
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._seen: dict[str, Prepared] = {}
        self._last: dict[str, Served | None] = {}
        self._due: deque[_Due] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._went_on = asyncio.Condition()

    def note_step(self) -> None:
        """To be called after each step of the fleet."""
        for model, prepared in self._prepared.items():
            if self._seen.get(model) is not prepared and self._is_served(model):
                self._seen[model] = prepared
                self._due.append(_Due(model, prepared, datetime.now(UTC).isoformat()))
        if self._due and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write_due())

    async def written(self, models: Collection[str] | None = None) -> None:
        """Returns when all that was noted of these models, or of all, is in the store; raises `StoreError` where that
        takes more than `PATIENCE_S`."""
        async with self._went_on:
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._went_on.wait_for(lambda: not self._unwritten(models))
            except TimeoutError:
                raise StoreError(
                    f"what is served of {', '.join(self._unwritten(models))} is not written to store "
                    f"{self._store.url!r} after {self._patience_s:g} s, and could not be gone back to; nothing was "
                    "changed, try again when the store can be written"
                ) from None

    def _unwritten(self, models: Collection[str] | None) -> list[str]:
        return sorted({due.model for due in self._due if models is None or due.model in models})

    async def _write_due(self) -> None:
        while self._due:
            due = self._due[0]
            try:
                await asyncio.to_thread(self._write, due)
                async with self._went_on:
                    self._due.popleft()
                    self._went_on.notify_all()
            except Exception as error:
                told = presentable(error)
                self._last.pop(due.model, None)
                # Of a conflict the next try knows what the other controller wrote.
                if not isinstance(told, Conflict):
                    log.warning("what is served of %s can't be written down, trying again: %s", due.model, told.message)
                    await asyncio.sleep(self._retry_s)

    def _write(self, due: _Due) -> None:
        model, prepared = due.model, due.prepared
        if model not in self._last:
            self._last[model] = next(served.newest_first(self._store, model), None)
        last = self._last[model]
        if last is not None and last.document == prepared.document:
            return
        number = max(served.numbers(self._store, model), default=0) + 1
        record = Served(number, model, due.since, prepared.generation, prepared.document, prepared.by)
        served.append(self._store, record)
        self._last[model] = record


def record_to_return_to(store: Store, model: str, current: Prepared | None, to: int | None) -> Served | None:
    """The newest record of the model that says something else than `current`, what is served as desired now, if that
    is; or the one of number `to`. None where there is no such record. Blocks; raises `StoreError`."""
    if to is not None:
        return served.read(store, model, to) if to in served.numbers(store, model) else None
    records = served.newest_first(store, model)
    return next((each for each in records if current is None or each.document != current.document), None)
