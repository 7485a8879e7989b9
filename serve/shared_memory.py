"""Large tensors between a gateway and the replicas of its node, without going through a socket.

A gateway owns a pool of memfds; a message names region, offset and size the way the protocol's system-shared-memory
extension does, and the replica maps the region through `/proc/<pid>/fd/<n>`. So nothing outlives a `kill -9`: a memfd
goes with the last process that holds it, and no name is left in `/dev/shm`, which in containers is often too small.

A region of inputs is written by its gateway only, before the message is sent, and handed out again only after the call
has ended. Should a replica still be computing then, because the call was given up, its answer is dropped: nobody reads
it. A region for answers is written by the replica. It is handed out again when nobody looks into the answer any more,
and never after a call that was given up: the replica might write there yet.
"""

from __future__ import annotations

import mmap
import os
import re
import weakref
from collections import defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np

from model_store.errors import InvalidInput

SHARED_FROM_BYTES = 256 * 1024
"""A smaller tensor travels in the message: a mapping saves less than it costs."""

_FILE = "onegate-region-"
"""What the kernel calls the file of a region, before its serial number."""

_NAME = re.compile(r"onegate-([0-9]+)-([0-9]+)-([0-9]+)-([0-9]+)")


class Region:
    """A block of memory of this process that others can map by `name`."""

    def __init__(self, serial: int, size: int) -> None:
        self.size = size
        self._fd = os.memfd_create(f"{_FILE}{serial}", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, size)
        self._map = mmap.mmap(self._fd, size)
        # Descriptor numbers are used again; the serial number tells this region from an earlier one.
        self.name = f"onegate-{os.getpid()}-{self._fd}-{serial}-{size}"

    def write(self, tensor: np.ndarray) -> None:
        """Copies `tensor`, at most `size` bytes, to the region's start in row-major order."""
        _copy(tensor, self._map)

    def view(self, size: int) -> memoryview:
        """The first `size` bytes."""
        return memoryview(self._map)[:size]

    def holds(self, tensor: np.ndarray) -> bool:
        """Whether `tensor` looks into the region."""
        return np.may_share_memory(tensor, np.frombuffer(self._map, np.uint8))

    def drop(self) -> None:
        """Lets the memory go as soon as no tensor and no other process looks into it."""
        os.close(self._fd)


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

    def give_back_after(self, region: Region, tensor: np.ndarray) -> None:
        """As `give_back`, once neither `tensor`, which looks into the region, nor a view of it is left."""
        # A view of a view holds the first array only, not what is between.
        while isinstance(tensor.base, np.ndarray):
            tensor = tensor.base
        weakref.finalize(tensor, self.give_back, region).atexit = False


class Placed(msgspec.Struct, frozen=True):
    """Where a tensor lies: in a region, from `offset` on, `size` bytes."""

    region: str
    offset: int
    size: int


class LentRegions:
    """The regions that a gateway lent to one call for its answers, as they are found in the answer."""

    def __init__(self, regions: Mapping[str, Region]) -> None:
        self._by_name = {region.name: region for region in regions.values()}

    def view(self, placed: Placed) -> memoryview:
        """The bytes of a placed tensor; raises `InvalidInput` for a region that was not lent or is too small."""
        region = self._by_name.get(placed.region)
        if region is None or placed.offset or not 0 <= placed.size <= region.size:
            raise InvalidInput(f"{placed.size} bytes at {placed.offset} of {placed.region[:60]!r} were not lent")
        return region.view(placed.size)


class _Mapped(msgspec.Struct, frozen=True):
    """A region in this process, and the file that it was then: numbers of descriptors are used again."""

    memory: mmap.mmap
    inode: int


class MappedRegions:
    """The regions of gateways as a replica sees them: mapped once, until their owner has dropped them or is gone. Those
    of inputs are read-only."""

    def __init__(self) -> None:
        self._maps: dict[tuple[str, bool], _Mapped] = {}

    def view(self, placed: Placed) -> memoryview:
        """The bytes of a placed tensor; raises `InvalidInput` for a region that is not there or too small."""
        return self._bytes(placed, writable=False)

    def write(self, placed: Placed, tensor: np.ndarray) -> Placed | None:
        """Copies `tensor` to where an answer is wanted, in row-major order, and tells where it lies; None where it does
        not fit or the region is gone."""
        if tensor.nbytes > placed.size or tensor.dtype == np.object_:
            return None
        try:
            _copy(tensor, self._bytes(placed, writable=True))
        except InvalidInput:
            return None
        return Placed(placed.region, placed.offset, tensor.nbytes)

    def _bytes(self, placed: Placed, *, writable: bool) -> memoryview:
        mapped = self._maps.get((placed.region, writable))
        if mapped is None:
            self._forget_orphans()
            mapped = self._maps[placed.region, writable] = _map(placed.region, writable)
        memory = mapped.memory
        if placed.offset < 0 or placed.size < 0 or placed.offset + placed.size > len(memory):
            raise InvalidInput(f"shared region {placed.region!r} has {len(memory)} bytes, less than the message says")
        return memoryview(memory)[placed.offset : placed.offset + placed.size]

    def _forget_orphans(self) -> None:
        # Dropping the reference is enough: the mapping ends with the last tensor that looks into it.
        for key in [key for key, mapped in self._maps.items() if _inode(key[0]) != mapped.inode]:
            del self._maps[key]


def _copy(tensor: np.ndarray, memory: mmap.mmap | memoryview) -> None:
    np.frombuffer(memory, dtype=tensor.dtype, count=tensor.size).reshape(tensor.shape)[...] = tensor


def _inode(name: str) -> int | None:
    pid, fd, *_ = _parts(name)
    try:
        return os.stat(f"/proc/{pid}/fd/{fd}").st_ino
    except OSError:
        return None


def _map(name: str, writable: bool) -> _Mapped:
    pid, fd, serial, size = _parts(name)
    try:
        with open(f"/proc/{pid}/fd/{fd}", "r+b" if writable else "rb") as region:
            status = os.fstat(region.fileno())
            # A region that was dropped may have left its descriptor's number to another.
            file = os.readlink(f"/proc/self/fd/{region.fileno()}")
            if status.st_size != size or file != f"/memfd:{_FILE}{serial} (deleted)":
                raise InvalidInput(f"shared region {name!r} is another one now")
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
            return _Mapped(mmap.mmap(region.fileno(), size, prot=protection), status.st_ino)
    except OSError as error:
        raise InvalidInput(f"shared region {name!r} can't be mapped: {error.strerror}") from error


def _parts(name: str) -> tuple[int, int, int, int]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidInput(f"{name[:60]!r} is no name of a shared region")
    pid, fd, serial, size = (int(part) for part in found.groups())
    return pid, fd, serial, size
