"""`bytes` that are filled where they lie."""

from __future__ import annotations

import psutil
import pytest

from model_store.errors import OutOfMemory
from serve.in_place import InPlace, InPlaceBytes


def test_a_claimed_length_takes_no_memory() -> None:
    before = psutil.Process().memory_info().rss
    claimed = [InPlaceBytes(2**30) for _ in range(8)]
    for each in claimed:
        each.begin(b"x" * 1000)
    assert psutil.Process().memory_info().rss - before < 2**20
    assert [len(each.room()) for each in claimed] == [2**30 - 1000] * 8


def test_what_is_written_into_the_room_is_the_bytes_in_the_end() -> None:
    received = InPlaceBytes(3_000_000)
    received.begin(b"ab")
    filled = 2
    while not received.whole:
        part = min(len(received.room()), 100_000)
        received.room()[:part] = bytes([filled % 251]) * part
        received.fill(part)
        filled += part
    content = received.content()
    assert (type(content), len(content), content[:3]) == (bytes, 3_000_000, b"ab\x02")
    assert content is received.content()


def test_a_length_for_which_there_is_no_room_is_told() -> None:
    with pytest.raises(OutOfMemory, match=rf"^{2**60} bytes can't be received: an allocation failed$"):
        InPlaceBytes(2**60)


def test_other_memory_is_filled_and_then_read_only() -> None:
    memory = bytearray(b"......")
    received = InPlace(memoryview(memory)[1:5])
    received.begin(b"ab")
    assert not received.whole
    received.room()[:2] = b"cd"
    received.fill(2)
    content = received.content()
    assert isinstance(content, memoryview)
    assert (bytes(content), content.readonly, memory) == (b"abcd", True, b".abcd.")
