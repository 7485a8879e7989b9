"""Rollouts as they went, as numbered records `<store>/rollouts/<model>/<n>.json`, each written once: at the beginning,
at each further step, and at the end. The newest is what a new controller goes on from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec

from model_store.errors import IntegrityError
from model_store.numbered import Numbered
from model_store.store import MODEL_NAME, Store
from serve.rollouts.guard import Evidence, Rollout

State = Literal["on", "going back", "finished", "went back", "replaced", "stopped"]


class RolloutRecord(msgspec.Struct, frozen=True):
    """A rollout at some moment (`at`, UTC, ISO 8601), by which generation and whose, why it is so, and what was seen.

    `labels` and `alias` are names of the stable version, which it keeps until the end. `ended_by` and
    `ended_generation` say whose generation ended it, where somebody changed what answers.
    """

    number: int
    model: str
    at: str
    state: State
    rollout: Rollout
    generation: int
    by: str = ""
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    labels: tuple[str, ...] = ()
    alias: str | None = None
    ended_by: str = ""
    ended_generation: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nobody is to go on with it."""
        return self.state not in ("on", "going back")


def moment(since_1970_s: float) -> str:
    """As records have it."""
    return datetime.fromtimestamp(since_1970_s, UTC).isoformat(timespec="seconds")


def append(store: Store, record: RolloutRecord) -> RolloutRecord:
    """Writes the record as the model's next one, whatever its number says. Raises `Conflict` when another controller
    was first, and `StoreError`."""
    records = _records(record.model)
    record = msgspec.structs.replace(record, number=max(records.numbers(store), default=0) + 1)
    records.append(store, record)
    return record


def newest_first(store: Store, model: str) -> Iterator[RolloutRecord]:
    """The model's records, read as far as somebody asks; damaged ones are passed over. Raises `StoreError`."""
    if not MODEL_NAME.fullmatch(model):
        return
    records = _records(model)
    for number in reversed(records.numbers(store)):
        with suppress(IntegrityError):
            yield records.read(store, number)


def _records(model: str) -> Numbered[RolloutRecord]:
    return Numbered(
        f"rollouts/{model}", RolloutRecord, f"rollout record of {model!r}", "the one before is gone on from"
    )
