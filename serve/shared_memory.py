"""Large tensors between a gateway and the replicas of its node, without going through a socket.

A gateway owns a pool of memfds; a message names region, offset and size the way the protocol's system-shared-memory
extension does, and the replica maps the region through `/proc/<pid>/fd/<n>`. So nothing outlives a `kill -9`: a memfd
goes with the last process that holds it, and no name is left in `/dev/shm`, which in containers is often too small.

Whoever needs a large array that a replica is to read or write takes it from the pool: bodies are received there,
batches put together, answers written by the replica. A region is handed out again when nothing looks into it any more,
and never after a call that was given up: the replica might read or write there yet.
"""

from __future__ import annotations

import math
import mmap
import os
import re
import time
import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import numpy as np

from model_store.errors import InvalidInput

SHARED_FROM_BYTES = 256 * 1024
"""A smaller tensor travels in the message: a mapping saves less than it costs."""

IDLE_S = 10.0
"""Regions that were not needed for so long are let go."""

MOST_LENT = 128
"""Regions in use at once, beyond which none is taken where other memory will do: each has two file descriptors."""

_FILE = "onegate-region-"
"""What the kernel calls the file of a region, before its serial number."""

_NAME = re.compile(r"onegate-([0-9]+)-([0-9]+)-([0-9]+)-([0-9]+)")


class Region:
    """A block of memory of this process that others can map by `name`. `spoiled` says that some process may still read
    or write there unasked."""

    def __init__(self, serial: int, size: int) -> None:
        self.size = size
        self.spoiled = False
        self._fd = os.memfd_create(f"{_FILE}{serial}", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._fd, size)
            self.memory = mmap.mmap(self._fd, size)
        except BaseException:
            os.close(self._fd)
            raise
        # Descriptor numbers are used again; the serial number tells this region from an earlier one.
        self.name = f"onegate-{os.getpid()}-{self._fd}-{serial}-{size}"

    def drop(self) -> None:
        """Lets the memory go as soon as no tensor and no other process looks into it."""
        os.close(self._fd)


