"""The keys of callers, as numbered documents `<store>/access/<n>.json`, each written once; the newest is current.

Of a key the store holds a salted hash. What scopes mean, and when a key is looked at, is left to the gateway.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from model_store.numbered import Numbered
from model_store.store import Store

PREFIX = "og"
_ID_BYTES = 6
_SALT_BYTES = 16
_SECRET_BYTES = 32


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key. Times are UTC in ISO 8601; `salt` and `hash` are hexadecimal. None is no limit, and no end."""

    id: str
    name: str
    salt: str
    hash: str
    scopes: tuple[str, ...]
    created: str
    expires: str | None = None
    rate_per_s: float | None = None
    concurrency: int | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether it is no key any more."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now


class KeyRing(msgspec.Struct, frozen=True):
    """All keys, since when, and under which number."""

    number: int
    created: str
    keys: tuple[AccessKey, ...] = ()


_RINGS = Numbered("access", KeyRing, "key ring", "delete the file, so that the one before it is current again")


def newest_number(store: Store) -> int:
    """The number of the current ring, 0 in a store without one. Raises `StoreError`."""
    return max(_RINGS.numbers(store), default=0)


def newest(store: Store) -> KeyRing:
    """The current ring, an empty one with number 0 in a store without one. Raises `IntegrityError`, `StoreError`."""
    return _RINGS.newest(store) or KeyRing(0, "")


def replace(store: Store, former: KeyRing, keys: Iterable[AccessKey]) -> KeyRing:
    """Makes `keys` current in place of `former`'s. Raises `Conflict` when somebody else did so first."""
    ring = KeyRing(former.number + 1, datetime.now(UTC).isoformat(), tuple(keys))
    _RINGS.append(store, ring)
    return ring


def make_key(
    name: str,
    scopes: Iterable[str],
    *,
    expires: datetime | None = None,
    rate_per_s: float | None = None,
    concurrency: int | None = None,
) -> tuple[AccessKey, str]:
    """A new key, and the text that a caller sends: `og_<id>_<secret>`, which is kept nowhere."""
    id, salt = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SALT_BYTES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key = AccessKey(
        id=id,
        name=name,
        salt=salt,
        hash=hash_of(salt, secret),
        scopes=tuple(scopes),
        created=datetime.now(UTC).isoformat(),
        expires=expires.isoformat() if expires else None,
        rate_per_s=rate_per_s,
        concurrency=concurrency,
    )
    return key, f"{PREFIX}_{id}_{secret}"


def read_text(text: str) -> tuple[str, str] | None:
    """Id and secret of what a caller sent; None for what is no key."""
    prefix, _, rest = text.partition("_")
    id, _, secret = rest.partition("_")
    return (id, secret) if prefix == PREFIX and id and secret else None


def hash_of(salt: str, secret: str) -> str:
    """What is stored of a secret. It has 256 bits that nobody chose, so that one fast round is enough."""
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
