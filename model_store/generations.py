"""Desired state as numbered generations, `<store>/generations/<n>.json`, each written once.

The newest is current. The number is the fence between controllers: of two that append the same one, one gets
`Conflict` and must look again. What a config means is left to the controller.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from model_store.numbered import Numbered
from model_store.store import Store


class Generation(msgspec.Struct, frozen=True):
    """One desired state: the config as applied, since when (UTC, ISO 8601), by whom, and why. The last two are empty in
    generations that older releases wrote."""

    number: int
    created: str
    config: dict[str, Any]
    by: str = ""
    why: str = ""
    read: dict[str, int] = {}
    """Model -> the newest generation that asked for its sources to be read; none of older releases' are told."""
    added: dict[str, int] = {}
    """Model -> the generation since which it is desired without a break; 0 where an older release wrote that."""


_GENERATIONS = Numbered("generations", Generation, "generation", "apply the config again")


def numbers(store: Store) -> list[int]:
    """Numbers of the generations in the store, ascending. Raises `StoreError`."""
    return _GENERATIONS.numbers(store)


def append(
    store: Store,
    number: int,
    config: dict[str, Any],
    by: str = "",
    why: str = "",
    read: Mapping[str, int] = MappingProxyType({}),
    added: Mapping[str, int] = MappingProxyType({}),
) -> Generation:
    """Writes generation `number`, which must be larger than all before it; `config` holds JSON values, `by` and `why`
    say for people whose change it is and what for, `read` and `added` are as in `Generation`.

    Raises `Conflict` when that number, or a later one, exists already, and `StoreError`.
    """
    generation = Generation(number, datetime.now(UTC).isoformat(), config, by, why, dict(read), dict(added))
    _GENERATIONS.append(store, generation)
    return generation


def newest(store: Store) -> Generation | None:
    """The current generation, None in a store that has none. Raises as `read` does."""
    return _GENERATIONS.newest(store)


def read(store: Store, number: int) -> Generation:
    """Generation `number`. Raises `IntegrityError` when damaged, `StoreError` when absent."""
    return _GENERATIONS.read(store, number)
