"""Large tensors between a gateway and the replicas of its node, without going through a socket.

A gateway owns a pool of memfds; a message names region, offset and size the way the protocol's system-shared-memory
extension does, and the replica maps the region through `/proc/<pid>/fd/<n>`. So nothing outlives a `kill -9`: a memfd
goes with the last process that holds it, and no name is left in `/dev/shm`, which in containers is often too small.

A region is written by its gateway only, before the message is sent, and handed out again only after the call has ended.
Should a replica still be computing then, because the call was given up, its answer is dropped: nobody reads it.
"""

from __future__ import annotations

import mmap
import os
import re
from collections import defaultdict

import msgspec
import numpy as np

from model_store.errors import InvalidInput

SHARED_FROM_BYTES = 256 * 1024
"""A smaller tensor travels in the message: a mapping saves less than it costs."""

_NAME = re.compile(r"onegate-([0-9]+)-([0-9]+)-([0-9]+)-([0-9]+)")


class Region:
    """A block of memory of this process that others can map by `name`."""

    def __init__(self, serial: int, size: int) -> None:
        self.size = size
        self._fd = os.memfd_create("onegate-region", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, size)
        self._map = mmap.mmap(self._fd, size)
        # Descriptor numbers are used again; the serial number tells this region from an earlier one.
        self.name = f"onegate-{os.getpid()}-{self._fd}-{serial}-{size}"

    def write(self, tensor: np.ndarray) -> None:
        """Copies `tensor`, at most `size` bytes, to the region's start in row-major order."""
        np.frombuffer(self._map, dtype=tensor.dtype, count=tensor.size).reshape(tensor.shape)[...] = tensor


class RegionPool:
    """The regions of a gateway, by size class (powers of two). It grows to what was in use at once and stays there."""

    def __init__(self) -> None:
        self._free: dict[int, list[Region]] = defaultdict(list)
        self._made = 0

    def take(self, size: int) -> Region:
        """A region of at least `size` bytes."""
        rounded = max(SHARED_FROM_BYTES, 1 << (size - 1).bit_length())
        free = self._free[rounded]
        if free:
            return free.pop()
        self._made += 1
        return Region(self._made, rounded)

    def give_back(self, region: Region) -> None:
        """To be called when the call that used the region has ended."""
        self._free[region.size].append(region)


class Placed(msgspec.Struct, frozen=True):
    """Where a tensor lies: in a region, from `offset` on, `size` bytes."""

    region: str
    offset: int
    size: int


class MappedRegions:
    """The regions of gateways as a replica sees them: mapped once, read-only, until their owner is gone."""

    def __init__(self) -> None:
        self._maps: dict[str, mmap.mmap] = {}

    def view(self, placed: Placed) -> memoryview:
        """The bytes of a placed tensor; raises `InvalidInput` for a region that is not there or too small."""
        mapped = self._maps.get(placed.region)
        if mapped is None:
            self._forget_orphans()
            mapped = self._maps[placed.region] = _map(placed.region)
        if placed.offset < 0 or placed.size < 0 or placed.offset + placed.size > len(mapped):
            raise InvalidInput(f"shared region {placed.region!r} has {len(mapped)} bytes, less than the message says")
        return memoryview(mapped)[placed.offset : placed.offset + placed.size]

    def _forget_orphans(self) -> None:
        # Dropping the reference is enough: the mapping ends with the last tensor that looks into it.
        for name in [name for name in self._maps if not os.path.exists(f"/proc/{_parts(name)[0]}")]:
            del self._maps[name]


def _map(name: str) -> mmap.mmap:
    pid, fd, _, size = _parts(name)
    try:
        with open(f"/proc/{pid}/fd/{fd}", "rb") as region:
            if os.fstat(region.fileno()).st_size != size:
                raise InvalidInput(f"shared region {name!r} has another size now")
            return mmap.mmap(region.fileno(), size, prot=mmap.PROT_READ)
    except OSError as error:
        raise InvalidInput(f"shared region {name!r} can't be mapped: {error.strerror}") from error


def _parts(name: str) -> tuple[int, int, int, int]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidInput(f"{name[:60]!r} is no name of a shared region")
    pid, fd, serial, size = (int(part) for part in found.groups())
    return pid, fd, serial, size
