from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store import generations
from model_store.errors import Conflict, IntegrityError, StoreError
from model_store.generations import Generation
from model_store.store import Store

CONFIG = {"models": [{"name": "digits", "traffic": 90, "labels": ["stable"]}], "store": None}


def test_new_store_has_no_generation(store: Store) -> None:
    assert generations.newest(store) is None
    assert generations.numbers(store) == []


def test_newest_is_what_was_appended_last(store: Store) -> None:
    generations.append(store, 1, {"models": []})
    for number in range(2, 12):
        appended = generations.append(store, number, CONFIG)

    assert appended.number == 11
    assert appended.config == CONFIG
    assert datetime.now(UTC) - datetime.fromisoformat(appended.created) < timedelta(minutes=1)
    assert generations.newest(store) == appended
    assert generations.numbers(store) == list(range(1, 12))
    assert generations.read(store, 1).config == {"models": []}


@pytest.mark.parametrize("number", [1, 2, 0, -1])
def test_number_that_exists_or_lies_behind_is_a_conflict(store: Store, number: int) -> None:
    generations.append(store, 1, CONFIG)
    second = generations.append(store, 2, CONFIG)

    with pytest.raises(Conflict, match="it has generation 2 already") as caught:
        generations.append(store, number, {"models": ["other"]})
    assert caught.value.details == {"store": store.url, "number": number, "newest": 2}
    assert generations.newest(store) == second


def test_of_controllers_that_append_at_once_one_wins(store: Store) -> None:
    def append(controller: int) -> int | None:
        try:
            generations.append(store, 1, {"controller": controller})
        except Conflict:
            return None
        return controller

    with ThreadPoolExecutor(8) as pool:
        won = [controller for controller in pool.map(append, range(16)) if controller is not None]

    newest = generations.newest(store)
    assert len(won) == 1
    assert newest is not None
    assert newest.config == {"controller": won[0]}


def test_other_files_in_the_folder_are_not_generations(store: Store) -> None:
    first = generations.append(store, 1, CONFIG)
    folder = Path(store.url) / "generations"
    for name in ("2.json.tmp", ".3.json", "04.json", "5", "x.json", "0.json"):
        (folder / name).write_bytes(b"{")

    assert generations.newest(store) == first


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"number": 2, "created": "2026',
        b'{"number": 3, "created": "", "config": {}}',
        b"[]",
        b"\xff",
        b'{"config": {"a": ' + b"[" * 100_000,
    ],
)
def test_damaged_newest_is_an_integrity_error_and_a_newer_one_mends_it(store: Store, content: bytes) -> None:
    generations.append(store, 1, CONFIG)
    (Path(store.url) / "generations" / "2.json").write_bytes(content)

    with pytest.raises(IntegrityError, match=r"generation 2 in store '.*' is damaged: .*; apply the config"):
        generations.newest(store)
    third = generations.append(store, 3, CONFIG)
    assert generations.newest(store) == third


def test_absent_generation_is_a_store_error(store: Store) -> None:
    with pytest.raises(StoreError, match="can't be read: No such file or directory"):
        generations.read(store, 7)


def test_store_that_cannot_be_written_is_a_store_error(store: Store) -> None:
    (Path(store.url) / "generations").write_bytes(b"in the way")

    with pytest.raises(StoreError, match="can't be written: Not a directory"):
        generations.append(store, 1, CONFIG)


def test_generations_compare_by_value() -> None:
    assert Generation(1, "now", {"a": 1}) == Generation(1, "now", {"a": 1})


def test_a_generation_says_whose_it_is_and_why(store: Store) -> None:
    generations.append(store, 1, CONFIG, "user:ada", "apply")
    first = generations.read(store, 1)
    assert (first.by, first.why) == ("user:ada", "apply")


def test_a_generation_of_a_release_that_did_not_say_whose_it_is_can_be_read(store: Store) -> None:
    old = b'{"number": 1, "created": "2026-01-02T03:04:05+00:00", "config": {"models": []}}'
    store.filesystem.create("generations/1.json", old)
    newest = generations.newest(store)
    assert newest == Generation(1, "2026-01-02T03:04:05+00:00", {"models": []}, "", "")
