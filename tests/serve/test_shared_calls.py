"""Answers in shared memory: lent by the size of the one before, used again only when nobody looks into them."""

from __future__ import annotations

import errno
from collections.abc import Callable

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
    call.end(answered=True)
    row = outputs["y"][2:3]
    del outputs, lent
    other = pool.take(1_600_000)
    assert other.name != wanted.region
    assert row[0, 0] == 200_000
    del row
    assert pool.take(1_600_000).name == wanted.region


def test_a_region_whose_answer_came_in_the_message_is_used_again_at_once() -> None:
    shared, pool = calls()
    shared.learn(ROWS, None, LARGE)
    call = shared.begin(ROWS, None)
    wanted = call.wanted["y"]
    assert wanted is not None
    call.end(answered=True)
    assert pool.take(1_600_000).name == wanted.region


def test_regions_of_a_call_that_was_given_up_are_never_used_again() -> None:
    shared, pool = calls()
    shared.learn(LARGE, None, LARGE)
    body = pool.take(2_000_000)
    inputs = {"small": LARGE["small"], "own": LARGE["y"], "body": body.tensor(LARGE["y"].dtype, (4, 100_000))}
    call = shared.begin(inputs, None)
    used = {call.placed["own"].region, call.placed["body"].region, call.wanted["y"].region}  # type: ignore[union-attr]
    assert len(used) == 3
    wanted = call.wanted["y"]
    assert wanted is not None
    call.end(answered=False)
    del body, inputs
    assert used.isdisjoint([block.name for block in [pool.take(1_600_000) for _ in range(4)]])
    assert MappedRegions().write(wanted, LARGE["y"]) is None


def test_tensors_travel_in_the_message_where_no_region_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    shared, _ = calls()
    shared.learn(LARGE, None, LARGE)
    monkeypatch.setattr("serve.shared_memory.os.memfd_create", no_descriptor)
    call = shared.begin(LARGE, None)
    assert (call.placed, call.wanted, call.lent) == ({}, {"y": None, "small": None}, None)


# -- inputs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 161])
def test_an_input_that_lies_in_a_region_is_named_where_it_lies(offset: int) -> None:
    shared, pool = calls()
    block = pool.take(2_000_000)
    body = block.data[offset : offset + 1_600_000]
    body[:] = LARGE["y"].tobytes()
    tensor = np.frombuffer(body.toreadonly(), np.float32).reshape(4, 100_000)
    placed = shared.begin({"x": tensor}, None).placed["x"]
    assert placed == Placed(block.name, offset, 1_600_000)
    assert MappedRegions().view(placed) == LARGE["y"].tobytes()


def test_rows_of_such_an_input_are_named_too() -> None:
    shared, pool = calls()
    block = pool.take(1_600_000)
    tensor = block.tensor(LARGE["y"].dtype, (4, 100_000))
    tensor[...] = LARGE["y"]
    placed = shared.begin({"x": tensor[1:3]}, None).placed["x"]
    assert placed == Placed(block.name, 400_000, 800_000)
    assert np.frombuffer(MappedRegions().view(placed), np.float32)[0] == 100_000


def test_an_input_that_does_not_lie_row_by_row_is_copied() -> None:
    shared, pool = calls()
    block = pool.take(1_600_000)
    tensor = block.tensor(LARGE["y"].dtype, (100_000, 4)).T
    tensor[...] = LARGE["y"]
    placed = shared.begin({"x": tensor}, None).placed["x"]
    assert placed.region != block.name
    assert MappedRegions().view(placed) == LARGE["y"].tobytes()


def test_an_input_is_not_overwritten_while_its_call_lasts() -> None:
    shared, pool = calls()
    block = pool.take(1_600_000)
    name = block.name
    call = shared.begin({"x": block.tensor(LARGE["y"].dtype, (4, 100_000))}, None)
    del block
    assert pool.take(1_600_000).name != name
    call.end(answered=True)
    assert name in [block.name for block in [pool.take(1_600_000) for _ in range(2)]]


# -- where answers may lie -------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_fit_is_not_written() -> None:
    block = RegionPool().take(300_000)
    assert MappedRegions().write(Placed(block.name, 0, block.size), LARGE["y"]) is None
    assert not block.any()


def test_text_is_not_written() -> None:
    block = RegionPool().take(300_000)
    assert MappedRegions().write(Placed(block.name, 0, block.size), np.array([b"a"], object)) is None


def test_an_answer_that_lies_where_it_is_wanted_is_not_copied() -> None:
    block, regions = RegionPool().take(1_600_000), MappedRegions()
    wanted = Placed(block.name, 0, block.size)
    tensor = np.frombuffer(regions.room({"y": wanted})["y"], np.float32, 400_000).reshape(4, 100_000)
    tensor[...] = LARGE["y"]
    tensor.flags.writeable = False
    assert regions.write(wanted, tensor) == Placed(block.name, 0, 1_600_000)
    assert np.array_equal(block.tensor(tensor.dtype, tensor.shape), LARGE["y"])


@pytest.mark.parametrize("change", [lambda t: t[1:], lambda t: t.reshape(100_000, 4).T], ids=["elsewhere", "turned"])
def test_an_answer_that_lies_there_otherwise_is_put_right(change: Callable[[np.ndarray], np.ndarray]) -> None:
    block, regions = RegionPool().take(1_600_000), MappedRegions()
    wanted = Placed(block.name, 0, block.size)
    tensor = np.frombuffer(regions.room({"y": wanted})["y"], np.float32, 400_000).reshape(4, 100_000)
    tensor[...] = LARGE["y"]
    changed = change(tensor)
    expected = changed.copy()
    written = regions.write(wanted, changed)
    assert written == Placed(block.name, 0, expected.nbytes)
    assert np.array_equal(block.tensor(expected.dtype, expected.shape), expected)


def test_there_is_no_room_where_the_region_is_gone() -> None:
    pool = RegionPool()
    kept, dropped = pool.take(300_000), pool.take(300_000)
    wanted = {name: Placed(block.name, 0, block.size) for name, block in (("kept", kept), ("dropped", dropped))}
    dropped.region.drop()
    assert [(name, len(memory)) for name, memory in MappedRegions().room(wanted).items()] == [("kept", kept.size)]


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
    dropped.region.drop()
    kept = pool.take(300_000)
    assert mapped.write(Placed(kept.name, 0, kept.size), ROWS["x"]) is not None
    assert [name for name, _ in mapped._maps] == [kept.name]
