"""Records of what was served: written once, read back, told when damaged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from model_store import served
from model_store.errors import Conflict, IntegrityError, StoreError
from model_store.served import Served
from model_store.store import Store

SINCE = "2026-01-02T03:04:05+00:00"


def record(number: int, version: int = 1, by: str = "user:ada") -> Served:
    return Served(number, "ranker", SINCE, 7, {"name": "ranker", "versions": [{"version": version}]}, by)


def test_a_record_is_read_back_as_it_was_written(store: Store) -> None:
    served.append(store, record(1))
    assert served.numbers(store, "ranker") == [1]
    assert served.read(store, "ranker", 1) == record(1)


def test_a_model_that_never_was_served_has_none(store: Store) -> None:
    assert served.numbers(store, "ranker") == []
    assert served.numbers(store, "../models") == []
    assert list(served.newest_first(store, "ranker")) == []
    with pytest.raises(StoreError):
        served.read(store, "ranker", 1)


def test_records_come_newest_first_by_number_and_not_by_name(store: Store) -> None:
    for number in range(1, 12):
        served.append(store, record(number, number))
    assert [each.number for each in served.newest_first(store, "ranker")] == list(range(11, 0, -1))


def test_of_writers_of_one_number_one_wins(store: Store) -> None:
    def append(version: int) -> int | None:
        try:
            served.append(store, record(1, version))
        except Conflict:
            return None
        return version

    with ThreadPoolExecutor(8) as pool:
        won = [version for version in pool.map(append, range(1, 17)) if version is not None]
    assert [record(1, won[0])] == [served.read(store, "ranker", 1)]
    assert len(won) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"number": 2, "model": "ranker", "since": "", "generation": 1, "document": {}}',
        b'{"number": 1, "model": "other", "since": "", "generation": 1, "document": {}}',
    ],
    ids=["empty", "of_no_form", "of_another_number", "of_another_model"],
)
def test_a_damaged_record_is_told_and_passed_over(store: Store, content: bytes) -> None:
    store.filesystem.create("served/ranker/1.json", content)
    served.append(store, record(2))
    with pytest.raises(IntegrityError, match="record of 'ranker' 1 in store"):
        served.read(store, "ranker", 1)
    assert list(served.newest_first(store, "ranker")) == [record(2)]


def test_other_files_are_no_records(store: Store) -> None:
    for name in ("01.json", "x.json", "1.txt"):
        store.filesystem.create(f"served/ranker/{name}", b"{}")
    assert served.numbers(store, "ranker") == []
