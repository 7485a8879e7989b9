"""One queue a signature of a version: rows of several requests become one batch of the executor, and come apart again.

The queue never waits while the executor has an idle worker, unless `max_delay_ms` asks for it; a batch that is only to
be ready when a worker becomes idle is closed shortly before that, so that it holds what has come until then. The queue
knows tensors and time only: what a worker is, and where the batch runs, is the executor's affair (`serve/executors/`).
Who comes next is `serve/waiting.py`'s.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from contextvars import Context

from model_store.errors import DeadlineExceeded, ModelNotReady, OnegateError, Overloaded
from serve.batches import Batch, BatchLost
from serve.deadlines import DeadlineWatch
from serve.executors.base import Executor
from serve.inference import Tensors
from serve.metrics.buckets import DURATION_BOUNDS_NS
from serve.pace import Pace
from serve.request_record import BATCH, RequestRecord
from serve.routing import Batching
from serve.statistics import VersionStatistics
from serve.waiting import Waiting, WaitingLines, too_late

UNKNOWN_PACE_RETRY_S = 1.0
"""After how long a refused client may come again when nothing has been measured yet."""

AHEAD_S = 0.002
"""How long before the expected end of a batch the next one is handed over: to put eight pictures together and to bring
them to a replica takes about one millisecond."""


class BatchQueue:
    """The batch queue of one signature.

    `mergeable` says that the version was proven row-independent: only then are rows of different requests merged,
    requests larger than `max_batch_size` split, and batches filled up to the next of the preferred sizes, if `fillable`
    too. `ragged` says that dimensions other than the first may differ between requests; those with equal shapes are
    merged. `whole` is the batch of a version that computes only that one: as many whole ones as `max_batch_size` allows
    are put together, so that little is padded. What runs is counted in `statistics`.
    """

    def __init__(
        self,
        executor: Executor,
        batching: Batching,
        statistics: VersionStatistics,
        *,
        mergeable: bool,
        ragged: bool,
        whole: int = 1,
        fillable: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = Context()
        """What batches run in: not in that of whichever request has called for them."""
        self._executor = executor
        self._statistics = statistics
        self._mergeable = mergeable
        self._fillable = mergeable and fillable
        self._whole = whole
        self._waiting = WaitingLines(mergeable=mergeable, ragged=ragged)
        self._pace = Pace()
        self._under_way: set[Batch] = set()
        self._taken_slots = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_scheduled = False
        self._delay_timer: asyncio.TimerHandle | None = None
        self._deadlines = DeadlineWatch(self._loop, self._open_items, self._expire)
        self._idle = asyncio.Event()
        self._idle.set()
        self.on_starved: Callable[[], None] = lambda: None
        """Called whenever requests come to wait for an executor that can run nothing."""
        self.configure(batching)

    def configure(self, batching: Batching) -> None:
        """Takes over new limits for what comes from now on."""
        self._max_batch_size = max(batching.max_batch_size // self._whole, 1) * self._whole
        self._max_delay_s = batching.max_delay_ms / 1000
        self._max_queue = batching.max_queue
        self._rows_at_once = self._max_batch_size if self._mergeable else 1
        sizes = sorted(size for size in batching.preferred if size <= self._max_batch_size)
        self._preferred = tuple(sizes) if self._fillable else ()

    def replace_executor(self, executor: Executor) -> None:
        """Later batches run in `executor`; those under way end where they are."""
        self._executor = executor
        for batch in self._under_way:
            batch.in_slot = False
        self._taken_slots = 0
        self._pace = Pace()
        self.wake()

    @property
    def waiting_rows(self) -> int:
        """Rows that no batch has taken yet."""
        return self._waiting.rows

    @property
    def rows(self) -> int:
        """Rows that wait or run."""
        return self._waiting.rows + sum(batch.rows for batch in self._under_way)

    @property
    def asked_rows(self) -> int:
        """Those of them that somebody waits for."""
        running = (item for batch in self._under_way for item in batch.items)
        return sum(item.rows for items in (self._waiting, running) for item in items if not item.is_background)

    @property
    def has_slots(self) -> bool:
        """Whether the executor can run anything."""
        return self._executor.slots > 0

    @property
    def crowded(self) -> bool:
        """Whether half of the rows wait that may: what nobody waits for is not to take the rest."""
        return 2 * self._waiting.rows >= self._max_queue

    async def run(
        self, inputs: Tensors, rows: int, deadline: float, priority: int = 0, record: RequestRecord | None = None
    ) -> Tensors:
        """The outputs for `inputs`, whose first dimension has `rows` rows (1 where there is no batch dimension).

        `priority` 1 goes before 2, and so on; 0 comes last, and `BACKGROUND` behind it. Raises `Overloaded` when
        `max_queue` rows wait already or the turn would come after `deadline` (event loop time), `DeadlineExceeded` when
        `deadline` passes before the answer, and what the executor raises. `record` is told when it waits and runs.
        """
        now = self._loop.time()
        if self._waiting.rows + rows > self._max_queue and self._waiting.rows:
            self._make_room(now)
            if self._waiting.rows + rows > self._max_queue and self._waiting.rows:
                raise self._full(rows)
        if self._taken_slots and not self._executor.idle:
            self._refuse_in_vain(deadline, priority, now)
        waiting = self._waiting
        line = waiting.line_for(inputs, priority)
        if record is not None:
            record.queued_ns = time.perf_counter_ns()
        item = Waiting(inputs, rows, deadline, now, now, self._loop.create_future(), line, record)
        waiting.append(item, self._max_batch_size)
        self._deadlines.note(deadline)
        if not self._flush_scheduled:
            self._schedule_flush()
        try:
            return await item.future
        except BaseException:
            # A client that has gone, or a large request that failed in one part, leaves nothing behind.
            self._waiting.discard(item)
            self._note_idle()
            # The future holds the error, the error this frame: the tensors would stay until the collector comes.
            del item
            raise

    def wake(self) -> None:
        """To be called when the executor has got slots it did not have before."""
        self._schedule_flush()

    def give_up(self, running: OnegateError, waiting: OnegateError) -> None:
        """Answers the batch that has run for longest with `running` and all other requests with `waiting`. A batch that
        runs has its slot until it ends."""
        oldest = min(self._under_way, key=_began, default=None)
        for item in oldest.items if oldest is not None else ():
            item.fail(running)
        for item in self._open_items():
            self._waiting.discard(item)
            item.fail(waiting)
        self._note_idle()

    async def drain(self) -> None:
        """Returns when nothing waits and nothing runs."""
        while self._waiting.lines or self._under_way:
            self._idle.clear()
            await self._idle.wait()

    async def settled(self) -> None:
        """Returns when the batches that run now have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- in ------------------------------------------------------------------------------------------------------

    def _make_room(self, now: float) -> None:
        """Hands over what is held behind a running batch: nobody is refused for it."""
        if self._taken_slots and self._taken_slots < self._executor.slots:
            items = self._waiting.take(self._max_batch_size, now)
            if items:
                self._context.run(self._start, Batch(items, now))

    def _full(self, rows: int) -> Overloaded:
        waiting = self._waiting.rows
        too_many = max(waiting + rows - self._max_queue, 1)
        wait_s = self._pace.time_for(too_many, self._rows_at_once) or UNKNOWN_PACE_RETRY_S
        return Overloaded(
            f"{waiting} rows wait already and at most {self._max_queue} may; try again later",
            waiting=waiting,
            retry_after_s=wait_s,
        )

    def _refuse_in_vain(self, deadline: float, priority: int, now: float) -> None:
        """Raises when the request would only wait for its deadline: the client can use the time better."""
        running = sum(batch.rows for batch in self._under_way if batch.in_slot)
        ahead = running + self._waiting.rows_ahead(priority)
        wait_s = self._pace.until_start(ahead, self._rows_at_once, now)
        late_s = now + wait_s - deadline
        if wait_s > 0 and late_s > 0 and deadline > now:
            raise Overloaded(
                f"the model is busy for about {wait_s:.3g} s, longer than the request may wait; try again later",
                waiting=self._waiting.rows,
                retry_after_s=late_s,
            )

    def fail_waiting(self, error: Exception) -> None:
        """Answers all that waits with `error`: the executor that it waits for can't be had."""
        for item in list(self._waiting):
            self._waiting.discard(item)
            item.fail(error)
        self._note_idle()

    def _note_idle(self) -> None:
        if not self._under_way and not self._waiting.lines:
            self._idle.set()

    # -- out -----------------------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        # One turn of the loop later, so that all requests that arrived in this turn share the batch.
        if not self._flush_scheduled and self._waiting.lines:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush, context=self._context)

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._waiting.lines and self._taken_slots < self._executor.slots:
            now = self._loop.time()
            if (wait_s := self._still_to_wait(now)) > 0:
                self._delay(now + wait_s)
                break
            items = self._waiting.take(self._max_batch_size, now)
            if items and self._start(Batch(items, now)):
                # It ran on the loop: let the sockets, and other models, have their turn before the next one.
                self._schedule_flush()
                break
        if self._waiting.lines or self._under_way:
            self._deadlines.keep()
            if not self._taken_slots and not self._executor.slots and self._waiting.lines:
                self.on_starved()
        else:
            self._idle.set()

    def _still_to_wait(self, now: float) -> float:
        if not self._mergeable or self._waiting.rows >= self._max_batch_size:
            return 0.0
        wait_s = self._waiting.oldest_s() + self._max_delay_s - now if self._max_delay_s else 0.0
        if self._taken_slots and not self._executor.idle:
            rows = min(batch.rows for batch in self._under_way if batch.in_slot)
            wait_s = max(wait_s, self._pace.until_start(rows, self._rows_at_once, now) - AHEAD_S)
        return wait_s

    def _delay(self, due: float) -> None:
        if self._delay_timer is not None:
            if self._delay_timer.when() <= due:
                return
            self._delay_timer.cancel()
        self._delay_timer = self._loop.call_at(due, self._delay_over)

    def _delay_over(self) -> None:
        self._delay_timer = None
        self._schedule_flush()

    def _start(self, batch: Batch) -> bool:
        """Runs a batch; whether it is over already."""
        BATCH.set(batch.record)
        try:
            inputs = batch.inputs(self._preferred, self._executor.join)
            outcome = self._run(inputs, batch)
            if isinstance(outcome, dict):
                self._count(batch)
                batch.share_out(outcome)
                return True
        except Exception as error:
            self._settle_failure(batch, error)
            return True
        self._take_slot(batch)
        task = self._loop.create_task(self._await_outcome(batch, outcome))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    def _run(self, inputs: Tensors, batch: Batch) -> Tensors | Awaitable[Tensors]:
        if batch.apart:
            return self._executor.run(inputs, batch.deadline, apart=True)
        return self._executor.run(inputs, batch.deadline)

    def _take_slot(self, batch: Batch) -> None:
        if not self._taken_slots:
            self._pace.begin(batch.began)
        self._taken_slots += 1
        self._under_way.add(batch)

    async def _await_outcome(self, batch: Batch, outcome: Awaitable[Tensors]) -> None:
        try:
            outputs = await outcome
            self._count(batch)
            if batch.in_slot:
                self._pace.end(batch.rows, self._loop.time())
            batch.share_out(outputs)
        except Exception as error:
            if batch.in_slot:
                self._pace.begin(self._loop.time())
            self._settle_failure(batch, error)
            # As in `run`: a future that failed holds the error.
            del outcome
        finally:
            self._under_way.discard(batch)
            self._taken_slots -= batch.in_slot
            self._note_idle()
            self._schedule_flush()

    def _count(self, batch: Batch) -> None:
        record = batch.record
        record.ended_ns = time.perf_counter_ns()
        began_ns, items, queue = record.began_ns, batch.items, self._statistics.queue
        counts, waited_ns = queue.counts, 0
        # As `Durations.add`: a call for each request would take longer than what it does.
        for item in items:
            if not item.start:
                noted = item.record
                ns = began_ns - noted.queued_ns if noted is not None else round((batch.began - item.since) * 1e9)
                counts[bisect_left(DURATION_BOUNDS_NS, ns)] += 1
                waited_ns += ns
        queue.ns += waited_ns
        # The most urgent one comes first.
        used = not items[0].is_background
        self._statistics.count_batch(batch.rows, record.ended_ns - began_ns, self._max_batch_size, used=used)

    def _settle_failure(self, batch: Batch, error: Exception) -> None:
        """Takes the batch apart: the error's frames hold it, and each of its futures an error."""
        batch.record.ended_ns = batch.record.ended_ns or time.perf_counter_ns()
        items = batch.items
        if isinstance(error, BatchLost):
            # One of them may be what kills them: the others are to be answered.
            while items:
                if not (item := items.pop(0)).future.done():
                    self._start(Batch([item], self._loop.time(), apart=True))
        if len(items) > 1 and not isinstance(error, ModelNotReady | Overloaded | DeadlineExceeded):
            # One request's values may have failed the whole batch; each gets its own answer.
            while items:
                self._start(Batch([items.pop(0)], self._loop.time()))
        while items:
            items.pop().fail(error)

    def _open_items(self) -> list[Waiting]:
        running = [item for batch in self._under_way for item in batch.items if not item.future.done()]
        return [*self._waiting, *running]

    def _expire(self, item: Waiting) -> None:
        self._waiting.discard(item)
        item.fail(too_late())
        self._note_idle()


def _began(batch: Batch) -> float:
    return batch.began
