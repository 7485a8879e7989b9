"""Model replicas: batches go straight to the Ray Serve replica that has the fewest.

Inference is idempotent, so a batch whose replica dies goes to another one, or waits within its deadline while the only
one restarts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from model_store.errors import DeadlineExceeded
from serve.dialects.open_inference_grpc_repeated import RequestWriter, ResponseReader
from serve.executors.hedging import Attempt, HedgeBudget, first_outcome
from serve.executors.replica_client import ReplicaClient, ReplicaGone
from serve.executors.shared_calls import SharedCalls
from serve.inference import Tensors
from serve.routing import Replica, VersionKey
from serve.shared_memory import RegionPool

log = logging.getLogger("onegate")

BATCHES_PER_REPLICA = 2
"""One that runs and one that is ready when it ends, so that a replica waits for no wire. With four, a net of ResNet-18
size answered 3% fewer requests: the batches are smaller and the calls more."""

RETRY_PAUSE_S = 0.02
"""Before the next attempt when the only replica has just failed: it is listed until its heartbeats stop."""

PROBE_TIMEOUT_S = 2.0


class ReplicasExecutor:
    """The executor of one version with replicas."""

    def __init__(
        self,
        key: VersionKey,
        node: str,
        secret: str,
        pool: RegionPool,
    ) -> None:
        self._key = key
        self._shared = SharedCalls(pool)
        self.join = pool.join
        """Puts the tensors of several requests together, where replicas find them."""
        self._node = node
        self._secret = secret
        self.on_slots: Callable[[], None] = lambda: None
        """Called when slots were added."""
        self.slots = 0
        """Batches that replicas take at once; 0 while none is known to answer."""
        self.hedge_s: float | None = None
        """A batch that has no answer after this long goes to a second replica too; None is never."""
        self.budget = HedgeBudget()
        self._listed: dict[str, Replica] = {}
        self._clients: dict[str, ReplicaClient] = {}
        self._usable: list[ReplicaClient] = []
        self._near: list[ReplicaClient] = []
        """Those of this node where there are some, else all that are usable."""
        self._requests = RequestWriter()
        self._responses = ResponseReader()
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether one of the replicas that batches go to has none of this gateway's."""
        return any(not client.in_flight for client in self._near)

    async def update(self, replicas: Sequence[Replica]) -> None:
        """Takes over the list of replicas: new ones from when they answer; calls to those that left end first."""
        self._listed = {replica.id: replica for replica in replicas}
        for replica_id in self._clients.keys() - self._listed.keys():
            self._retire(self._clients.pop(replica_id))
        self._count_usable()
        await self.reconnect()

    async def reconnect(self) -> None:
        """Asks the listed replicas that are not in use, new ones and failed ones, whether they answer."""
        missing = [replica for replica in self._listed.values() if replica.id not in self._clients]
        failed = [client for client in self._clients.values() if client.failed]
        await asyncio.gather(*map(self._connect, missing), *map(self._revive, failed))

    async def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors:
        """The outputs of one batch.

        Raises `DeadlineExceeded`, or the error that the replica answered with.
        """
        loop = asyncio.get_running_loop()
        while True:
            remaining_s = deadline - loop.time()
            if remaining_s <= 0:
                raise DeadlineExceeded(f"no replica of {self._key[0]!r} answered before the deadline")
            if not self._near:
                await self._until_changed(remaining_s)
                continue
            client = self._pick()
            hedged = self.hedge_s is not None and len(self._usable) > 1
            attempt = self._hedged if hedged else self._attempt
            outputs = await attempt(client, inputs, deadline, signature)
            if outputs is not None:
                return outputs
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _attempt(
        self, client: ReplicaClient, inputs: Tensors, deadline: float, signature: str | None
    ) -> Tensors | None:
        """The outputs, or None when the replica is gone and the batch may be tried again."""
        client.begin()
        try:
            return await self._outcome(client, inputs, deadline, signature)
        finally:
            client.end()

    async def _hedged(
        self, client: ReplicaClient, inputs: Tensors, deadline: float, signature: str | None
    ) -> Tensors | None:
        """As `_attempt`, with a second replica that has a slot from `hedge_s` on, as far as the budget allows it."""

        def attempt(chosen: ReplicaClient) -> Attempt:
            # Counted before the task has begun: batches of the same turn of the loop choose by it.
            chosen.begin()
            task = asyncio.get_running_loop().create_task(self._outcome(chosen, inputs, deadline, signature))
            task.add_done_callback(lambda _: chosen.end())
            return task

        def second() -> Attempt | None:
            free = [other for other in self._usable if other is not client and other.in_flight < BATCHES_PER_REPLICA]
            return attempt(min(free, key=_load)) if free and self.budget.take() else None

        self.budget.note_batch()
        assert self.hedge_s is not None
        return await first_outcome(attempt(client), second, self.hedge_s)

    async def _outcome(
        self, client: ReplicaClient, inputs: Tensors, deadline: float, signature: str | None
    ) -> Tensors | None:
        try:
            return await self._call(client, inputs, deadline - asyncio.get_running_loop().time(), signature)
        except ReplicaGone as error:
            self._note_failure(client, error)
            return None

    async def _call(self, client: ReplicaClient, inputs: Tensors, timeout_s: float, signature: str | None) -> Tensors:
        if not client.same_node:
            message = self._requests.write(*self._key, inputs, signature=signature)
            return self._responses.read(await client.infer(message, timeout_s))
        call = self._shared.begin(inputs, signature)
        answered = False
        try:
            message = self._requests.write(*self._key, inputs, call.placed, signature, call.wanted)
            outputs = self._responses.read(await client.infer(message, timeout_s), call.lent)
            answered = True
        finally:
            call.end(answered=answered)
        self._shared.learn(inputs, signature, outputs)
        return outputs

    async def close(self) -> None:
        """Ends all connections; to be called when nothing runs any more."""
        self._listed = {}
        clients, self._clients = list(self._clients.values()), {}
        self._count_usable()
        for client in clients:
            client.close()
        await asyncio.gather(*self._closing)

    async def _connect(self, replica: Replica) -> None:
        client = ReplicaClient(replica, self._node, self._secret)
        ready = await client.ready(self._key, PROBE_TIMEOUT_S)
        if not ready or replica.id in self._clients or replica.id not in self._listed:
            client.close()
        else:
            self._clients[replica.id] = client
            self._note_slots()

    async def _revive(self, client: ReplicaClient) -> None:
        if await client.ready(self._key, PROBE_TIMEOUT_S):
            client.failed = False
            self._note_slots()

    def _count_usable(self) -> None:
        self._usable = [client for client in self._clients.values() if not client.failed]
        self._near = [client for client in self._usable if client.same_node] or self._usable
        self.slots = BATCHES_PER_REPLICA * len(self._usable)

    def _note_slots(self) -> None:
        self._count_usable()
        self._changed.set()
        self.on_slots()

    async def _until_changed(self, wait_s: float) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), wait_s)

    def _pick(self) -> ReplicaClient:
        """One that is idle, or the less busy of two picked at random."""
        near = self._near
        if len(near) == 1:
            return near[0]
        idle = [client for client in near if not client.in_flight]
        return random.choice(idle) if idle else min(random.sample(near, 2), key=_load)

    def _note_failure(self, client: ReplicaClient, error: ReplicaGone) -> None:
        if not client.failed:
            log.warning("replica %s of %s is gone: %s", client.replica.id, self._key, error)
        client.failed = True
        self._count_usable()

    def _retire(self, client: ReplicaClient) -> None:
        task = asyncio.get_running_loop().create_task(client.close_when_idle())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _load(client: ReplicaClient) -> int:
    return client.in_flight
