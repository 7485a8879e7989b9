"""Gateways and model replicas over real sockets, with a service that tells what it was asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from model_store.errors import DeadlineExceeded, InternalError, InvalidInput, ModelNotReady, Overloaded
from serve.executors.remote_client import ServerGone
from serve.executors.replica_client import ReplicaClient
from serve.frames import Kind
from serve.front_doors.replica import ReplicaFrontDoor
from serve.protocols import open_inference as messages
from serve.routing import Replica
from tests.serve.front_doors.replica_doors import (
    HELLO,
    KEY,
    LOCAL,
    SECRET,
    Open,
    Wire,
    by_hand,
    frame,
    opened,
    stand_in,
)
from tests.serve.waiting import PATIENCE_S, eventually


@pytest.fixture
async def replica() -> AsyncIterator[Open]:
    async with opened() as replica:
        yield replica


@pytest.fixture
async def wire(replica: Open) -> AsyncIterator[Wire]:
    async with by_hand(replica) as wire:
        yield wire


# -- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["here", "there"])
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 300_000, 5_000_000])
async def test_a_message_of_any_size_is_called_and_answered(replica: Open, node: str, size: int) -> None:
    client = replica.client_of(node)
    assert await client.ready(KEY, 5)
    message = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert await client.infer(message, 5) == message
    client.close()


async def test_calls_at_once_get_each_their_own_answer(replica: Open) -> None:
    contents = [bytes([number]) * size for number, size in enumerate([10, 400_000, 0, 70_000, 100_000, 3])]
    assert await asyncio.gather(*(replica.client.infer(content, 5) for content in contents)) == contents


async def test_the_deadline_is_the_caller_s(replica: Open) -> None:
    before = asyncio.get_running_loop().time()
    await replica.client.infer(b"", 7)
    assert replica.service.deadlines[0] == pytest.approx(before + 7, abs=1)


async def test_a_version_that_is_not_there_is_not_ready(replica: Open) -> None:
    replica.service.is_ready = False
    assert not await replica.client.ready(KEY, 5)
    question = messages.ModelReadyRequest.FromString(replica.service.asked[0])
    assert (question.name, question.version) == ("double", "1")


async def test_where_nobody_listens_nobody_is_ready(free_port: int) -> None:
    for replica in (Replica("a", "here", "unix-abstract:nobody", ""), Replica("a", "b", "", f"127.0.0.1:{free_port}")):
        client = ReplicaClient(replica, "here", SECRET)
        assert not await client.ready(KEY, 5)
        with pytest.raises(ServerGone, match=r"^it can't be reached: "):
            await client.infer(b"", 5)
        client.close()


async def test_who_listens_and_says_nothing_is_not_ready() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with stand_in(say_nothing) as client:
        assert not await client.ready(KEY, 0.1)


# -- errors ----------------------------------------------------------------------------------------------------------


async def test_an_error_comes_back_as_its_kind_with_its_text(replica: Open) -> None:
    replica.service.error = InvalidInput("expected 1, got 2")
    with pytest.raises(InvalidInput, match=r"^expected 1, got 2$"):
        await replica.client.infer(b"", 5)


async def test_when_to_come_again_is_told(replica: Open) -> None:
    replica.service.error = Overloaded("busy", retry_after_s=6.2)
    with pytest.raises(Overloaded) as refused:
        await replica.client.infer(b"", 5)
    assert refused.value.details["retry_after_s"] == 6.2


async def test_a_version_that_is_not_ready_is_for_another_replica(replica: Open) -> None:
    replica.service.error = ModelNotReady("it is loading")
    with pytest.raises(ServerGone, match=r"^it is loading$"):
        await replica.client.infer(b"", 5)


async def test_text_that_is_none_is_told_as_far_as_it_goes(replica: Open) -> None:
    replica.service.error = InvalidInput("expected 1, got \udc80")
    with pytest.raises(InvalidInput, match=r"^expected 1, got \?$"):
        await replica.client.infer(b"", 5)


async def test_a_defect_is_told_with_its_id(replica: Open) -> None:
    replica.service.error = ZeroDivisionError()
    with pytest.raises(InternalError, match=r"^internal error [0-9a-f]{12}; the server's log has the details$"):
        await replica.client.infer(b"", 5)


# -- ends ------------------------------------------------------------------------------------------------------------


async def under_way(replica: Open, seconds: float = 5) -> asyncio.Task[bytes]:
    replica.service.gate.clear()
    call = asyncio.ensure_future(replica.client.infer(b"", seconds))
    await eventually(lambda: len(replica.service.asked) == 1)
    return call


async def test_a_deadline_that_passes_ends_the_work(replica: Open) -> None:
    call = await under_way(replica, 0.05)
    with pytest.raises(DeadlineExceeded, match=r"^the replica did not answer before the deadline$"):
        await call
    await eventually(lambda: replica.service.cancelled == 1)


async def test_a_call_that_is_cancelled_ends_the_work(replica: Open) -> None:
    call = await under_way(replica)
    call.cancel()
    await eventually(lambda: replica.service.cancelled == 1)
    replica.service.gate.set()
    assert await replica.client.infer(b"next", 5) == b"next"


async def test_a_gateway_that_goes_ends_the_work_for_it(replica: Open) -> None:
    call = await under_way(replica)
    replica.client.close()
    with pytest.raises(ServerGone, match=r"^the connection to it has ended$"):
        await call
    await eventually(lambda: replica.service.cancelled == 1)


async def test_a_replica_that_goes_leaves_no_call_open_and_is_ready_when_it_is_back(replica: Open) -> None:
    call = await under_way(replica)
    await replica.door.stop(0)
    with pytest.raises(ServerGone, match=r"^the connection to it has ended$"):
        await call
    with pytest.raises(ServerGone, match=r"^it can't be reached: "):
        await replica.client.infer(b"", 5)
    replica.door = ReplicaFrontDoor(replica.service, SECRET)
    await replica.door.start([LOCAL])
    replica.service.gate.set()
    assert await replica.client.ready(KEY, 5)
    assert await replica.client.infer(b"again", 5) == b"again"


async def test_stop_answers_what_is_under_way_and_sends_the_rest_elsewhere(replica: Open) -> None:
    call = await under_way(replica)
    stopped = asyncio.ensure_future(replica.door.stop(5))
    await asyncio.sleep(0)
    with pytest.raises(ServerGone, match=r"^the replica is stopping$"):
        await replica.client.infer(b"late", 5)
    assert not stopped.done()
    replica.service.gate.set()
    assert await call == b""
    async with asyncio.timeout(PATIENCE_S):
        await stopped


async def test_what_is_under_way_after_the_grace_is_ended(replica: Open) -> None:
    call = await under_way(replica)
    await replica.door.stop(0.05)
    assert (replica.service.cancelled, replica.door.calls) == (1, set())
    with pytest.raises(ServerGone, match=r"^the connection to it has ended$"):
        await call


async def test_stop_returns_when_a_slow_reader_has_its_answer(replica: Open, wire: Wire) -> None:
    content = bytes(16_000_000)
    wire.writer.write(HELLO + frame(Kind.INFER, 1, content))
    await eventually(lambda: len(replica.service.asked) == 1)
    stopped = asyncio.ensure_future(replica.door.stop(5))
    await asyncio.sleep(0.1)
    assert not stopped.done()
    assert await wire.answer() == (Kind.ANSWER, 1, content)
    async with asyncio.timeout(PATIENCE_S):
        await stopped


async def test_a_connection_that_was_lost_while_nothing_was_asked_is_made_again(replica: Open) -> None:
    for connection in list(replica.door.connections):
        connection.abort("the test says so")
    await eventually(lambda: replica.door.connections == set())
    assert await replica.client.infer(b"next", 5) == b"next"


async def test_a_client_that_is_closed_while_it_connects_leaves_no_connection(replica: Open) -> None:
    client = replica.client_of("there")
    connecting = asyncio.ensure_future(client.ready(KEY, 5))
    await asyncio.sleep(0)
    client.close()
    assert not await connecting
    await eventually(lambda: len(replica.door.connections) == 1)
    with pytest.raises(ServerGone, match=r"^it is not needed any more$"):
        await client.infer(b"", 5)


async def test_messages_do_not_pile_up_before_a_replica_that_does_not_read() -> None:
    finished, connections = asyncio.Event(), 0

    async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await finished.wait()

    async with stand_in(read_nothing) as client:
        for _ in range(20):
            with pytest.raises(DeadlineExceeded):
                await client.infer(bytes(4 * 1024 * 1024), 0.05)
        finished.set()
    # Each holds what is on its way and five unsent messages at most.
    assert 3 <= connections <= 4


async def test_another_node_that_vanishes_is_noticed(replica: Open) -> None:
    client = replica.client_of("there")
    assert await client.ready(KEY, 5)
    ends = [end.transport.get_extra_info("socket") for end in replica.door.connections if end.transport is not None]
    (over_tcp,) = [end for end in ends if end.family == socket.AF_INET]
    assert over_tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
    assert over_tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    client.close()


async def test_a_client_that_closes_when_idle_waits_for_its_calls(replica: Open) -> None:
    replica.client.begin()
    call = await under_way(replica)
    closing = asyncio.ensure_future(replica.client.close_when_idle())
    await asyncio.sleep(0.05)
    assert not closing.done()
    replica.service.gate.set()
    assert await call == b""
    replica.client.end()
    await closing


async def test_a_port_that_another_program_holds_is_an_error_at_start(replica: Open) -> None:
    for address in (LOCAL, f"127.0.0.1:{replica.port}"):
        with pytest.raises(OSError, match="in use"):
            await ReplicaFrontDoor(replica.service, SECRET).start([address])
