"""Keys over the management port: who may make which.

A key can be made only by who has one, with no more than that one may, and for no longer than that one is valid: so
nobody gains anything that they could not ask themselves, and the console of a gateway without access control makes none
that would count later.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from model_store import access_keys
from model_store.errors import Forbidden, InvalidInput
from model_store.store import Store
from serve.access import key_ring
from serve.access.callers import Caller
from serve.config_sections.rules import SCOPE_PATTERN, SCOPE_TEXT
from serve.json_bodies import decoded

Word = Annotated[str, msgspec.Meta(max_length=100)]
"""Short enough for the audit log, whatever is asked."""

MOST_LIFETIME_S = 10 * 366 * 24 * 3600


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked for. None is no limit, and no end."""

    name: Word
    scopes: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]
    lifetime_s: Annotated[int, msgspec.Meta(gt=0, le=MOST_LIFETIME_S)] | None = None
    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    concurrency: Annotated[int, msgspec.Meta(gt=0, le=1_000_000)] | None = None


class _Revoked(msgspec.Struct, forbid_unknown_fields=True):
    id: Word


class KeyCalls:
    """Answers them from the store. `look` has this process look at the newest keys; gateways hear of them from it."""

    def __init__(self, store: Store, look: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._look = look

    async def listed(self) -> list[dict[str, Any]]:
        """All keys, without what is secret of them."""
        ring = await asyncio.to_thread(access_keys.newest, self._store)
        return [key_ring.described(key) for key in ring.keys]

    async def create(self, caller: Caller | None, asked: NewKey) -> dict[str, Any]:
        """The key with its text, `key`. Raises `Forbidden` for more than the caller may, `InvalidInput` and
        `Conflict`."""
        owner = _owner(caller)
        _check_words(asked)
        for scope in asked.scopes:
            if not owner.grants.cover(scope):
                raise Forbidden(f"{owner.name} lacks the scope {scope} itself, and so makes no key that has it")
        expires = _end(owner, asked.lifetime_s)
        key, text = await asyncio.to_thread(
            key_ring.create,
            self._store,
            asked.name,
            asked.scopes,
            expires=expires,
            rate_per_s=asked.rate_per_s,
            concurrency=asked.concurrency,
        )
        await self._look()
        return key_ring.described(key) | {"key": text}

    async def revoke(self, caller: Caller | None, id: str) -> dict[str, Any]:
        """The ids of what is no key any more. Raises `Forbidden`, and `ConfigError` where there is none."""
        _owner(caller)
        gone = await asyncio.to_thread(key_ring.revoke, self._store, id)
        await self._look()
        return {"revoked": gone}


def read_new_key(body: bytes) -> NewKey:
    """What a body asks for; raises `InvalidInput`."""
    asked: NewKey = decoded(body, NewKey, "name, scopes and perhaps lifetime_s, rate_per_s, concurrency")
    return asked


def read_revoked(body: bytes) -> str:
    """The id in a body; raises `InvalidInput`."""
    asked: _Revoked = decoded(body, _Revoked, 'the key to revoke, as {"id": "66b20c0f3d97"}')
    # Who finds a key where it should not be sends the whole of it: its secret is not to get into errors and logs.
    whole = access_keys.read_text(asked.id)
    return asked.id if whole is None else whole[0]


def _owner(caller: Caller | None) -> Caller:
    if caller is None or not caller.name:
        raise Forbidden(
            "keys are changed here by callers with a key only; `onegate keys`, on a machine that reaches the store, "
            "makes the first"
        )
    return caller


def _check_words(asked: NewKey) -> None:
    if not key_ring.is_name(asked.name):
        raise InvalidInput(f"name: expected {key_ring.NAME_TEXT}, got {asked.name!r:.80}")
    for scope in asked.scopes:
        if re.fullmatch(SCOPE_PATTERN, scope) is None:
            raise InvalidInput(f"scopes: expected {SCOPE_TEXT}, got {scope!r:.80}")


def _end(owner: Caller, lifetime_s: int | None) -> datetime | None:
    end = None if lifetime_s is None else datetime.now(UTC) + timedelta(seconds=lifetime_s)
    if owner.until_s is not None and (end is None or end.timestamp() > owner.until_s):
        until = datetime.fromtimestamp(owner.until_s, UTC).isoformat(timespec="seconds")
        raise Forbidden(f"{owner.name} itself is valid until {until}, and makes no key that is valid longer")
    return end
