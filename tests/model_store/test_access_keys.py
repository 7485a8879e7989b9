from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store import access_keys
from model_store.access_keys import KeyRing, hash_of, make_key, read_text
from model_store.errors import Conflict, IntegrityError
from model_store.store import Store


def test_a_new_store_has_no_keys(store: Store) -> None:
    assert access_keys.newest(store) == KeyRing(0, "")
    assert access_keys.newest_number(store) == 0


def test_the_newest_ring_is_what_was_put_in_place_of_the_one_before(store: Store) -> None:
    key, _ = make_key("shop", ["infer:m", "view"], expires=datetime.now(UTC), rate_per_s=2.5, concurrency=3)
    first = access_keys.replace(store, access_keys.newest(store), [key])
    second = access_keys.replace(store, first, [])

    assert (first.number, first.keys) == (1, (key,))
    assert (access_keys.newest(store), access_keys.newest_number(store)) == (second, 2)


def test_of_two_writers_one_is_told_to_look_again(store: Store) -> None:
    former = access_keys.newest(store)
    access_keys.replace(store, former, [make_key("a", ["view"])[0]])

    with pytest.raises(Conflict, match=r"key ring 1 can't be written .* it has key ring 1 already"):
        access_keys.replace(store, former, [make_key("b", ["view"])[0]])
    assert [key.name for key in access_keys.newest(store).keys] == ["a"]


def test_a_damaged_ring_says_what_to_do(store: Store, tmp_path: Path) -> None:
    access_keys.replace(store, access_keys.newest(store), [])
    file = tmp_path / "store" / "access" / "1.json"
    file.chmod(0o600)
    file.write_text('{"number": 1}')

    with pytest.raises(IntegrityError, match=r"key ring 1 in store .* is damaged: .*; delete the file"):
        access_keys.newest(store)


def test_the_secret_of_a_key_is_not_in_the_store(store: Store, tmp_path: Path) -> None:
    key, text = make_key("shop", ["infer"])
    access_keys.replace(store, access_keys.newest(store), [key])
    id, secret = read_text(text) or ("", "")

    stored = (tmp_path / "store" / "access" / "1.json").read_text()
    assert id == key.id
    assert id in stored
    assert secret not in stored
    assert len(secret) == 43
    assert hash_of(key.salt, secret) == key.hash


def test_two_keys_have_nothing_in_common() -> None:
    one, other = make_key("shop", ["infer"]), make_key("shop", ["infer"])

    assert len({one[0].id, other[0].id, one[0].salt, other[0].salt, one[0].hash, other[0].hash}) == 6


@pytest.mark.parametrize("text", ["", "og", "og_", "og_a", "og_a_", "og__b", "OG_a_b", "xog_a_b"])
def test_other_text_is_no_key(text: str) -> None:
    assert read_text(text) is None


def test_an_underscore_may_be_part_of_the_secret() -> None:
    assert read_text("og_a_b_c_") == ("a", "b_c_")


def test_a_key_ends_when_it_expires() -> None:
    now = datetime.now(UTC)
    key, _ = make_key("shop", ["infer"], expires=now)

    assert key.has_expired(now)
    assert not key.has_expired(now - timedelta(microseconds=1))
    assert not make_key("shop", ["infer"])[0].has_expired(now)
