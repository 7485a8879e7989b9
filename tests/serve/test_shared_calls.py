"""Answers in shared memory: lent by the size of the one before, used again only when nobody looks into them."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.executors.shared_calls import SharedCalls
from serve.shared_memory import LentRegions, MappedRegions, Placed, RegionPool

ROWS = {"x": np.ones((4, 2), np.float32)}
LARGE = {"y": np.arange(400_000, dtype=np.float32).reshape(4, 100_000), "small": np.ones((4, 1), np.float32)}


def calls() -> tuple[SharedCalls, RegionPool]:
    pool = RegionPool()
    return SharedCalls(pool), pool


def read(lent: LentRegions, placed: Placed) -> np.ndarray:
    """As `tensors.from_raw` makes one: a view of a view."""
    return np.frombuffer(lent.view(placed), np.float32).reshape(4, 100_000)


def test_nothing_is_lent_before_an_answer_was_large() -> None:
    shared, _ = calls()
    shared.learn(ROWS, None, {"y": np.ones((4, 10), np.float32)})
    call = shared.begin(ROWS, None)
    assert (call.placed, call.wanted, call.lent) == ({}, {}, None)


def test_room_is_lent_for_as_many_bytes_a_row_as_the_last_answer_had() -> None:
    shared, _ = calls()
    shared.learn(ROWS, None, LARGE)
    call = shared.begin({"x": np.ones((8, 2), np.float32)}, None)
    assert list(call.wanted) == ["y", "small"]
    assert call.wanted["small"] is None
    assert call.wanted["y"] is not None
    # 3.2 MB, rounded up to a power of two.
    assert call.wanted["y"].size == 4 * 1024 * 1024


def test_each_signature_has_answers_of_its_own() -> None:
    shared, _ = calls()
    shared.learn(ROWS, "encode", LARGE)
    assert shared.begin(ROWS, None).wanted == {}
    assert list(shared.begin(ROWS, "encode").wanted) == ["y", "small"]


def test_a_region_is_used_again_when_the_last_view_of_the_answer_is_gone() -> None:
    shared, pool = calls()
    shared.learn(ROWS, None, LARGE)
    call = shared.begin(ROWS, None)
    wanted, lent = call.wanted["y"], call.lent
    assert wanted is not None
    assert lent is not None
    written = MappedRegions().write(wanted, LARGE["y"])
    assert written == Placed(wanted.region, 0, 1_600_000)
    outputs = {"y": read(lent, written), "small": LARGE["small"]}
    call.end(outputs)
    row = outputs["y"][2:3]
    del outputs, lent, call
    gc.collect()
    other = pool.take(1_600_000)
    assert other.name != wanted.region
    assert row[0, 0] == 200_000
    del row
    gc.collect()
    assert pool.take(1_600_000).name == wanted.region


def test_a_region_whose_answer_came_in_the_message_is_used_again_at_once() -> None:
    shared, pool = calls()
    shared.learn(ROWS, None, LARGE)
    call = shared.begin(ROWS, None)
    wanted = call.wanted["y"]
    assert wanted is not None
    call.end(LARGE)
    assert pool.take(1_600_000).name == wanted.region


def test_a_region_of_a_call_that_was_given_up_is_never_used_again() -> None:
    shared, pool = calls()
    shared.learn(ROWS, None, LARGE)
    call = shared.begin(ROWS, None)
    wanted = call.wanted["y"]
    assert wanted is not None
    call.end(None)
    assert pool.take(1_600_000).name != wanted.region
    assert MappedRegions().write(wanted, LARGE["y"]) is None


def test_an_answer_that_does_not_fit_is_not_written() -> None:
    region = RegionPool().take(300_000)
    assert MappedRegions().write(Placed(region.name, 0, region.size), LARGE["y"]) is None
    assert not any(region.view(region.size))


def test_text_is_not_written() -> None:
    region = RegionPool().take(300_000)
    assert MappedRegions().write(Placed(region.name, 0, region.size), np.array([b"a"], object)) is None


@pytest.mark.parametrize(
    "change", [{"region": "onegate-1-2-3-4"}, {"offset": 4}, {"size": -1}, {"size": 2**40}], ids=str
)
def test_an_answer_may_lie_only_where_room_was_lent(change: dict[str, object]) -> None:
    region = RegionPool().take(300_000)
    placed = Placed(**{"region": region.name, "offset": 0, "size": 100, **change})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="were not lent"):
        LentRegions({"y": region}).view(placed)


def test_a_replica_forgets_regions_that_were_dropped() -> None:
    pool, mapped = RegionPool(), MappedRegions()
    dropped = pool.take(300_000)
    assert mapped.write(Placed(dropped.name, 0, dropped.size), ROWS["x"]) is not None
    dropped.drop()
    kept = pool.take(300_000)
    assert mapped.write(Placed(kept.name, 0, kept.size), ROWS["x"]) is not None
    assert [name for name, _ in mapped._maps] == [kept.name]
