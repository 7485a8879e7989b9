"""Answers of one version, kept for inputs that come again: off by default, bounded in bytes, least recently used first.

A cache belongs to one version, so that nothing crosses a version. Equal requests that are under way at once each run:
to let one wait for the other would tie it to that one's deadline and client, and those that come together share a
batch anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

import numpy as np

from serve.inference import Tensors

THREAD_FROM_BYTES = 256 * 1024
"""Inputs of this size and more are digested in a thread: they would hold the loop up for more than 0.3 ms."""

ENTRY_BYTES = 512
"""What an entry takes beside its arrays' own data: key, dict, and about 100 bytes an array."""

_ELEMENT_BYTES = 41
"""What a `bytes` object takes beside its content, the reference to it included."""


class ResponseCache:
    """At most `max_bytes` bytes of answers, keys counted too."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._entries: OrderedDict[bytes, tuple[Tensors, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Tensors | None:
        """The answer, read-only, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, outputs: Tensors) -> None:
        """Keeps a copy of an answer, unless it alone is larger than the cache; what was not used longest goes."""
        size = len(key) + ENTRY_BYTES + sum(_size_bytes(tensor) for tensor in outputs.values())
        if size > self.max_bytes:
            return
        self._drop(key)
        while self.used_bytes + size > self.max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = ({name: _kept(tensor) for name, tensor in outputs.items()}, size)
        self.used_bytes += size

    def _drop(self, key: bytes) -> None:
        if entry := self._entries.pop(key, None):
            self.used_bytes -= entry[1]


async def request_key(signature: str, inputs: Tensors) -> bytes:
    """As `digest`, off the event loop where the inputs are large."""
    if sum(_size_bytes(tensor) for tensor in inputs.values()) < THREAD_FROM_BYTES:
        return digest(signature, inputs)
    return await asyncio.to_thread(digest, signature, inputs)


def digest(signature: str, inputs: Tensors) -> bytes:
    """BLAKE2b of signature, names, dtypes, shapes and values, every part of variable length behind its length."""
    hashed = hashlib.blake2b(digest_size=32)
    hashed.update(_prefixed(signature.encode()))
    for name in sorted(inputs):
        tensor = inputs[name]
        hashed.update(_prefixed(f"{name}\0{tensor.dtype.str}\0{tensor.shape}".encode()))
        if tensor.dtype == np.object_:
            for element in tensor.ravel():
                hashed.update(_prefixed(element))
        elif tensor.size:
            hashed.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return hashed.digest()


def _prefixed(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


def _size_bytes(tensor: np.ndarray) -> int:
    if tensor.dtype != np.object_:
        return int(tensor.nbytes)
    return sum(len(element) + _ELEMENT_BYTES for element in tensor.ravel())


def _kept(tensor: np.ndarray) -> np.ndarray:
    # A row of a batch is a view that would keep the whole batch; and nobody may write into what others are given.
    copy = np.array(tensor, order="C")
    copy.flags.writeable = False
    return copy
