"""Keys over the management port: made with no more than their maker has, listed without secrets, revoked at once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import ConfigError, Conflict, Forbidden, InvalidInput
from model_store.store import Store
from serve.access.callers import Caller
from serve.access.guard import Guard
from serve.access.key_calls import KeyCalls, NewKey, read_new_key, read_revoked
from serve.access.scopes import Grants, Need
from serve.access.stored_keys import StoredKeys
from serve.config_sections.access import AccessConfig
from tests.serve.access.guarded import bearer


class Keys:
    """The calls over a store, and the guard that hears of its keys."""

    def __init__(self, folder: Path) -> None:
        self.guard = Guard(AccessConfig(anonymous=[]))
        store = Store.open(str(folder))
        self.calls = KeyCalls(store, StoredKeys(store, self.guard.take_over).look)

    def caller(self, text: str) -> Caller:
        return self.guard.admit(dict(bearer(text)).get)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def owner(*scopes: str, until_s: float | None = None) -> Caller:
    return Caller("key:ada", Grants(scopes), until_s=until_s)


async def test_a_key_counts_as_soon_as_it_is_made_and_no_longer_once_it_is_revoked(keys: Keys) -> None:
    made = await keys.calls.create(owner("manage", "infer"), NewKey("shop", ["infer:digits"], concurrency=4))

    caller = keys.caller(made["key"])
    assert (caller.name, caller.grants.allow(Need.INFER, "digits")) == ("key:shop", True)
    assert await keys.calls.revoke(owner("manage"), made["id"]) == {"revoked": [made["id"]]}
    with pytest.raises(Exception, match="key"):
        keys.caller(made["key"])


async def test_keys_are_listed_without_what_is_secret(keys: Keys) -> None:
    made = await keys.calls.create(owner("view"), NewKey("shop", ["view"], lifetime_s=3600, rate_per_s=5))
    (listed,) = await keys.calls.listed()

    assert (listed["name"], listed["scopes"], listed["rate_per_s"]) == ("shop", ["view"], 5)
    assert listed.keys() == made.keys() - {"key"}
    assert made["key"].split("_", 2)[2] not in json.dumps(listed)


@pytest.mark.parametrize(
    ("has", "asks"),
    [
        (("view",), "manage"),
        (("manage",), "infer"),
        (("manage",), "metrics"),
        (("infer:digits",), "infer"),
        (("infer:digits",), "infer:digits*"),
        (("infer:dig*",), "infer:di*"),
        (("infer:dig*",), "infer:other"),
    ],
)
async def test_nobody_makes_a_key_that_may_more_than_their_own(keys: Keys, has: tuple[str, ...], asks: str) -> None:
    with pytest.raises(Forbidden, match="key:ada lacks the scope"):
        await keys.calls.create(owner(*has), NewKey("shop", [asks]))
    assert await keys.calls.listed() == []


@pytest.mark.parametrize(
    ("has", "asks"),
    [
        (("manage",), "view"),
        (("infer",), "infer:any*"),
        (("infer:*",), "infer"),
        (("infer:dig*",), "infer:digits"),
        (("infer:dig*",), "infer:digits*"),
        (("infer:digits",), "infer:digits"),
    ],
)
async def test_a_key_may_as_much_as_its_maker_s(keys: Keys, has: tuple[str, ...], asks: str) -> None:
    assert (await keys.calls.create(owner(*has), NewKey("shop", [asks])))["scopes"] == [asks]


async def test_no_key_is_valid_longer_than_its_maker_s(keys: Keys) -> None:
    maker = owner("view", until_s=time.time() + 3600)
    for lifetime_s in (None, 7200):
        with pytest.raises(Forbidden, match="makes no key that is valid longer"):
            await keys.calls.create(maker, NewKey("shop", ["view"], lifetime_s=lifetime_s))
    assert (await keys.calls.create(maker, NewKey("shop", ["view"], lifetime_s=60)))["expires"] is not None


@pytest.mark.parametrize("caller", [None, Caller("", Grants(("manage", "view")))])
async def test_who_has_no_key_changes_none(keys: Keys, caller: Caller | None) -> None:
    with pytest.raises(Forbidden, match="by callers with a key only"):
        await keys.calls.create(caller, NewKey("shop", ["view"]))
    with pytest.raises(Forbidden, match="by callers with a key only"):
        await keys.calls.revoke(caller, "66b20c0f3d97")


async def test_names_are_taken_once_and_what_is_not_there_is_not_revoked(keys: Keys) -> None:
    await keys.calls.create(owner("view"), NewKey("shop", ["view"]))
    with pytest.raises(Conflict, match="there is a key 'shop' already"):
        await keys.calls.create(owner("view"), NewKey("shop", ["view"]))
    with pytest.raises(ConfigError, match="the store has no key 'absent'; keys: shop"):
        await keys.calls.revoke(owner("view"), "absent")


@pytest.mark.parametrize(("name", "scope"), [("a b", "view"), ("", "view"), ("shop", "all"), ("shop", "infer:")])
async def test_words_that_are_no_name_and_no_scope_are_refused(keys: Keys, name: str, scope: str) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        await keys.calls.create(owner("view", "infer"), NewKey(name, [scope]))


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "shop"},
        {"name": "shop", "scopes": []},
        {"name": "s" * 101, "scopes": ["view"]},
        {"name": "shop", "scopes": ["view"], "lifetime_s": 0},
        {"name": "shop", "scopes": ["view"], "rate_per_s": 0},
        {"name": "shop", "scopes": ["view"], "hash": "00"},
    ],
)
def test_a_body_that_asks_for_no_key_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="expected a JSON object with name, scopes"):
        read_new_key(json.dumps(asked).encode())


def test_a_key_to_revoke_is_named_by_its_id() -> None:
    assert read_revoked(b'{"id": "66b20c0f3d97"}') == "66b20c0f3d97"
    with pytest.raises(InvalidInput, match="the key to revoke"):
        read_revoked(b"[]")


def test_of_a_whole_key_to_revoke_only_the_id_is_taken() -> None:
    assert read_revoked(b'{"id": "og_66b20c0f3d97_s_e-cret"}') == "66b20c0f3d97"