class Block(np.ndarray):
    """A region's memory while it is lent, uint8[size].

    Views are to be made of its `data`: each of those holds the block, while a view of an array holds only that which
    has the memory.
    """

    region: Region

    @property
    def name(self) -> str:
        """The region's."""
        return self.region.name

    def tensor(self, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
        """The begin of the block as a tensor."""
        return np.frombuffer(self.data, dtype, math.prod(shape)).reshape(shape)


class RegionPool:
    """The regions of a gateway, by size class (powers of two). They are given back by themselves, from any thread."""

    def __init__(self) -> None:
        self._free: dict[int, list[Region]] = defaultdict(list)
        self._never_needed: dict[int, int] = defaultdict(int)
        """Size class -> the fewest that were free at once since regions were let go last."""
        self._trimmed = time.monotonic()
        self._made = 0
        self._lent: set[Region] = set()

    def take(self, size: int) -> Block:
        """A region of at least `size` bytes, with whatever was written there before; it is the taker's until nothing
        holds the block, or a view of it, any more. Raises `OSError` where none can be made."""
        rounded = max(SHARED_FROM_BYTES, 1 << (size - 1).bit_length())
        free = self._free[rounded]
        if free:
            region = free.pop()
        else:
            region = Region(self._made + 1, rounded)
            self._made += 1
        self._never_needed[rounded] = min(self._never_needed[rounded], len(free))
        block = Block((rounded,), np.uint8, region.memory)
        block.region = region
        self._lent.add(region)
        weakref.finalize(block, self._take_back, region).atexit = False
        return block

    def take_if_few(self, size: int) -> Block | None:
        """As `take`; None where many are lent already, or no more can be made."""
        if len(self._lent) >= MOST_LENT:
            return None
        try:
            return self.take(size)
        except OSError:
            return None

    def join(self, tensors: Sequence[np.ndarray]) -> np.ndarray:
        """`np.concatenate`, in a region where the result is large."""
        first, size = tensors[0], sum(tensor.nbytes for tensor in tensors)
        if size < SHARED_FROM_BYTES or first.dtype == np.object_:
            return np.concatenate(tensors)
        shape = (sum(len(tensor) for tensor in tensors), *first.shape[1:])
        block = self.take_if_few(size)
        return np.concatenate(tensors, out=None if block is None else block.tensor(first.dtype, shape))

    def trim(self) -> None:
        """Lets go what was not needed for `IDLE_S`; to be called every second or so."""
        now = time.monotonic()
        if now - self._trimmed < IDLE_S:
            return
        self._trimmed = now
        for size, free in self._free.items():
            surplus = self._never_needed[size]
            for region in free[:surplus]:
                region.drop()
            del free[:surplus]
            self._never_needed[size] = len(free)

    def _take_back(self, region: Region) -> None:
        self._lent.discard(region)
        if region.spoiled:
            region.drop()
        else:
            self._free[region.size].append(region)


class Placed(msgspec.Struct, frozen=True):
    """Where a tensor lies: in a region, from `offset` on, `size` bytes."""

    region: str
    offset: int
    size: int


def block_of(tensor: np.ndarray) -> Block | None:
    """The block that a tensor looks into, None where it is in none."""
    while isinstance(tensor.base, np.ndarray):
        tensor = tensor.base
    looked_into = tensor.base.obj if isinstance(tensor.base, memoryview) else None
    return looked_into if isinstance(looked_into, Block) else None


class LentRegions:
    """The blocks that a gateway lent to one call for its answers, as they are found in the answer."""

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        self._by_name = {block.name: block for block in blocks.values()}

    def view(self, placed: Placed) -> memoryview:
        """The bytes of a placed tensor; raises `InvalidInput` for a region that was not lent or is too small."""
        block = self._by_name.get(placed.region)
        if block is None or placed.offset or not 0 <= placed.size <= block.size:
            raise InvalidInput(f"{placed.size} bytes at {placed.offset} of {placed.region[:60]!r} were not lent")
        return block.data[: placed.size]


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

    def room(self, wanted: Mapping[str, Placed]) -> dict[str, memoryview]:
        """Where answers may be written at once; those whose region is gone are left out."""
        found = {}
        for name, placed in wanted.items():
            with suppress(InvalidInput):
                found[name] = self._bytes(placed, writable=True)
        return found

    def write(self, placed: Placed, tensor: np.ndarray) -> Placed | None:
        """Copies `tensor`, unless it is there already, to where an answer is wanted, in row-major order, and tells
        where it lies; None where it does not fit or the region is gone."""
        if tensor.nbytes > placed.size or tensor.dtype == np.object_:
            return None
        try:
            memory = self._bytes(placed, writable=True)
        except InvalidInput:
            return None
        target = np.frombuffer(memory, tensor.dtype, tensor.size).reshape(tensor.shape)
        if not (tensor.flags.c_contiguous and tensor.ctypes.data == target.ctypes.data):
            target[...] = tensor
        return Placed(placed.region, placed.offset, tensor.nbytes)

    def forget_dropped(self) -> None:
        """Unmaps what its owner has dropped; to be called every second or so."""
        # Dropping the reference is enough: the mapping ends with the last tensor that looks into it.
        for key in [key for key, mapped in self._maps.items() if _inode(key[0]) != mapped.inode]:
            del self._maps[key]

    def _bytes(self, placed: Placed, *, writable: bool) -> memoryview:
        mapped = self._maps.get((placed.region, writable))
        if mapped is None:
            self.forget_dropped()
            mapped = self._maps[placed.region, writable] = _map(placed.region, writable)
        memory = mapped.memory
        if placed.offset < 0 or placed.size < 0 or placed.offset + placed.size > len(memory):
            raise InvalidInput(f"shared region {placed.region!r} has {len(memory)} bytes, less than the message says")
        return memoryview(memory)[placed.offset : placed.offset + placed.size]


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
