"""One queue a version: rows of several requests become one batch of the executor, and come apart again.

The queue never waits while the executor has a free slot, unless `max_delay_ms` asks for it. It knows tensors and time
only: what a slot is, and where the batch runs, is the executor's affair (`serve/executors/`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable
from typing import Any, Protocol

import numpy as np

from model_store.errors import DeadlineExceeded, ModelNotReady, OnegateError, Overloaded
from serve.inference import Tensors
from serve.routing import Batching


class Executor(Protocol):
    """Runs batches of one version."""

    @property
    def slots(self) -> int:
        """How many batches may run at once; 0 while none can."""

    def run(self, inputs: Tensors, deadline: float) -> Tensors | Awaitable[Tensors]:
        """The outputs of one batch: at once when the batch is shorter than a thread hop, else to be awaited."""


class Waiting:
    """A request, or a part of a large one, that waits for its batch. Its rows are `rows` of every input."""

    __slots__ = ("deadline", "future", "inputs", "rows", "shape_key", "since")

    def __init__(
        self,
        inputs: Tensors,
        rows: int,
        shape_key: Any,
        deadline: float,
        since: float,
        future: asyncio.Future[Tensors],
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.shape_key = shape_key
        self.deadline = deadline
        self.since = since
        self.future = future


class BatchQueue:
    """The batch queue of one version.

    `mergeable` says that the version was proven row-independent: only then are rows of different requests merged, and
    requests larger than `max_batch_size` split. `ragged` says that dimensions other than the first may differ between
    requests; those with equal shapes are merged. `whole` is the batch of a version that computes only that one: as
    many whole ones as `max_batch_size` allows are put together, so that little is padded.
    """

    def __init__(
        self, executor: Executor, batching: Batching, *, mergeable: bool, ragged: bool, whole: int = 1
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = executor
        self._mergeable = mergeable
        self._ragged = ragged
        self._whole = whole
        self._waiting: OrderedDict[Any, deque[Waiting]] = OrderedDict()
        self._waiting_rows = 0
        self._under_way: dict[int, list[Waiting]] = {}
        self._in_slots: set[int] = set()
        """Those batches under way that take slots of the present executor: not what an earlier one still has."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_scheduled = False
        self._delay_timer: asyncio.TimerHandle | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._expiry_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.configure(batching)

    def configure(self, batching: Batching) -> None:
        """Takes over new limits for what comes from now on."""
        self._max_batch_size = max(batching.max_batch_size // self._whole, 1) * self._whole
        self._max_delay_s = batching.max_delay_ms / 1000
        self._max_queue = batching.max_queue

    def replace_executor(self, executor: Executor) -> None:
        """Later batches run in `executor`; those under way end where they are."""
        self._executor = executor
        self._in_slots.clear()
        self.wake()

    @property
    def waiting_rows(self) -> int:
        """Rows that no batch has taken yet."""
        return self._waiting_rows

    @property
    def running_batches(self) -> int:
        """Batches that the executor has now."""
        return len(self._under_way)

    async def run(self, inputs: Tensors, rows: int, deadline: float) -> Tensors:
        """The outputs for `inputs`, whose first dimension has `rows` rows (1 where there is no batch dimension).

        Raises `Overloaded` when `max_queue` rows wait already, `DeadlineExceeded` when `deadline` (event loop time)
        passes before the answer, and what the executor raises.
        """
        if self._waiting_rows + rows > self._max_queue and self._waiting_rows:
            raise Overloaded(
                f"{self._waiting_rows} rows wait already and at most {self._max_queue} may; try again later",
                waiting=self._waiting_rows,
            )
        if rows > self._max_batch_size and self._mergeable:
            return await self._run_in_parts(inputs, rows, deadline)
        return await self._wait_for(self._enqueue(inputs, rows, deadline))

    def wake(self) -> None:
        """To be called when the executor has got slots it did not have before."""
        self._schedule_flush()

    async def drain(self) -> None:
        """Returns when nothing waits and nothing runs."""
        while self._waiting or self._under_way:
            self._idle.clear()
            await self._idle.wait()

    async def settled(self) -> None:
        """Returns when the batches that run now have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- in ------------------------------------------------------------------------------------------------------

    async def _run_in_parts(self, inputs: Tensors, rows: int, deadline: float) -> Tensors:
        size = self._max_batch_size
        parts = [
            self._enqueue(
                {name: tensor[start : start + size] for name, tensor in inputs.items()},
                min(size, rows - start),
                deadline,
            )
            for start in range(0, rows, size)
        ]
        try:
            answers = await asyncio.gather(*(part.future for part in parts))
        except BaseException:
            for part in parts:
                part.future.cancel()
                self._discard(part)
            raise
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    async def _wait_for(self, item: Waiting) -> Tensors:
        try:
            return await item.future
        except asyncio.CancelledError:
            self._discard(item)
            raise

    def _enqueue(self, inputs: Tensors, rows: int, deadline: float) -> Waiting:
        shape_key = self._shape_key(inputs)
        item = Waiting(inputs, rows, shape_key, deadline, self._loop.time(), self._loop.create_future())
        queue = self._waiting.get(shape_key)
        if queue is None:
            queue = self._waiting[shape_key] = deque()
        queue.append(item)
        self._waiting_rows += rows
        if self._expiry_timer is not None and deadline < self._expiry_at:
            self._expiry_timer.cancel()
            self._expiry_timer = None
            self._watch_deadlines()
        self._schedule_flush()
        return item

    def _shape_key(self, inputs: Tensors) -> Any:
        if not self._ragged:
            return None
        return tuple((name, tensor.shape[1:]) for name, tensor in inputs.items())

    def _discard(self, item: Waiting) -> None:
        queue = self._waiting.get(item.shape_key)
        if queue is None or item not in queue:
            return
        queue.remove(item)
        self._forget(item.shape_key, queue, item.rows)

    def _forget(self, shape_key: Any, queue: deque[Waiting], rows: int) -> None:
        self._waiting_rows -= rows
        if not queue:
            self._waiting.pop(shape_key, None)
        self._note_idle()

    def _note_idle(self) -> None:
        if not self._under_way and not self._waiting:
            self._idle.set()

    # -- out -----------------------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        # One turn of the loop later, so that all requests that arrived in this turn share the batch.
        if not self._flush_scheduled and self._waiting:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._waiting and len(self._in_slots) < self._executor.slots:
            wait_s = self._still_to_wait()
            if wait_s > 0:
                self._delay(wait_s)
                break
            batch = self._take()
            if batch and self._start(batch):
                # It ran on the loop: let the sockets have their turn before the next one.
                self._schedule_flush()
                return
        self._watch_deadlines()

    def _still_to_wait(self) -> float:
        if not self._max_delay_s or not self._mergeable or self._waiting_rows >= self._max_batch_size:
            return 0.0
        oldest = min(queue[0].since for queue in self._waiting.values())
        return oldest + self._max_delay_s - self._loop.time()

    def _delay(self, wait_s: float) -> None:
        if self._delay_timer is None:
            self._delay_timer = self._loop.call_later(wait_s, self._delay_over)

    def _delay_over(self) -> None:
        self._delay_timer = None
        self._schedule_flush()

    def _take(self) -> list[Waiting]:
        """The next batch: the oldest request, and what fits beside it."""
        shape_key, queue = (
            min(self._waiting.items(), key=_age) if len(self._waiting) > 1 else next(iter(self._waiting.items()))
        )
        now = self._loop.time()
        batch: list[Waiting] = []
        rows = 0
        while queue and (not batch or (self._mergeable and rows + queue[0].rows <= self._max_batch_size)):
            item = queue.popleft()
            self._forget(shape_key, queue, item.rows)
            if item.future.done():
                continue
            if item.deadline <= now:
                self._fail(item, _too_late())
                continue
            batch.append(item)
            rows += item.rows
        return batch

    def _start(self, batch: list[Waiting]) -> bool:
        """Runs a batch; whether it is over already."""
        try:
            inputs = batch[0].inputs if len(batch) == 1 else _merge(batch)
            outcome = self._executor.run(inputs, max(item.deadline for item in batch))
            if isinstance(outcome, dict):
                self._settle(batch, outcome)
                return True
        except Exception as error:
            self._settle_failure(batch, error)
            return True
        self._under_way[id(batch)] = batch
        self._in_slots.add(id(batch))
        task = self._loop.create_task(self._await_outcome(batch, outcome))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    async def _await_outcome(self, batch: list[Waiting], outcome: Awaitable[Tensors]) -> None:
        try:
            self._settle(batch, await outcome)
        except Exception as error:
            self._settle_failure(batch, error)
        finally:
            del self._under_way[id(batch)]
            self._in_slots.discard(id(batch))
            self._note_idle()
            self._schedule_flush()

    def _settle(self, batch: list[Waiting], outputs: Tensors) -> None:
        if len(batch) == 1:
            if not batch[0].future.done():
                batch[0].future.set_result(outputs)
            return
        start = 0
        for item in batch:
            stop = start + item.rows
            if not item.future.done():
                item.future.set_result({name: tensor[start:stop] for name, tensor in outputs.items()})
            start = stop

    def _settle_failure(self, batch: list[Waiting], error: Exception) -> None:
        if len(batch) > 1 and not isinstance(error, ModelNotReady | Overloaded | DeadlineExceeded):
            # One request's values may have failed the whole batch; each gets its own answer.
            for item in batch:
                self._start([item])
            return
        for item in batch:
            self._fail(item, error)

    def _fail(self, item: Waiting, error: Exception) -> None:
        if not item.future.done():
            item.future.set_exception(error)

    # -- deadlines -----------------------------------------------------------------------------------------------

    def _open_items(self) -> list[Waiting]:
        waiting = [item for queue in self._waiting.values() for item in queue]
        return waiting + [item for batch in self._under_way.values() for item in batch if not item.future.done()]

    def _watch_deadlines(self) -> None:
        # One timer a queue, set only while something is open: a timer a request would cost more than a small model.
        if self._expiry_timer is None and (self._waiting or self._under_way):
            self._expiry_at = min((item.deadline for item in self._open_items()), default=0.0)
            if self._expiry_at:
                self._expiry_timer = self._loop.call_at(self._expiry_at, self._expire)

    def _expire(self) -> None:
        self._expiry_timer = None
        now = self._loop.time()
        for item in self._open_items():
            if item.deadline <= now:
                self._discard(item)
                self._fail(item, _too_late())
        self._watch_deadlines()


def _age(entry: tuple[Any, deque[Waiting]]) -> float:
    return entry[1][0].since


def _merge(batch: list[Waiting]) -> Tensors:
    return {name: np.concatenate([item.inputs[name] for item in batch]) for name in batch[0].inputs}


def _too_late() -> OnegateError:
    return DeadlineExceeded("the deadline passed before the model could answer; allow more time or send less at once")
