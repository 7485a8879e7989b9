"""The runtime in this process: on the event loop when a batch is shorter than a thread hop, in a thread otherwise.

Gateways use it for versions without replicas, and a model replica uses it behind its front door.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from model_store.datatypes import DTYPES
from model_store.manifest import PAYLOAD, Manifest, Signature
from serve.batches import Join
from serve.inference import Tensors
from serve.request_record import BATCH, BatchRecord
from serve.runtimes.base import Runtime, may_loop
from serve.waiting import too_late

log = logging.getLogger("onegate")

LOOP_LIMIT_MS = 0.5
"""The longest batch that runs on the loop. A hop to a thread and back costs 0.05 to 0.15 ms of a busy loop, and while
it lasts nothing else is decoded."""


class InlineExecutor:
    """One batch at a time in the thread, because the runtime's own threads already use the CPUs it was given; a second
    one is accepted so that it begins as soon as the first ends. Raw bodies never run on the loop: what a picture takes
    to decode depends on the picture."""

    def __init__(self, runtime: Runtime, *, on_loop: bool) -> None:
        self._runtime = runtime
        self._on_loop = on_loop
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="runtime")
        self.slots = 1 if on_loop else 2
        """Batches that it takes at once."""
        self.join: Join = np.concatenate
        self._in_thread = 0
        self._began_s: float | None = None
        self._ended_s = 0.0
        """What the batches took that have ended."""

    def run(
        self, inputs: Tensors, deadline: float, signature: str | None = None, *, apart: bool = False
    ) -> Tensors | Awaitable[Tensors]:
        """The outputs, at once or from the thread, which runs every batch apart from others.

        A batch that runs can't be cut short; one that only gets its turn in the thread after `deadline` raises
        `DeadlineExceeded` without running.
        """
        if self._on_loop and signature != PAYLOAD:
            begin_s = time.monotonic()
            try:
                return self._runtime.run(inputs, signature)
            finally:
                self._ended_s += time.monotonic() - begin_s
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._thread, self._run_in_turn, loop, deadline, inputs, signature, BATCH.get())
        self._in_thread += 1
        running.add_done_callback(self._note_end)
        return running

    @property
    def idle(self) -> bool:
        """Whether the thread has nothing to do."""
        return not self._in_thread

    @property
    def running_s(self) -> float:
        """How long the batch that the thread runs now has been running; 0 where it runs none."""
        began_s = self._began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    @property
    def busy_s(self) -> float:
        """How long batches have been running, all together."""
        return self._ended_s + self.running_s

    def _note_end(self, running: asyncio.Future[Tensors]) -> None:
        self._in_thread -= 1

    def _run_in_turn(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        inputs: Tensors,
        signature: str | None,
        record: BatchRecord | None,
    ) -> Tensors:
        if loop.time() >= deadline:
            raise too_late()
        self._began_s = time.monotonic()
        if record is not None:
            record.run_began_ns = time.perf_counter_ns()
        try:
            return self._runtime.run(inputs, signature)
        finally:
            self._ended_s += self.running_s
            self._began_s = None
            if record is not None:
                record.run_ended_ns = time.perf_counter_ns()

    async def close(self) -> None:
        """Lets the thread go, and what the runtime holds outside of this process; to be called when nothing runs any
        more, or what runs hangs: then all of it stays as it is."""
        if self._began_s is None and (close := getattr(self._runtime, "close", None)):
            await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown(wait=False)


def build_inline_executor(
    runtime: Runtime, manifest: Manifest, max_batch_size: int, preferred: Iterable[int] = ()
) -> InlineExecutor:
    """Warms the runtime up at the batch sizes in use, one row, `preferred` and the largest, and decides, by what it
    measures, where batches run.

    Zeros are no body that a processor or a handler could read: what stands behind the processor is warmed up instead,
    and a handler, which has nothing else, gets its thread.
    """
    sizes = {1, max_batch_size, *(size for size in preferred if size <= max_batch_size)}
    measured = [
        _measure_ms(runtime, zero_inputs(signature, rows), name)
        for name, signature in manifest.signatures.items()
        if name != PAYLOAD
        for rows in (sorted(sizes) if manifest.row_independent else (1,))
    ]
    longest_ms = max(measured, default=float("inf"))
    return InlineExecutor(runtime, on_loop=longest_ms < LOOP_LIMIT_MS and not may_loop(runtime))


def zero_inputs(signature: Signature, rows: int) -> Tensors:
    """Inputs of zeros: `rows` where the first dimension is free, 1 in every other free dimension."""
    return {spec.name: _zeros(spec.shape, spec.datatype, rows) for spec in signature.inputs}


def _zeros(shape: tuple[int, ...], datatype: str, rows: int) -> np.ndarray:
    sizes = [size if size >= 0 else (rows if axis == 0 else 1) for axis, size in enumerate(shape)]
    tensor = np.zeros(sizes, dtype=DTYPES[datatype])
    if datatype == "BYTES":
        tensor[...] = b""
    return tensor


def _measure_ms(runtime: Runtime, inputs: Tensors, signature: str) -> float:
    """The best of a few runs; infinite for a model that refuses zeros, which then never runs on the loop."""
    best = float("inf")
    try:
        for _ in range(10):
            start = time.perf_counter()
            runtime.run(inputs, signature)
            best = min(best, (time.perf_counter() - start) * 1000)
            if best > 10 * LOOP_LIMIT_MS:
                break
    except Exception as error:
        log.info("no warm-up: the model refuses zeros: %s", error)
    return best
