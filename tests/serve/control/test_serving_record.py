"""What was really served is written down: once, when the route has switched, whatever the store does."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from model_store import served
from model_store.errors import StoreError
from model_store.served import Served
from model_store.store import Store
from serve.control.pinning import Prepared
from serve.control.serving_record import ServingRecord, record_to_return_to
from tests.serve.waiting import eventually


def document(version: int) -> dict[str, Any]:
    return {"name": "m", "versions": [{"version": version, "traffic": 100}]}


def prepared(version: int, generation: int = 1) -> Prepared:
    return Prepared(document(version), generation, "user:ada")


class Route:
    """A record over a store, and what it is told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.prepared: dict[str, Prepared] = {}
        self.is_served = True
        self.record = ServingRecord(store, self.prepared, lambda model: self.is_served, retry_s=0.01, patience_s=0.5)

    async def serve(self, version: int, generation: int = 1) -> None:
        self.prepared["m"] = prepared(version, generation)
        self.record.note_step()
        await self.record.written()

    def written(self) -> list[tuple[int, int, int, str]]:
        """Number, version, generation and whose, oldest first."""
        records = [served.read(self.store, "m", number) for number in served.numbers(self.store, "m")]
        return [(r.number, r.document["versions"][0]["version"], r.generation, r.by) for r in records]


async def test_each_switch_to_something_else_is_written_once(store: Store) -> None:
    route = Route(store)
    await route.serve(1)
    route.record.note_step()
    await route.serve(1, generation=2)
    await route.serve(2, generation=3)
    assert route.written() == [(1, 1, 1, "user:ada"), (2, 2, 3, "user:ada")]


async def test_nothing_is_written_until_the_route_leads_there(store: Store) -> None:
    route = Route(store)
    route.is_served = False
    await route.serve(1)
    assert route.written() == []
    route.is_served = True
    route.record.note_step()
    await route.record.written()
    assert route.written() == [(1, 1, 1, "user:ada")]


async def test_another_controller_goes_on_from_what_is_written(store: Store) -> None:
    await Route(store).serve(1)
    route = Route(store)
    await route.serve(1, generation=4)
    await route.serve(2, generation=5)
    assert [each[:2] for each in route.written()] == [(1, 1), (2, 2)]


async def test_a_record_that_another_controller_wrote_meanwhile_stays(store: Store) -> None:
    route = Route(store)
    await route.serve(1)
    served.append(store, Served(2, "m", "", 9, document(7)))
    await route.serve(2)
    assert [each[:2] for each in route.written()] == [(1, 1), (2, 7), (3, 2)]


async def test_what_can_not_be_written_is_told_and_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    route = Route(store)
    failing = asyncio.Event()
    create = store.filesystem.create

    def full(path: str, data: bytes) -> None:
        if not failing.is_set():
            raise OSError(28, "No space left on device")
        create(path, data)

    monkeypatch.setattr(store.filesystem, "create", full)
    route.prepared["m"] = prepared(1)
    route.record.note_step()
    await eventually(lambda: "what is served of m can't be written down" in caplog.text)
    route.prepared["m"] = prepared(2, generation=2)
    route.record.note_step()
    assert route.written() == []
    failing.set()
    await route.record.written()
    assert route.written() == [(1, 1, 1, "user:ada"), (2, 2, 2, "user:ada")]


async def test_whoever_goes_on_waits_until_what_is_served_is_written_and_is_told_when_it_can_not_be(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = Route(store)
    silent = threading.Event()
    create = store.filesystem.create

    def silently(path: str, data: bytes) -> None:
        silent.wait(20)
        create(path, data)

    monkeypatch.setattr(store.filesystem, "create", silently)
    route.prepared["m"] = prepared(1)
    route.record.note_step()
    await route.record.written({"another"})
    with pytest.raises(StoreError, match=r"what is served of m is not written to store .* after 0.5 s"):
        await route.record.written({"another", "m"})
    waiting = asyncio.ensure_future(route.record.written({"m"}))
    silent.set()
    await waiting
    assert route.written() == [(1, 1, 1, "user:ada")]


# -- going back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "to", "expected"),
    [(3, None, 2), (None, None, 3), (9, None, 3), (3, 1, 1), (3, 3, 3), (3, 7, None)],
    ids=["served_as_desired", "not_served_as_desired", "not_yet_written", "by_number", "the_same", "unknown"],
)
def test_the_record_to_go_back_to(store: Store, current: int | None, to: int | None, expected: int | None) -> None:
    for number in (1, 2, 3):
        served.append(store, Served(number, "m", "", number, document(number)))
    found = record_to_return_to(store, "m", None if current is None else prepared(current), to)
    assert (None if found is None else found.number) == expected


def test_there_is_nothing_to_go_back_to_where_only_one_thing_was_served(store: Store) -> None:
    assert record_to_return_to(store, "m", None, None) is None
    served.append(store, Served(1, "m", "", 1, document(1)))
    assert record_to_return_to(store, "m", prepared(1), None) is None


def test_a_damaged_record_can_not_be_gone_back_to_by_number(store: Store) -> None:
    store.filesystem.create("served/m/1.json", b"{}")
    with pytest.raises(StoreError, match="record of 'm' 1 in store"):
        record_to_return_to(store, "m", None, 1)
