"""`onegate keys` on a store."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from model_store import access_keys
from model_store.access_keys import AccessKey, hash_of, read_text
from model_store.store import Store
from serve.cli import main


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def run(store: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["keys", *words, "--store", store])


def made(store: str, *words: str) -> dict[str, Any]:
    """What `create` or `rotate` says with --json."""
    result = run(store, *words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def keys(store: str) -> tuple[AccessKey, ...]:
    return access_keys.newest(Store(store)).keys


def seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def test_a_key_is_printed_once_and_stored_as_its_hash(store: str) -> None:
    result = run(store, "create", "shop", "--scope", "infer:ranker", "--scope", "view")
    text = result.stdout.strip()
    (key,) = keys(store)
    parts = read_text(text)

    assert parts is not None
    assert (key.id, key.hash) == (parts[0], hash_of(key.salt, parts[1]))
    assert (key.name, key.scopes, key.expires, key.rate_per_s, key.concurrency) == (
        "shop", ("infer:ranker", "view"), None, None, None,
    )  # fmt: skip
    assert result.stderr == f"key 'shop' (infer:ranker view) in {store!r}, no end; it is shown this once\n"
    assert parts[1] not in run(store, "list").output + run(store, "list", "--json").output


def test_what_makes_a_key_names_the_store_for_programs_too(store: str) -> None:
    assert made(store, "create", "shop", "--scope", "infer")["store"] == store
    assert made(store, "rotate", "shop")["store"] == store


@pytest.mark.parametrize("words", [("list",), ("revoke", "shop"), ("rotate", "shop")])
def test_a_store_that_is_not_there_is_refused_and_not_made(store: str, words: tuple[str, ...]) -> None:
    result = run(store, *words)

    assert (result.exit_code, result.stderr) == (
        1,
        f"onegate: store {store!r} can't be read: No such file or directory; mend that, or name another store\n",
    )
    assert not Path(store).exists()


@pytest.mark.parametrize("words", [("list",), ("revoke", "shop"), ("rotate", "shop")])
def test_a_file_is_no_store(store: str, words: tuple[str, ...]) -> None:
    Path(store).write_text("no store")
    result = run(store, *words)

    assert (result.exit_code, result.stderr) == (
        1,
        f"onegate: store {store!r} can't be read: Not a directory; mend that, or name another store\n",
    )


def test_options_are_the_key_s_bounds(store: str) -> None:
    made(store, "create", "shop", "--scope", "infer", "--expires", "90d", "--rate", "2.5", "--concurrency", "4")
    (key,) = keys(store)

    assert (key.rate_per_s, key.concurrency) == (2.5, 4)
    assert key.expires is not None
    assert seconds(key.created, key.expires) == pytest.approx(timedelta(days=90).total_seconds(), abs=5)


def test_a_name_that_is_taken_is_refused_until_it_is_revoked(store: str) -> None:
    made(store, "create", "shop", "--scope", "infer")
    again = run(store, "create", "shop", "--scope", "infer")

    assert (again.exit_code, again.stderr) == (
        1,
        "onegate: there is a key 'shop' already; `onegate keys rotate shop` gives it a new secret\n",
    )
    assert run(store, "revoke", "shop").exit_code == 0
    assert keys(store) == ()
    made(store, "create", "shop", "--scope", "infer")


def test_a_rotated_key_has_the_same_bounds_and_the_old_one_ends_after_the_grace(store: str) -> None:
    first = made(store, "create", "shop", "--scope", "infer:a*", "--expires", "30d", "--rate", "7")
    second = made(store, "rotate", "shop", "--grace", "2h")
    old, new = keys(store)

    assert (old.id, new.id) == (first["id"], second["id"])
    assert (new.scopes, new.rate_per_s) == (("infer:a*",), 7.0)
    assert old.expires is not None
    assert new.expires is not None
    assert seconds(new.created, old.expires) == pytest.approx(7200, abs=5)
    assert seconds(new.created, new.expires) == pytest.approx(timedelta(days=30).total_seconds(), abs=5)
    assert "key" in second


def test_without_grace_the_old_key_is_gone_with_the_next_change(store: str) -> None:
    made(store, "create", "shop", "--scope", "infer")
    second = made(store, "rotate", "shop", "--grace", "0s")
    third = made(store, "rotate", "shop", "--grace", "1h")

    assert [key.id for key in keys(store)] == [second["id"], third["id"]]


def test_one_of_several_is_revoked_by_its_id(store: str) -> None:
    first = made(store, "create", "shop", "--scope", "infer")
    second = made(store, "rotate", "shop")
    result = run(store, "revoke", first["id"], "--json")

    assert json.loads(result.stdout) == {"revoked": [first["id"]]}
    assert [key.id for key in keys(store)] == [second["id"]]


@pytest.mark.parametrize("words", [("revoke", "shop"), ("rotate", "shop")])
def test_an_unknown_key_is_told_with_those_that_there_are(store: str, words: tuple[str, ...]) -> None:
    made(store, "create", "other", "--scope", "infer")
    result = run(store, *words)

    assert (result.exit_code, result.stderr) == (1, "onegate: the store has no key 'shop'; keys: other\n")


@pytest.mark.parametrize(
    "words",
    [
        ("create", "shop"),
        ("create", "shop", "--scope", "admin"),
        ("create", "shop", "--scope", "infer:a b"),
        ("create", "a b", "--scope", "infer"),
        ("create", "shop", "--scope", "infer", "--expires", "90"),
        ("create", "shop", "--scope", "infer", "--rate", "0"),
        ("create", "shop", "--scope", "infer", "--concurrency", "0"),
    ],
)
def test_wrong_usage_writes_nothing(store: str, words: tuple[str, ...]) -> None:
    result = run(store, *words)

    assert result.exit_code == 2
    assert not Path(store, "access").exists()


def test_the_list_is_a_table(store: str) -> None:
    made(store, "create", "shop", "--scope", "infer", "--rate", "50", "--concurrency", "8")
    heading, row = run(store, "list").output.splitlines()

    assert heading.split() == ["NAME", "ID", "SCOPES", "CREATED", "EXPIRES", "RATE", "CONCURRENCY"]
    assert row.split()[0] == "shop"
    assert row.split()[-4:] == ["no", "end", "50/s", "8"]
