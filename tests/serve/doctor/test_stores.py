"""The store and the keys in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_store import access_keys
from model_store.errors import StoreError
from model_store.store import Store
from serve.doctor import stores
from serve.doctor.stores import check_keys, check_store


def test_a_store_is_read_and_written_and_left_as_it_was(tmp_path: Path) -> None:
    Store.open(str(tmp_path / "store"))
    before = sorted(tmp_path.rglob("*"))
    read, written = check_store(str(tmp_path / "store"))
    assert (read.level, read.text.startswith(f"'{tmp_path}/store' can be read: 0 models")) == ("ok", True)
    assert (written.level, written.text.startswith("a file of 1 MiB: written in ")) == ("ok", True)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (found,) = check_store(str(tmp_path / "a/store"))
    assert (found.level, list(tmp_path.iterdir())) == ("ok", [])


def test_a_store_that_can_not_be_made_is_a_problem() -> None:
    (found,) = check_store("/proc/store")
    assert (found.level, found.text.startswith("'/proc/store' is not there and can't be made in '/proc'")) == (
        "problem",
        True,
    )


def test_a_store_that_can_not_be_written_is_a_store_error() -> None:
    findings = check_store("/proc")
    assert next(findings).text.startswith("'/proc' can be read")
    with pytest.raises(StoreError, match="can't be written"):
        next(findings)


def test_a_slow_store_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SLOW_S", 0.0)
    Store.open(str(tmp_path))
    _, found = check_store(str(tmp_path))
    assert found.level == "warning"


def test_keys_that_end_soon_or_have_ended_are_told(tmp_path: Path) -> None:
    store, now = Store.open(str(tmp_path)), datetime.now(UTC)
    made = [
        access_keys.make_key(name, ["infer"], expires=end)[0]
        for name, end in (("old", now - timedelta(days=1)), ("soon", now + timedelta(days=3)), ("fine", None))
    ]
    access_keys.replace(store, access_keys.newest(store), made)
    soon, old = check_keys(str(tmp_path))
    assert (soon.level, soon.text) == ("warning", "end within 14 days: soon")
    assert (old.level, old.text) == ("warning", "have ended: old")
    (later,) = check_keys(str(tmp_path), now + timedelta(days=365))
    assert later.text == "have ended: old, soon"


def test_a_store_without_keys_is_fine(tmp_path: Path) -> None:
    Store.open(str(tmp_path))
    assert [finding.text for finding in check_keys(str(tmp_path))] == ["0 keys of callers"]
    assert list(check_keys(str(tmp_path / "absent"))) == []
