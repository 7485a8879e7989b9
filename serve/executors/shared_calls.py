"""The large tensors of calls to replicas of the same node, in shared memory both ways.

How large an answer will be is told by the one before: a call lends regions for as many bytes a row. Where an answer
does not fit after all, or the first time, it comes in the message.
"""

from __future__ import annotations

import numpy as np

from serve.inference import Tensors
from serve.shared_memory import SHARED_FROM_BYTES, LentRegions, Placed, Region, RegionPool


class SharedCall:
    """What one call has in shared memory: `placed` are its inputs, `wanted` its outputs with the room that was lent to
    them, if any was."""

    def __init__(self, pool: RegionPool, inputs: Tensors, expected: dict[str, int]) -> None:
        self._pool = pool
        self._inputs: list[Region] = []
        self._outputs: dict[str, Region] = {}
        self.placed: dict[str, Placed] = {}
        self.wanted: dict[str, Placed | None] = {}
        for name, tensor in inputs.items():
            if tensor.nbytes >= SHARED_FROM_BYTES and tensor.dtype != np.object_:
                self._inputs.append(region := pool.take(tensor.nbytes))
                region.write(tensor)
                self.placed[name] = Placed(region.name, 0, tensor.nbytes)
        for name, size in expected.items():
            self.wanted[name] = None
            if size >= SHARED_FROM_BYTES:
                region = self._outputs[name] = pool.take(size)
                self.wanted[name] = Placed(region.name, 0, region.size)

    @property
    def lent(self) -> LentRegions | None:
        """Where answers may lie; None where nothing was lent."""
        return LentRegions(self._outputs) if self._outputs else None

    def end(self, outputs: Tensors | None) -> None:
        """Gives back what is not looked into by `outputs`, and the rest after them. Without outputs the call was given
        up: a replica may yet write to what was lent, so that it is never used again."""
        for region in self._inputs:
            self._pool.give_back(region)
        for name, region in self._outputs.items():
            if outputs is None:
                region.drop()
            elif region.holds(outputs[name]):
                self._pool.give_back_after(region, outputs[name])
            else:
                self._pool.give_back(region)


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
