"""Keys as a process knows them: from the text that a call brings to its caller."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from model_store.access_keys import AccessKey, hash_of, read_text
from model_store.errors import Unauthenticated
from serve.access.callers import Caller
from serve.access.limits import Limits
from serve.access.scopes import Grants


class _Known(msgspec.Struct):
    key: AccessKey
    caller: Caller


class KnownKeys:
    """The keys of the newest ring. `clock` is Unix time."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._keys: tuple[AccessKey, ...] = ()
        self._known: dict[str, _Known] = {}

    def take_over(self, keys: Iterable[AccessKey]) -> None:
        """Knows `keys` and no others. Calls under way of a key that has gone end with their next message."""
        keys = tuple(keys)
        if keys == self._keys:
            return
        before, self._keys = self._known, keys
        limits = {_sharing(each.key): each.caller.limits for each in before.values()}
        self._known = {}
        for key in keys:
            shared = limits.setdefault(_sharing(key), _limits(key))
            former = before.pop(key.id, None)
            caller = Caller(f"key:{key.name}", Grants(key.scopes)) if former is None else former.caller
            caller.limits, caller.until_s, caller.grants = shared, _until_s(key), Grants(key.scopes)
            self._known[key.id] = _Known(key, caller)
        for gone in before.values():
            gone.caller.until_s = 0.0

    def caller(self, text: str) -> Caller:
        """Whose key it is; raises `Unauthenticated` for one that is unknown, revoked or expired."""
        parts = read_text(text)
        known = self._known.get(parts[0]) if parts else None
        if parts is None or known is None or not hmac.compare_digest(hash_of(known.key.salt, parts[1]), known.key.hash):
            raise Unauthenticated("the key is not known here, or was revoked; `onegate keys create` makes one")
        require_present(known.caller, self._clock())
        return known.caller


def require_present(caller: Caller, now_s: float) -> None:
    """Raises `Unauthenticated` for a caller that has ended."""
    if caller.until_s is not None and now_s >= caller.until_s:
        raise Unauthenticated("the key or token has expired, or was revoked; get a new one")


def _sharing(key: AccessKey) -> tuple[str, float | None, int | None]:
    return key.name, key.rate_per_s, key.concurrency


def _limits(key: AccessKey) -> Limits | None:
    return None if key.rate_per_s is None and key.concurrency is None else Limits(key.rate_per_s, key.concurrency)


def _until_s(key: AccessKey) -> float | None:
    return None if key.expires is None else datetime.fromisoformat(key.expires).timestamp()
