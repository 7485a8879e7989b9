"""The keys in a store, changed: for `onegate keys`, and for the console.

Each change is a new ring in the place of the one that was read; of two at once the later one raises `Conflict`. All
block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from model_store import access_keys
from model_store.access_keys import AccessKey
from model_store.errors import ConfigError, Conflict
from model_store.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
NAME_TEXT = "letters, digits, '.', '_', '-' and '@', 100 at most"


def is_name(text: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(text) is not None


def create(
    store: Store,
    name: str,
    scopes: Iterable[str],
    *,
    expires: datetime | None = None,
    rate_per_s: float | None = None,
    concurrency: int | None = None,
) -> tuple[AccessKey, str]:
    """A new key in the store, and its text, which can't be had again. Raises `Conflict` where the name is taken."""
    ring = access_keys.newest(store)
    now = datetime.now(UTC)
    if any(key.name == name and not key.has_expired(now) for key in ring.keys):
        raise Conflict(f"there is a key {name!r} already; `onegate keys rotate {name}` gives it a new secret")
    key, text = access_keys.make_key(name, scopes, expires=expires, rate_per_s=rate_per_s, concurrency=concurrency)
    access_keys.replace(store, ring, (*present(ring.keys, now), key))
    return key, text


def revoke(store: Store, name: str) -> list[str]:
    """The ids of the keys of this name, or with this id, which are none any more. Raises `ConfigError` where there are
    none."""
    ring = access_keys.newest(store)
    gone = [key for key in ring.keys if name in (key.name, key.id)]
    if not gone:
        raise unknown(name, ring.keys)
    access_keys.replace(store, ring, (key for key in ring.keys if key not in gone))
    return [key.id for key in gone]


def present(keys: Sequence[AccessKey], now: datetime) -> list[AccessKey]:
    """Without those that have expired."""
    return [key for key in keys if not key.has_expired(now)]


def unknown(name: str, keys: Sequence[AccessKey]) -> ConfigError:
    """That there is no such key."""
    listed = ", ".join(sorted({key.name for key in keys})) or "none"
    return ConfigError(f"the store has no key {name!r}; keys: {listed}")


def described(key: AccessKey) -> dict[str, Any]:
    """A key without what is secret of it, JSON-able."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created": key.created,
        "expires": key.expires,
        "rate_per_s": key.rate_per_s,
        "concurrency": key.concurrency,
    }
