"""What was really served of a model, as numbered records `<store>/served/<model>/<n>.json`, each written once.

A source may hold other bytes later, so a record names versions by their number in the store: it can be gone back to.
Who writes them, and when, is the controller's matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from model_store.errors import IntegrityError
from model_store.numbered import Numbered
from model_store.store import MODEL_NAME, Store


class Served(msgspec.Struct, frozen=True):
    """One thing that a model's route led to: since when (UTC, ISO 8601), by which generation and whose, and the model
    as the config would have it, with each version by its number."""

    number: int
    model: str
    since: str
    generation: int
    document: dict[str, Any]
    by: str = ""


def numbers(store: Store, model: str) -> list[int]:
    """Numbers of the model's records, ascending; none for a model that never was served. Raises `StoreError`."""
    return _records(model).numbers(store) if MODEL_NAME.fullmatch(model) else []


def append(store: Store, record: Served) -> None:
    """Writes a record. Raises `Conflict` when the model has one of that number, or a later one, and `StoreError`."""
    _records(record.model).append(store, record)


def read(store: Store, model: str, number: int) -> Served:
    """Record `number` of the model. Raises `IntegrityError` when damaged, `StoreError` when absent."""
    record = _records(model).read(store, number)
    if record.model != model:
        raise IntegrityError(
            f"record of {model!r} {number} in store {store.url!r} is damaged: it says one of "
            f"{record.model!r}; another one can be gone back to",
            store=store.url,
            number=number,
        )
    return record


def newest_first(store: Store, model: str) -> Iterator[Served]:
    """The model's records, read as far as somebody asks; damaged ones are passed over. Raises `StoreError`."""
    for number in reversed(numbers(store, model)):
        with suppress(IntegrityError):
            yield read(store, model, number)


def _records(model: str) -> Numbered[Served]:
    return Numbered(f"served/{model}", Served, f"record of {model!r}", "another one can be gone back to")
