"""Large tensors between processes: what is written is read, names can't be guessed into, nothing is left behind."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput, Unsupported
from serve.dialects.open_inference_grpc import RAW, decode_request, encode_request
from serve.shared_memory import SHARED_FROM_BYTES, Block, MappedRegions, Placed, RegionPool, block_of

FLOATS = np.dtype(np.float32)

OWNER = """
import sys, time
import numpy as np
from serve.shared_memory import RegionPool
region = RegionPool().take(400_000)
region.tensor(np.dtype(np.float32), (100_000,))[:] = np.arange(100_000)
print(region.name, flush=True)
time.sleep(60)
"""


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_tensor_written_to_a_region_is_read_by_its_name() -> None:
    tensor = np.arange(120_000, dtype=np.float32).reshape(2, 60_000)
    region = RegionPool().take(tensor.nbytes)
    region.tensor(tensor.dtype, tensor.shape)[...] = tensor
    seen = MappedRegions().view(Placed(region.name, 0, tensor.nbytes))
    assert np.array_equal(np.frombuffer(seen, np.float32).reshape(2, 60_000), tensor)
    assert seen.readonly


# -- the pool --------------------------------------------------------------------------------------------------------


def test_region_that_nobody_looks_into_is_used_again() -> None:
    pool = RegionPool()
    name = pool.take(300_000).name
    assert pool.take(SHARED_FROM_BYTES + 1).name == name


@pytest.mark.parametrize(
    "look",
    [
        lambda block: block,
        lambda block: block.data[5:9].toreadonly(),
        lambda block: block.tensor(FLOATS, (10, 10)).T[3:],
        lambda block: np.frombuffer(block.data[1:], np.int8, 7).reshape(7, 1)[2],
    ],
    ids=["block", "bytes", "tensor", "part"],
)
def test_region_that_somebody_looks_into_is_not_used_again_before(look: Callable[[Block], object]) -> None:
    pool = RegionPool()
    block = pool.take(300_000)
    name, looking = block.name, look(block)
    del block
    other = pool.take(300_000)
    assert other.name != name
    del looking
    assert pool.take(300_000).name == name


def test_spoiled_region_is_never_used_again() -> None:
    pool, before = RegionPool(), _descriptors()
    block = pool.take(300_000)
    name, block.region.spoiled = block.name, True
    del block
    assert _descriptors() == before
    assert pool.take(300_000).name != name


def test_regions_do_not_grow_with_the_number_of_calls() -> None:
    pool = RegionPool()
    pool.take(1_000_000)
    before = _descriptors()
    for _ in range(1000):
        pool.take(1_000_000)
    assert _descriptors() == before


def test_region_is_given_back_from_any_thread() -> None:
    pool = RegionPool()
    held = [pool.take(300_000)]
    name = held[0].name
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert pool.take(300_000).name == name


def test_what_a_burst_needed_is_let_go_and_what_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.shared_memory.IDLE_S", 0)
    pool, before = RegionPool(), _descriptors()
    burst = [pool.take(300_000) for _ in range(5)]
    del burst
    pool.trim()
    for _ in range(3):
        both = pool.take(300_000), pool.take(300_000)
        del both
        pool.trim()
    assert _descriptors() == before + 2 * 2
    pool.trim()
    assert _descriptors() == before


def test_nothing_is_let_go_too_early() -> None:
    pool, before = RegionPool(), _descriptors()
    pool.take(300_000)
    pool.trim()
    pool.trim()
    assert _descriptors() == before + 2


def test_none_is_given_where_many_are_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.shared_memory.MOST_LENT", 2)
    pool = RegionPool()
    first, second = pool.take_if_few(300_000), pool.take_if_few(300_000)
    assert first is not None
    assert second is not None
    assert pool.take_if_few(300_000) is None
    del first
    assert pool.take_if_few(300_000) is not None


def test_none_is_given_where_no_more_can_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(file: int, size: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("serve.shared_memory.mmap.mmap", no_descriptor)
    before = _descriptors()
    assert RegionPool().take_if_few(300_000) is None
    assert _descriptors() == before


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, ml_dtypes.bfloat16])
def test_large_tensors_are_joined_in_a_region(dtype: type) -> None:
    parts = [np.full((rows, 200_000), rows, dtype) for rows in (2, 1)]
    joined = RegionPool().join(parts)
    assert (joined.dtype, joined.shape) == (dtype, (3, 200_000))
    assert np.array_equal(joined, np.concatenate(parts))
    assert block_of(joined) is not None


@pytest.mark.parametrize("part", [np.ones((1, 20), np.float32), np.full((1, 40_000), b"text", object)], ids=str)
def test_other_tensors_are_joined_elsewhere(part: np.ndarray) -> None:
    joined = RegionPool().join([part, part])
    assert np.array_equal(joined, np.concatenate([part, part]))
    assert block_of(joined) is None


def test_tensors_are_joined_elsewhere_where_many_regions_are_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.shared_memory.MOST_LENT", 0)
    joined = RegionPool().join([np.ones((1, 200_000), np.float32)] * 2)
    assert (joined.sum(), block_of(joined)) == (400_000, None)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "onegate-1-2", "onegate-1-2-3-4-5", "onegate-../../etc-1-2-3", "onegate-x-1-2-3", ""]
)
def test_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape("is no name of a shared region")):
        MappedRegions().view(Placed(name, 0, 1))


def test_region_of_a_process_that_is_gone_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"can't be mapped: No such file or directory$"):
        MappedRegions().view(Placed("onegate-4194304-1-1-262144", 0, 1))


@pytest.mark.parametrize(("offset", "size"), [(0, 262_145), (262_144, 1), (-1, 1), (0, -1)])
def test_bytes_outside_of_a_region_are_refused(offset: int, size: int) -> None:
    region = RegionPool().take(SHARED_FROM_BYTES)
    with pytest.raises(InvalidInput, match="has 262144 bytes, less than the message says"):
        MappedRegions().view(Placed(region.name, offset, size))


def test_killed_owner_leaves_no_memory_behind() -> None:
    gc.collect()  # regions of other tests
    regions = MappedRegions()
    before = _descriptors()
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            name = owner.stdout.readline().strip()
            seen = regions.view(Placed(name, 0, 400_000))
            owner.send_signal(signal.SIGKILL)
            owner.wait()
        # A mapping that is in use outlives its owner.
        assert np.frombuffer(seen, np.float32)[99_999] == 99_999.0
        del seen
        time.sleep(0.05)
    mine = RegionPool().take(SHARED_FROM_BYTES)
    regions.view(Placed(mine.name, 0, 4))
    with open("/proc/self/maps") as maps:
        assert sum("onegate-region" in line for line in maps) == 2  # the owner's own mapping, and the reader's
    # Its memfd, and one descriptor for each of the two mappings.
    assert _descriptors() == before + 3


def test_dropped_region_is_unmapped_when_asked_to() -> None:
    pool, regions = RegionPool(), MappedRegions()
    dropped, kept = pool.take(SHARED_FROM_BYTES), pool.take(SHARED_FROM_BYTES)
    assert [len(regions.view(Placed(name, 0, 4))) for name in (dropped.name, kept.name)] == [4, 4]
    before = _descriptors()
    dropped.region.spoiled = True
    del dropped
    regions.forget_dropped()
    # The owner's memfd and mapping, and the reader's mapping.
    assert _descriptors() == before - 3
    assert regions.view(Placed(kept.name, 0, 4)) == bytes(4)


def test_request_with_a_shared_input_is_decoded_as_a_view() -> None:
    pool, regions = RegionPool(), MappedRegions()
    big, small = np.arange(100_000, dtype=np.float32).reshape(1, -1), np.array([[7]], dtype=np.int64)
    region = pool.take(big.nbytes)
    region.tensor(big.dtype, big.shape)[...] = big
    message = encode_request("m", 1, {"small": small, "big": big}, {"big": Placed(region.name, 0, big.nbytes)})
    assert len(message.SerializeToString()) < 300
    decoded = decode_request(message, regions=regions).inputs
    assert decoded is not None
    assert list(decoded) == ["small", "big"]
    assert np.array_equal(decoded["big"], big)
    assert decoded["small"] == 7


def test_who_sends_all_inputs_in_shared_memory_reads_raw_answers() -> None:
    tensor = np.zeros((1, 100_000), dtype=np.float32)
    region = RegionPool().take(tensor.nbytes)
    message = encode_request("m", 1, {"x": tensor}, {"x": Placed(region.name, 0, tensor.nbytes)})
    assert decode_request(message, regions=MappedRegions()).reply_form == RAW


def test_shared_input_is_refused_where_it_is_not_offered() -> None:
    tensor = np.zeros((1, 100_000), dtype=np.float32)
    region = RegionPool().take(tensor.nbytes)
    message = encode_request("m", 1, {"x": tensor}, {"x": Placed(region.name, 0, tensor.nbytes)})
    with pytest.raises(
        Unsupported, match=r"^tensor 'x': shared memory is not offered here; send the tensor in the request$"
    ):
        decode_request(message)
