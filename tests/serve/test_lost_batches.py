"""Batches whose replicas are lost: tried elsewhere, a bounded number of times, and the culprit found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from model_store.errors import DeadlineExceeded, InternalError, ModelNotReady
from serve.batches import BatchLost
from serve.batching import BatchQueue
from serve.executors import replica_client
from serve.executors.base import SignatureView
from serve.executors.inline import InlineExecutor
from serve.frames import FrameConnection
from serve.inference import Tensors
from serve.routing import Batching, Replica
from serve.statistics import VersionStatistics
from tests.serve.replica_fleet import DOUBLED, FLOATS, KEY, Fleet, Server, open_fleet
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, double
from tests.serve.waiting import eventually

POISON = {"x": np.array([[666.0, 0.0]], np.float32)}


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with open_fleet() as fleet:
        yield fleet


class Killable:
    """A replica whose process dies of one value, and is started again at its address at once."""

    join = staticmethod(np.concatenate)
    idle = True
    slots = 2

    def __init__(self) -> None:
        self.server: Server | None = None
        self.deaths = 0
        self.batches: list[list[float]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, inputs: Tensors, deadline: float, signature: str | None = None) -> Tensors:
        self.batches.append(inputs["x"][:, 0].tolist())
        if (inputs["x"] == 666).any():
            self.deaths += 1
            task = asyncio.get_running_loop().create_task(self._die())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.Event().wait()
        return double(inputs)

    async def _die(self) -> None:
        assert self.server is not None
        await self.server.stop()
        self.server = await Server(self.server.name, self, self.server.port).start()

    async def close(self) -> None:
        pass


class KillableFleet:
    """So many such replicas behind one batch queue, and a gateway that looks after failed ones often."""

    def __init__(self, fleet: Fleet, replicas: list[Killable]) -> None:
        self.replicas = replicas
        self.executor = fleet.executor
        self.queue = BatchQueue(
            SignatureView(fleet.executor, "serving_default"),
            Batching(max_batch_size=8),
            VersionStatistics(*map(str, KEY)),
            mergeable=True,
            ragged=False,
        )
        fleet.executor.on_slots = self.queue.wake
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while True:
            await self.executor.reconnect()
            await asyncio.sleep(0.01)

    def ask(self, inputs: Tensors, within_s: float = 10.0) -> asyncio.Task[Tensors]:
        deadline = asyncio.get_running_loop().time() + within_s
        return asyncio.ensure_future(self.queue.run(inputs, len(inputs["x"]), deadline))

    @property
    def deaths(self) -> int:
        return sum(replica.deaths for replica in self.replicas)

    async def end(self) -> None:
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        for replica in self.replicas:
            if replica.server is not None:
                await replica.server.stop()


@pytest.fixture
async def killable(fleet: Fleet) -> AsyncIterator[Callable[[int], KillableFleet]]:
    made: list[KillableFleet] = []

    async def make(count: int) -> KillableFleet:
        replicas = [Killable() for _ in range(count)]
        for number, replica in enumerate(replicas):
            replica.server = await fleet.serve(f"r{number}", replica)
        await fleet.know(*fleet.servers)
        made.append(KillableFleet(fleet, replicas))
        return made[-1]

    yield make  # type: ignore[misc]
    for each in made:
        await each.end()


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_a_request_that_kills_replicas_is_tried_three_times_and_then_told_so(killable, count: int) -> None:
    replicas = await killable(count)
    with pytest.raises(
        InternalError,
        match=r"^3 replicas were lost while they ran this request for 'double' version 1; it is not tried again$",
    ):
        await replicas.ask(POISON)
    assert replicas.deaths == 3
    await eventually(lambda: replicas.executor.slots == 2 * count)
    assert (await replicas.ask(FLOATS))["y"].tolist() == DOUBLED


@pytest.mark.parametrize("count", [1, 3])
async def test_of_a_merged_batch_that_kills_replicas_only_the_culprit_fails(killable, count: int) -> None:
    replicas = await killable(count)
    requests = [replicas.ask(POISON if number == 3 else FLOATS) for number in range(7)]
    answers = await asyncio.gather(*requests, return_exceptions=True)
    culprit = answers.pop(3)
    assert isinstance(culprit, InternalError)
    assert [answer["y"].tolist() for answer in answers] == [DOUBLED] * 6
    assert replicas.deaths == 3
    lost = [batch for replica in replicas.replicas for batch in replica.batches if 666.0 in batch]
    assert [len(batch) for batch in lost] in ([7, 7, 1], [1, 7, 7], [7, 1, 7])


async def test_a_request_run_apart_has_its_replica_for_itself(killable) -> None:
    replicas = await killable(1)
    culprit = replicas.ask(POISON)
    await eventually(lambda: replicas.deaths == 2)
    others = [replicas.ask(FLOATS) for _ in range(20)]
    with pytest.raises(InternalError):
        await culprit
    assert [answer["y"].tolist() for answer in await asyncio.gather(*others)] == [DOUBLED] * 20
    assert replicas.deaths == 3


async def test_without_a_queue_the_second_loss_is_told_as_that_of_a_batch(killable) -> None:
    replicas = await killable(2)
    deadline = asyncio.get_running_loop().time() + 10
    with pytest.raises(BatchLost, match=r"^2 replicas of 'double' version 1 were lost with the batch$"):
        await replicas.executor.run(POISON, deadline)
    assert replicas.deaths == 2


async def test_a_request_apart_that_finds_no_replica_meets_its_deadline(fleet: Fleet) -> None:
    deadline = asyncio.get_running_loop().time() + 0.05
    with pytest.raises(DeadlineExceeded, match=r"^no replica of 'double' answered before the deadline$"):
        await fleet.executor.run(FLOATS, deadline, apart=True)


async def test_batches_that_are_lost_again_and_again_are_not_all_sent_again(fleet: Fleet) -> None:
    gate = GatedExecutor()
    servers = [await fleet.serve("a", gate), await fleet.serve("b", gate)]
    await fleet.know(*servers)
    while fleet.executor.retries.budget.take():
        pass
    batch = fleet.run()
    await eventually(lambda: gate.started == 1)
    for server in servers:
        await server.stop()
    with pytest.raises(
        ModelNotReady,
        match=r"^replicas of 'double' version 1 are lost faster than batches can be tried again; try again later$",
    ) as refused:
        await batch
    assert refused.value.details["retry_after_s"] == 1.0


async def test_the_batches_of_all_replicas_may_be_lost_once(fleet: Fleet) -> None:
    gate = GatedExecutor(slots=16)
    servers = [await fleet.serve(f"r{number}", gate) for number in range(8)]
    await fleet.know(*servers)
    batches = [fleet.run() for _ in range(16)]
    await eventually(lambda: gate.started >= 8 and sum(c.in_flight for c in fleet.executor._clients.values()) == 16)
    for server in servers:
        await server.stop()
    await fleet.know(await fleet.serve("new"))
    assert [answer["y"].tolist() for answer in await asyncio.gather(*batches)] == [DOUBLED] * 16
    # One that goes on to a server which is about to stop is lost once more.
    assert fleet.executor.retries.budget.taken >= 16


# -- replicas that answer errors, or nothing -------------------------------------------------------------------------


def broken(inputs: Tensors) -> Tensors:
    raise InternalError("this replica's disk is gone")


async def test_a_replica_that_only_answers_errors_of_its_own_is_left_out(fleet: Fleet) -> None:
    bad = FunctionRuntime(broken)
    servers = [
        await fleet.serve("bad", InlineExecutor(bad, on_loop=True)),
        await fleet.serve("good"),
    ]
    await fleet.know(*servers)
    outcomes = [await asyncio.gather(fleet.run(), return_exceptions=True) for _ in range(100)]
    failed = sum(isinstance(outcome, InternalError) for (outcome,) in outcomes)
    # Five, or a few more where chance took the bad one first: nobody had answered yet.
    assert 5 <= failed == len(bad.batches) < 25
    assert fleet.executor.slots == 2
    await eventually(lambda: fleet.executor.breaker.is_on_probe("bad"))
    await fleet.executor.reconnect()
    assert fleet.executor.slots == 4
    # The probe is a batch whose error nobody sees: the other one answers it.
    for _ in range(50):
        assert (await fleet.run())["y"].tolist() == DOUBLED
    assert len(bad.batches) == failed + 1


async def test_a_replica_that_answers_its_probe_is_used_again(fleet: Fleet) -> None:
    runtime = FunctionRuntime(broken)
    await fleet.know(await fleet.serve("bad", InlineExecutor(runtime, on_loop=True)), await fleet.serve("good"))
    for _ in range(100):
        await asyncio.gather(fleet.run(), return_exceptions=True)
    asked = len(runtime.batches)
    runtime._function = double
    await eventually(lambda: fleet.executor.breaker.is_on_probe("bad"))
    await fleet.executor.reconnect()
    for _ in range(50):
        await fleet.run()
    assert fleet.executor.breaker.quiet
    assert (fleet.executor.slots, len(runtime.batches) > asked + 1) == (4, True)


class Mute(FrameConnection):
    """A replica whose process is stopped once it was asked whether it is ready: it reads, and says nothing."""

    def received(self, kind: int, number: int, seconds: float, content: bytes) -> None:
        if kind == 3:
            self.send(5, number, b"\x08\x01")  # type: ignore[arg-type]

    def not_received(self, kind: int, number: int, error: Exception) -> None:
        pass

    def ended(self) -> None:
        pass


async def test_a_replica_without_a_sign_of_life_is_given_up_long_before_the_deadline(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_client, "PING_S", 0.01)
    server = await asyncio.get_running_loop().create_server(Mute, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await fleet.executor.update([Replica("mute", "here", address, "")])
    batch = fleet.run(within_s=60)
    await eventually(lambda: fleet.executor.slots == 0)
    await fleet.know(await fleet.serve("good"))
    assert (await batch)["y"].tolist() == DOUBLED
    server.close()


async def test_a_replica_that_computes_for_long_is_waited_for(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_client, "PING_S", 0.005)
    gate = GatedExecutor()
    await fleet.know(await fleet.serve("slow", gate))
    batch = fleet.run()
    await eventually(lambda: gate.started == 1)
    pings = 20 * replica_client.SILENT_PINGS
    await asyncio.sleep(pings * 0.005)
    gate.gate.set()
    assert (await batch)["y"].tolist() == DOUBLED
    assert gate.started == 1
