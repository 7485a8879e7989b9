import pickle

import pytest

from model_store.errors import ERROR_KINDS, IntegrityError, OnegateError, StoreError


@pytest.mark.parametrize("name", sorted(ERROR_KINDS))
def test_every_kind_survives_pickling_with_message_and_details(name: str) -> None:
    kind = ERROR_KINDS[name]
    error = kind("expected 1, got 2", expected=1, got={"rows": [2]})
    error.__cause__ = OSError("not carried")

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert kind.__name__ == name
    assert copy.message == str(copy) == "expected 1, got 2"
    assert copy.details == {"expected": 1, "got": {"rows": [2]}}


def test_details_may_be_called_like_parts_of_an_error() -> None:
    error = StoreError("full", args=1, name="x", details="y")

    assert pickle.loads(pickle.dumps(error)).details == {"args": 1, "name": "x", "details": "y"}


def test_kinds_are_found_by_name_and_keep_their_place_in_the_tree() -> None:
    assert ERROR_KINDS["IntegrityError"] is IntegrityError
    assert issubclass(IntegrityError, StoreError)
    assert all(issubclass(kind, OnegateError) for kind in ERROR_KINDS.values())
