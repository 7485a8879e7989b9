"""Large tensors between processes: what is written is read, names can't be guessed into, nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from model_store.errors import InvalidInput, Unsupported
from serve.dialects.open_inference_grpc import RAW, decode_request, encode_request
from serve.shared_memory import SHARED_FROM_BYTES, MappedRegions, Placed, RegionPool

OWNER = """
import sys, time
import numpy as np
from serve.shared_memory import RegionPool
region = RegionPool().take(400_000)
region.write(np.arange(100_000, dtype=np.float32))
print(region.name, flush=True)
time.sleep(60)
"""


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_tensor_written_to_a_region_is_read_by_its_name() -> None:
    tensor = np.arange(120_000, dtype=np.float32).reshape(2, 60_000)
    region = RegionPool().take(tensor.nbytes)
    region.write(tensor)
    seen = MappedRegions().view(Placed(region.name, 0, tensor.nbytes))
    assert np.array_equal(np.frombuffer(seen, np.float32).reshape(2, 60_000), tensor)
    assert seen.readonly


def test_region_that_was_given_back_is_used_again() -> None:
    pool = RegionPool()
    first = pool.take(300_000)
    pool.give_back(first)
    assert pool.take(SHARED_FROM_BYTES + 1) is first
    assert pool.take(300_000) is not first


def test_regions_do_not_grow_with_the_number_of_calls() -> None:
    pool = RegionPool()
    pool.give_back(pool.take(1_000_000))
    before = _descriptors()
    for _ in range(1000):
        pool.give_back(pool.take(1_000_000))
    assert _descriptors() == before


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


def test_request_with_a_shared_input_is_decoded_as_a_view() -> None:
    pool, regions = RegionPool(), MappedRegions()
    big, small = np.arange(100_000, dtype=np.float32).reshape(1, -1), np.array([[7]], dtype=np.int64)
    region = pool.take(big.nbytes)
    region.write(big)
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
