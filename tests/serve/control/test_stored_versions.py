"""Manifests of a model's versions: the newest first, so many, or one."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.errors import ModelNotFound
from model_store.store import Store
from serve.control.stored_versions import stored_manifests
from tests.serve.administered import converted


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three versions of `m`."""
    for factor in (2, 3, 4):
        converted(tmp_path, factor, "m")
    return Store(str(tmp_path / "store"))


def test_the_newest_come_first_and_only_so_many(store: Store) -> None:
    assert [each.version for each in stored_manifests(store, "m")] == [3, 2, 1]
    assert [each.version for each in stored_manifests(store, "m", limit=2)] == [3, 2]
    assert stored_manifests(store, "m", limit=0) == []


def test_one_is_told_by_its_number(store: Store) -> None:
    assert [each.version for each in stored_manifests(store, "m", 2)] == [2]
    with pytest.raises(ModelNotFound, match="9"):
        stored_manifests(store, "m", 9)


@pytest.mark.parametrize("name", ["absent", "..", "a b"])
def test_a_model_that_was_never_converted_has_none(store: Store, name: str) -> None:
    assert stored_manifests(store, name) == []
