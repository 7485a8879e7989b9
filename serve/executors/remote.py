"""Batches that run elsewhere: in model replicas, or on upstream servers. What both share.

Inference is idempotent, so a batch whose server is lost goes to another one, or waits within its deadline while the
only one restarts. What takes its servers with it is not tried for ever. How a server is called is left to the
executors that derive from this.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from model_store.errors import DeadlineExceeded, InternalError, OnegateError, OutOfMemory
from serve.executors.breaker import CircuitBreaker
from serve.executors.hedging import Attempt, first_outcome, hedge_budget
from serve.executors.hops import hop_to, note_failed_hop
from serve.executors.remote_client import RemoteClient, ServerGone
from serve.executors.retrying import Retries
from serve.inference import Tensors
from serve.request_record import BATCH
from serve.routing import VersionKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger("onegate")

RETRY_PAUSE_S = 0.02
"""Before the next attempt when the only server has just failed: a replica is listed until its heartbeats stop."""

PATIENCE_S = 1.0
"""A server that does not answer for this long, when it was given so much, is as one that answers an error."""


ClientT = TypeVar("ClientT", bound=RemoteClient)


class RemoteExecutor(ABC, Generic[ClientT]):
    """The executor of one version that runs on servers, each with at most `batches_each` batches at once. `called` is
    what messages call a server, and several, as ('replica', 'replicas')."""

    def __init__(self, key: VersionKey, called: tuple[str, str], batches_each: int) -> None:
        self._key = key
        self._server = called[0]
        self._batches_each = batches_each
        self.on_slots: Callable[[], None] = lambda: None
        """Called when slots were added."""
        self.slots = 0
        """Batches that servers take at once; 0 while none is known to answer."""
        self.hedge_s: float | None = None
        """A batch that has no answer after this long goes to a second server too; None is never."""
        self.budget = hedge_budget()
        loop = self._loop = asyncio.get_running_loop()
        self.retries = Retries(key, called[1], loop.time)
        self.breaker = CircuitBreaker(loop.time)
        self._clients: dict[str, ClientT] = {}
        self._usable: list[ClientT] = []
        self._near: list[ClientT] = []
        """Those of this node where there are some, else all that are usable."""
        self._changed = asyncio.Event()
        self._one_apart = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def _call(self, client: ClientT, inputs: Tensors, timeout_s: float, signature: str | None) -> Tensors:
        """The server's answer; raises its error, `DeadlineExceeded` without an answer in time, and `ServerGone`."""

    @abstractmethod
    async def reconnect(self) -> None:
        """Asks the servers that are not in use whether they answer; to be called every second or so."""

    @property
    def away_s(self) -> float:
        """For how long none of the servers has answered that did before, where nobody else watches over them."""
        return 0.0

    @property
    def idle(self) -> bool:
        """Whether one of the servers that batches go to has none of this gateway's."""
        return any(not client.in_flight for client in self._near)

    async def run(
        self, inputs: Tensors, deadline: float, signature: str | None = None, *, apart: bool = False
    ) -> Tensors:
        """The outputs of one batch, or, `apart`, of one request whose batch was lost: on a server that runs nothing
        else of this gateway meanwhile, and no second time.

        Raises `DeadlineExceeded`, the error that the server answered with, and as `Retries.require_another`.
        """
        self.retries.budget.note_batch()
        lost: list[str] = []
        while True:
            remaining_s = deadline - self._loop.time()
            if remaining_s <= 0:
                raise DeadlineExceeded(f"no {self._server} of {self._key[0]!r} answered before the deadline")
            if not self._near and not apart:
                await self._until_changed(remaining_s)
                continue
            if apart:
                outputs = await self._apart(inputs, deadline, signature, lost)
            else:
                hedged = self.hedge_s is not None and len(self._usable) > 1
                attempt = self._hedged if hedged else self._attempt
                outputs = await attempt(self._pick(), inputs, deadline, signature, lost)
            if outputs is not None:
                return outputs
            if lost:
                self.retries.require_another(lost, apart=apart)
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _apart(self, inputs: Tensors, deadline: float, signature: str | None, lost: list[str]) -> Tensors | None:
        """One attempt after the other, each with a server for itself. None also when there was none in time."""
        async with self._until(deadline), self._one_apart:
            while not self._near:
                await self._until_changed(deadline - self._loop.time())
            client = min(self._near, key=_load)
            client.reserved = True
            self._count_usable()
            try:
                await client.until_idle()
                return await self._attempt(client, inputs, deadline, signature, lost)
            finally:
                client.reserved = False
                self._note_slots()
        return None

    @asynccontextmanager
    async def _until(self, deadline: float) -> AsyncIterator[None]:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                yield

    async def _attempt(
        self, client: ClientT, inputs: Tensors, deadline: float, signature: str | None, lost: list[str]
    ) -> Tensors | None:
        """The outputs, or None when the server is gone and the batch may be tried again."""
        client.begin()
        try:
            return await self._outcome(client, inputs, deadline, signature, lost)
        finally:
            client.end()

    async def _hedged(
        self, client: ClientT, inputs: Tensors, deadline: float, signature: str | None, lost: list[str]
    ) -> Tensors | None:
        """As `_attempt`, with a second server that has a slot from `hedge_s` on, as far as the budget allows it."""

        def attempt(chosen: ClientT) -> Attempt:
            # Counted before the task has begun: batches of the same turn of the loop choose by it.
            chosen.begin()
            task = self._loop.create_task(self._outcome(chosen, inputs, deadline, signature, lost))
            task.add_done_callback(lambda _: chosen.end())
            return task

        def second() -> Attempt | None:
            others = [other for other in self._usable if other is not client and not other.reserved]
            if not self.breaker.quiet:
                others = [o for o in others if not self.breaker.is_out(o.id) and not self.breaker.is_on_probe(o.id)]
            free = [other for other in others if other.in_flight < self._batches_each]
            return attempt(min(free, key=_load)) if free and self.budget.take() else None

        self.budget.note_batch()
        assert self.hedge_s is not None
        return await first_outcome(attempt(client), second, self.hedge_s)

    async def _outcome(
        self, client: ClientT, inputs: Tensors, deadline: float, signature: str | None, lost: list[str]
    ) -> Tensors | None:
        batch = BATCH.get()
        if batch is None or not batch.traced:
            return await self._answer_of(client, inputs, deadline, signature, lost)
        with hop_to(client.id, batch):
            return await self._answer_of(client, inputs, deadline, signature, lost)

    async def _answer_of(
        self, client: ClientT, inputs: Tensors, deadline: float, signature: str | None, lost: list[str]
    ) -> Tensors | None:
        timeout_s = deadline - self._loop.time()
        probing = not self.breaker.quiet and self.breaker.is_on_probe(client.id)
        try:
            outputs = await self._call(client, inputs, timeout_s, signature)
        except ServerGone as error:
            note_failed_hop(ServerGone.__name__)
            if error.begun:
                lost.append(client.id)
            self._note_failure(client, error)
            return None
        except OnegateError as error:
            if not self._note_error(client, error, timeout_s) or not probing:
                raise
            note_failed_hop(type(error).__name__)
            # Sent there to see whether it answers again: others do.
            return None
        if self.breaker.note_answer(client.id):
            log.warning("%s %s of %s answers again", self._server, client.id, self._key)
            self._note_slots()
        return outputs

    def _note_error(self, client: ClientT, error: OnegateError, timeout_s: float) -> bool:
        """Whether the error is the server's own, and not its caller's; counted if so."""
        silent = isinstance(error, DeadlineExceeded) and timeout_s >= PATIENCE_S
        if not silent and not isinstance(error, InternalError | OutOfMemory):
            return False
        if self.breaker.note_error(client.id, len(self._usable)):
            log.warning("%s %s of %s is left out: %s", self._server, client.id, self._key, error.message)
            self._count_usable()
        return True

    def _pick(self) -> ClientT:
        """One that is idle, or the less busy of two picked at random."""
        near = self._near
        if len(near) == 1:
            return near[0]
        if not self.breaker.quiet:
            near = self._without_busy_probes(near)
        idle = [client for client in near if not client.in_flight]
        return random.choice(idle) if idle else min(random.sample(near, min(2, len(near))), key=_load)

    def _without_busy_probes(self, near: list[ClientT]) -> list[ClientT]:
        return [client for client in near if not client.in_flight or not self.breaker.is_on_probe(client.id)] or near

    def _count_usable(self) -> None:
        self._usable = [client for client in self._clients.values() if not client.failed]
        free = [client for client in self._usable if not client.reserved]
        if not self.breaker.quiet:
            free = [client for client in free if not self.breaker.is_out(client.id)] or free
        self._near = [client for client in free if client.same_node] or free
        self.slots = self._batches_each * len(free)
        self.retries.note_slots(self._batches_each * len(self._clients))

    def _note_slots(self) -> None:
        self._count_usable()
        self._changed.set()
        self.on_slots()

    async def _until_changed(self, wait_s: float) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), wait_s)

    def _note_failure(self, client: ClientT, error: ServerGone) -> None:
        if not client.failed:
            log.warning("%s %s of %s is gone: %s", self._server, client.id, self._key, error)
        client.failed = True
        self._count_usable()

    def _retire(self, clients: Iterable[ClientT]) -> None:
        for client in clients:
            self.breaker.forget(client.id)
            task = self._loop.create_task(client.close_when_idle())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends all connections; to be called when nothing runs any more."""
        clients, self._clients = list(self._clients.values()), {}
        self._count_usable()
        for client in clients:
            client.close()
        await asyncio.gather(*self._closing)


def _load(client: RemoteClient) -> int:
    return client.in_flight
