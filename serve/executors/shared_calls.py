"""The large tensors of calls to replicas of the same node, in shared memory both ways.

How large an answer will be is told by the one before: a call lends regions for as many bytes a row. Where an answer
does not fit after all, or the first time, it comes in the message.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from serve.inference import Tensors
from serve.shared_memory import SHARED_FROM_BYTES, Block, LentRegions, Placed, RegionPool, block_of


class SharedCall:
    """What one call has in shared memory: `placed` are its inputs, `wanted` its outputs with the room that was lent to
    them, if any was. Inputs that lie in a region already stay there. What no region can be made for travels in the
    message."""

    def __init__(self, pool: RegionPool, inputs: Tensors, expected: dict[str, int]) -> None:
        self._blocks: list[Block] = []
        self._outputs: dict[str, Block] = {}
        self.placed: dict[str, Placed] = {}
        self.wanted: dict[str, Placed | None] = {}
        for name, tensor in inputs.items():
            if tensor.nbytes >= SHARED_FROM_BYTES and tensor.dtype != np.object_:
                with suppress(OSError):
                    self.placed[name] = self._place(pool, tensor)
        for name, size in expected.items():
            self.wanted[name] = None
            if size >= SHARED_FROM_BYTES:
                with suppress(OSError):
                    block = self._outputs[name] = pool.take(size)
                    self.wanted[name] = Placed(block.name, 0, block.size)
        self._blocks += self._outputs.values()

    def _place(self, pool: RegionPool, tensor: np.ndarray) -> Placed:
        block = block_of(tensor)
        if block is None or not tensor.flags.c_contiguous:
            block = pool.take(tensor.nbytes)
            copy = block.tensor(tensor.dtype, tensor.shape)
            copy[...] = tensor
            tensor = copy
        self._blocks.append(block)
        return Placed(block.name, tensor.ctypes.data - block.ctypes.data, tensor.nbytes)

    @property
    def lent(self) -> LentRegions | None:
        """Where answers may lie; None where nothing was lent."""
        return LentRegions(self._outputs) if self._outputs else None

    def end(self, *, answered: bool) -> None:
        """To be called once nothing is expected of the replica any more. Without an answer, given up or refused, the
        replica might still read and write: what it was told of is never used again."""
        for block in self._blocks:
            block.region.spoiled |= not answered
        self._blocks, self._outputs = [], {}


class SharedCalls:
    """The calls of one version: remembers what its answers are like."""

    def __init__(self, pool: RegionPool) -> None:
        self._pool = pool
        self._row_bytes: dict[str | None, dict[str, int]] = {}
        """Signature -> output -> bytes a row, in the order of the outputs; only of signatures with large answers."""

    def begin(self, inputs: Tensors, signature: str | None) -> SharedCall:
        """To be called before a call, and `end` of what it returns after it."""
        known = self._row_bytes.get(signature)
        rows = _rows(inputs)
        return SharedCall(self._pool, inputs, {name: size * rows for name, size in known.items()} if known else {})

    def learn(self, inputs: Tensors, signature: str | None, outputs: Tensors) -> None:
        """To be called with each answer."""
        if any(tensor.nbytes >= SHARED_FROM_BYTES for tensor in outputs.values()):
            rows = _rows(inputs)
            self._row_bytes[signature] = {name: -(-tensor.nbytes // rows) for name, tensor in outputs.items()}


def _rows(inputs: Tensors) -> int:
    first = next(iter(inputs.values()), None)
    return first.shape[0] or 1 if first is not None and first.ndim else 1
