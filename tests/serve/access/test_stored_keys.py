"""The controller hears of new keys from the store, and keeps what it has while it can't."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from model_store import access_keys
from model_store.access_keys import AccessKey, make_key
from model_store.store import Store
from serve.access.stored_keys import StoredKeys
from serve.control.fleet import Fleet
from serve.reports import GatewayReport
from serve.routing import RoutingTable


async def test_a_change_is_told_once(store: Store) -> None:
    told: list[tuple[AccessKey, ...]] = []
    keys = StoredKeys(store, told.append)
    await keys.look()
    await keys.look()
    assert told == [()]
    key, _ = make_key("shop", ["infer"])
    ring = access_keys.replace(store, access_keys.newest(store), [key])
    await keys.look()
    await keys.look()
    assert told == [(), (key,)]
    access_keys.replace(store, ring, [])
    await keys.look()
    assert told == [(), (key,), ()]


async def test_a_damaged_ring_changes_nothing_and_is_told_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[AccessKey, ...]] = []
    keys = StoredKeys(store, told.append)
    key, _ = make_key("shop", ["infer"])
    ring = access_keys.replace(store, access_keys.newest(store), [key])
    await keys.look()
    (tmp_path / "store" / "access" / "2.json").write_text("{")
    with caplog.at_level(logging.WARNING, "onegate"):
        await keys.look()
        await keys.look()
    assert (told, len(caplog.records)) == ([(key,)], 1)
    assert "keys stay what they were: key ring 2" in caplog.text
    (tmp_path / "store" / "access" / "2.json").unlink()
    access_keys.replace(store, ring, [])
    await keys.look()
    assert told == [(key,), ()]


def test_new_keys_are_a_new_table() -> None:
    key, _ = make_key("shop", ["infer"])
    fleet = Fleet("store", 10)
    fleet.heard.hear_gateway(GatewayReport("g", 0, {}), 0.0)
    fleet.step(0.0)
    before = fleet.table
    fleet.keys = (key,)
    fleet.step(0.0)
    fleet.step(0.0)

    assert (before.keys, fleet.table.keys, fleet.table.number) == ((), (key,), before.number + 1)


def test_a_new_controller_that_can_not_read_keys_leaves_those_that_gateways_have() -> None:
    key, _ = make_key("shop", ["infer"])
    fleet = Fleet("store", 10)
    fleet.adopt(RoutingTable(5, "store", keys=(key,)), GatewayReport("g", 5, {}))
    fleet.step(0.0)

    assert fleet.table.keys == (key,)
    fleet.keys = ()
    fleet.step(0.0)
    assert fleet.table.keys == ()
