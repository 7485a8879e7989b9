"""Copies of answered calls for versions that answer nobody, and what they say to them.

A copy is made when its call's answer is on its way, waits behind all calls, and is given up rather than that anything
is held up: the gateway keeps few of them, and none for a version that is busy.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np

from model_store.errors import Overloaded
from serve.errors import kind_of
from serve.inference import Tensors
from serve.lanes import Lane, LoadedVersion
from serve.payloads import from_tensors
from serve.rollouts.comparison import Comparison
from serve.routing import VersionKey
from serve.waiting import BACKGROUND

AT_ONCE = 16
"""Copies for one version that may be under way."""

AFTER_S = 0.002
"""From the answer to its copy. A client on the same core has read it by then: a copy at once would keep that waiting,
by 0.05 ms on a busy machine with two cores."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""What copies may keep in memory, inputs and answers, over all versions of a gateway."""

THREAD_FROM_BYTES = 256 * 1024
"""Answers of this size and more are compared in a thread: it would hold the loop up for more than a millisecond."""

SERVER_ERROR = 500
"""Bodies that answer with this status or a higher one are failures."""


class Copy(msgspec.Struct, eq=False):
    """An answered call. Its tensors are those of the call: nobody writes into them any more, and as long as they are
    referred to, their memory is nobody else's (`serve/shared_memory.py`)."""

    signature: str | None
    inputs: Tensors
    outputs: Tensors
    ns: int
    held_bytes: int


class Shadowing:
    """The copies of one gateway."""

    def __init__(self, loaded: Mapping[VersionKey, LoadedVersion]) -> None:
        self._loaded = loaded
        self._loop = asyncio.get_running_loop()
        self._under_way: Counter[VersionKey] = Counter()
        self._held_bytes = 0
        self._thread = asyncio.Lock()
        """One at a time: what is compared takes several times its memory."""
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(
        self, key: VersionKey, signature: str | None, inputs: Tensors, outputs: Tensors, ns: int, told: Comparison
    ) -> None:
        """Makes a copy for version `key` of a call that was answered with `outputs` after `ns`, unless there are many;
        `told` is told what comes of it."""
        held_bytes = _held_bytes(inputs) + _held_bytes(outputs)
        if self._under_way[key] >= AT_ONCE or self._held_bytes + held_bytes > MAX_HELD_BYTES:
            told.dropped += 1
            return
        # What room there was for answers is not this version's.
        copy = Copy(signature, dict(inputs), outputs, ns, held_bytes)
        self._under_way[key] += 1
        self._held_bytes += held_bytes
        self._loop.call_later(AFTER_S, self._begin, key, copy, told)

    @property
    def under_way(self) -> int:
        """Copies that are not compared yet."""
        return self._under_way.total()

    async def settled(self) -> None:
        """Returns when no copy is under way."""
        # Those that were answered in this turn are noted in the next one.
        await asyncio.sleep(0)
        while self.under_way:
            await asyncio.sleep(AFTER_S)
            await asyncio.gather(*self._tasks)

    def _begin(self, key: VersionKey, copy: Copy, told: Comparison) -> None:
        task = self._loop.create_task(self._run(key, copy, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: VersionKey, copy: Copy, told: Comparison) -> None:
        try:
            version = self._loaded.get(key)
            if version is None:
                raise Overloaded("it is not loaded here yet")
            lane = version.lane(copy.signature)
            outputs, ns = await self._infer(lane, copy, version.deadline_s)
            if await self._compare(lane, copy, outputs, told):
                told.count_latencies(copy.ns, ns)
        except Overloaded:
            told.dropped += 1
        except Exception as error:
            told.count_failure(kind_of(error))
        finally:
            self._held_bytes -= copy.held_bytes
            self._under_way[key] -= 1

    async def _infer(self, lane: Lane, copy: Copy, deadline_s: float) -> tuple[Tensors, int]:
        rows = lane.check.rows(copy.inputs)
        if not lane.queue.has_slots:
            # It would be loaded, or get a replica, for what nobody asked.
            raise Overloaded("it can run nothing now")
        if lane.queue.crowded:
            raise Overloaded("it has enough to do")
        begin_ns = time.perf_counter_ns()
        outputs = await lane.queue.run(copy.inputs, rows, self._loop.time() + deadline_s, BACKGROUND)
        return outputs, time.perf_counter_ns() - begin_ns

    async def _compare(self, lane: Lane, copy: Copy, outputs: Tensors, told: Comparison) -> bool:
        """Whether there was an answer to compare."""
        if lane.answers_payloads:
            if (status := _worst_status(outputs)) >= SERVER_ERROR:
                told.count_failure(f"status {status}")
                return False
            told.add_bodies(copy.outputs, outputs)
        elif sum(tensor.nbytes for tensor in copy.outputs.values()) < THREAD_FROM_BYTES:
            told.add(copy.outputs, outputs)
        else:
            # Of its own, so that nobody reads it while the thread writes.
            part = Comparison(told.since_ms)
            async with self._thread:
                await asyncio.to_thread(part.add, copy.outputs, outputs)
            told.merge(part)
        return True


def _worst_status(outputs: Tensors) -> int:
    """Of the rows of a raw answer; raises the error that one carries."""
    rows = range(len(outputs["status"]))
    return max(from_tensors({name: tensor[i : i + 1] for name, tensor in outputs.items()}).status for i in rows)


def _held_bytes(tensors: Tensors) -> int:
    """What stays in memory with them: of a view, all that it looks into."""
    return sum(map(_whole_bytes, tensors.values()))


def _whole_bytes(tensor: np.ndarray) -> int:
    if tensor.dtype == np.object_:
        return sum(map(len, tensor.ravel()))
    while isinstance(tensor.base, np.ndarray):
        tensor = tensor.base
    looked_into = tensor.base
    return looked_into.nbytes if isinstance(looked_into, memoryview) else int(tensor.nbytes)
