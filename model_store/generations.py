"""Desired state as numbered generations, `<store>/generations/<n>.json`, each written once.

The newest is current. The number is the fence between controllers: of two that append the same one, one gets
`Conflict` and must look again. What a config means is left to the controller.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from model_store.errors import Conflict, IntegrityError, StoreError
from model_store.filesystems import store_access
from model_store.store import Store

_FILE_NAME = re.compile(r"([1-9][0-9]*)\.json")


class Generation(msgspec.Struct, frozen=True):
    """One desired state: the config as applied, and since when (UTC, ISO 8601)."""

    number: int
    created: str
    config: dict[str, Any]


def numbers(store: Store) -> list[int]:
    """Numbers of the generations in the store, ascending. Raises `StoreError`."""
    with store_access(store.filesystem, "read"):
        names = store.filesystem.names("generations")
    return sorted(int(found[1]) for found in map(_FILE_NAME.fullmatch, names) if found)


def append(store: Store, number: int, config: dict[str, Any]) -> Generation:
    """Writes generation `number`, which must be larger than all before it; `config` holds JSON values.

    Raises `Conflict` when that number, or a later one, exists already, and `StoreError`.
    """
    last = max(numbers(store), default=0)
    if number <= last:
        raise _conflict(store, number, last)
    generation = Generation(number, datetime.now(UTC).isoformat(), config)
    data = msgspec.json.format(msgspec.json.encode(generation), indent=2)
    try:
        with store_access(store.filesystem, "written"):
            store.filesystem.create(_path(number), data)
    except StoreError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise _conflict(store, number, number) from error
        raise
    return generation


def newest(store: Store) -> Generation | None:
    """The current generation, None in a store that has none. Raises as `read` does."""
    present = numbers(store)
    return read(store, present[-1]) if present else None


def read(store: Store, number: int) -> Generation:
    """Generation `number`. Raises `IntegrityError` when damaged, `StoreError` when absent."""
    with store_access(store.filesystem, "read"):
        data = store.filesystem.read(_path(number))
    try:
        generation = msgspec.json.decode(data, type=Generation)
        if generation.number != number:
            raise ValueError(f"it says number {generation.number}")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"generation {number} in store {store.url!r} is damaged: {error}; apply the config again",
            store=store.url,
            number=number,
        ) from error
    return generation


def _path(number: int) -> str:
    return f"generations/{number}.json"


def _conflict(store: Store, number: int, last: int) -> Conflict:
    return Conflict(
        f"generation {number} can't be written to store {store.url!r}: it has generation {last} already; "
        "look at that one and repeat the change",
        store=store.url,
        number=number,
        newest=last,
    )
