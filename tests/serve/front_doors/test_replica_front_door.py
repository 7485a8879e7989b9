"""Gateways and model replicas over real sockets, with a service that tells what it was asked."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from model_store.errors import DeadlineExceeded, InternalError, InvalidInput, ModelNotReady, OutOfMemory, Overloaded
from serve.executors.remote_client import ServerGone
from serve.executors.replica_client import ReplicaClient
from serve.frames import Kind
from serve.front_doors.replica import LONGEST_SECRET_BYTES, ReplicaFrontDoor
from serve.protocols import open_inference as messages
from serve.request_record import RequestRecord
from serve.routing import Replica
from tests.serve.waiting import eventually

SECRET = "the cluster's own"
KEY = ("double", 1)
LOCAL = f"unix-abstract:onegate-test-{os.getpid()}"


class Service:
    """Answers with the message itself, or as the test says."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.deadlines: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0
        self.error: Exception | None = None
        self.is_ready = True

    async def infer(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        self.asked.append(data)
        self.deadlines.append(deadline)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return data

    async def ready(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        self.asked.append(data)
        return bytes(messages.ModelReadyResponse(ready=self.is_ready).SerializeToString())


class Open:
    """A front door, a client of it, and its ports."""

    def __init__(self, service: Service, secret: str = SECRET) -> None:
        self.service = service
        self.door = ReplicaFrontDoor(service, secret)
        self.port = 0
        self.client: ReplicaClient

    async def start(self) -> Open:
        _, self.port = await self.door.start([LOCAL, "127.0.0.1:0"])
        self.client = self.client_of("here")
        return self

    def client_of(self, node: str, secret: str = SECRET) -> ReplicaClient:
        return ReplicaClient(Replica("a", "here", LOCAL, f"127.0.0.1:{self.port}"), node, secret)


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def replica(service: Service) -> AsyncIterator[Open]:
    opened = await Open(service).start()
    assert await opened.client.ready(KEY, 5)
    service.asked.clear()
    yield opened
    opened.client.close()
    await opened.door.stop(0)


@asynccontextmanager
async def stand_in(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[ReplicaClient]:
    """A client of something else than a replica. `serve` is to return when the client has gone."""
    serving: set[object] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(writer)
        await serve(reader, writer)
        writer.transport.abort()
        await asyncio.sleep(0)
        serving.discard(writer)

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = ReplicaClient(Replica("a", "there", "", f"127.0.0.1:{port}"), "here", SECRET)
    yield client
    client.close()
    await eventually(lambda: not serving)
    server.close()


def frame(kind: int, number: int = 0, content: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<QQdB", len(content) if length is None else length, number, 5.0, kind) + content


HELLO = frame(Kind.HELLO, content=SECRET.encode())


class Wire:
    """A gateway by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, int, bytes]:
        async with asyncio.timeout(5):
            length, number, _, kind = struct.unpack("<QQdB", await self.reader.readexactly(25))
            return kind, number, await self.reader.readexactly(length)

    async def is_cut(self) -> bool:
        async with asyncio.timeout(5):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@pytest.fixture
async def wire(replica: Open) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    yield Wire(reader, writer)
    writer.close()


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
    async with asyncio.timeout(2):
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
    async with asyncio.timeout(2):
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


# -- bytes on the wire -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
async def test_frames_may_be_cut_anywhere(wire: Wire, seed: int) -> None:
    chance = random.Random(seed)
    contents = [chance.randbytes(chance.choice([0, 1, 20, 3_000, 70_000, 300_000])) for _ in range(12)]
    data = HELLO + b"".join(frame(Kind.INFER, number, content) for number, content in enumerate(contents))

    async def send() -> None:
        begin = 0
        while begin < len(data):
            end = begin + chance.choice([1, 24, 25, 26, 1_000, 65_536, 400_000])
            wire.writer.write(data[begin:end])
            await wire.writer.drain()
            await asyncio.sleep(0)
            begin = end

    sending = asyncio.ensure_future(send())
    answers = {number: (kind, content) for kind, number, content in [await wire.answer() for _ in contents]}
    assert answers == {number: (Kind.ANSWER, content) for number, content in enumerate(contents)}
    await sending


@pytest.mark.parametrize(
    "begin",
    [
        frame(Kind.HELLO, content=b"another secret"),
        frame(Kind.HELLO),
        frame(Kind.HELLO, length=LONGEST_SECRET_BYTES + 1),
        frame(Kind.HELLO, length=2**64 - 1),
        frame(Kind.INFER, 1, SECRET.encode()),
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    ],
    ids=["wrong", "empty", "long", "endless", "none", "another protocol"],
)
async def test_who_does_not_know_the_secret_is_cut_off(replica: Open, wire: Wire, begin: bytes) -> None:
    # That the secret comes later helps nobody.
    wire.writer.write(begin + HELLO + frame(Kind.INFER, 2))
    assert await wire.is_cut()
    assert replica.service.asked == []


async def test_an_empty_secret_nobody_knows(service: Service) -> None:
    door = ReplicaFrontDoor(service, "")
    (port,) = await door.start(["127.0.0.1:0"])
    client = ReplicaClient(Replica("a", "there", "", f"127.0.0.1:{port}"), "here", "")
    assert not await client.ready(KEY, 5)
    assert service.asked == []
    client.close()
    await door.stop(0)


@pytest.mark.parametrize(
    "wrong",
    [frame(Kind.ANSWER, 1), frame(99, 1), frame(Kind.INFER, 7)],
    ids=["an answer", "no kind", "a number that is taken"],
)
async def test_a_gateway_that_sends_nonsense_is_cut_off(replica: Open, wire: Wire, wrong: bytes) -> None:
    replica.service.gate.clear()
    wire.writer.write(HELLO + frame(Kind.INFER, 7))
    await eventually(lambda: len(replica.service.asked) == 1)
    wire.writer.write(wrong)
    assert await wire.is_cut()
    await eventually(lambda: replica.service.cancelled == 1)


async def test_who_says_nothing_is_cut_off(replica: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.front_doors.replica.HELLO_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    assert await Wire(reader, writer).is_cut()
    writer.close()
    await asyncio.sleep(0.1)
    # Who has said it stays.
    assert await replica.client.infer(b"", 5) == b""


async def test_a_call_that_is_given_up_before_it_began_leaves_nothing(replica: Open, wire: Wire) -> None:
    wire.writer.write(HELLO + b"".join(frame(Kind.INFER, n) + frame(Kind.CANCEL, n) for n in range(100)))
    wire.writer.write(frame(Kind.INFER, 100))
    assert await wire.answer() == (Kind.ANSWER, 100, b"")
    await eventually(lambda: replica.door.calls == set())
    wire.writer.write(frame(Kind.INFER, 5))
    assert await wire.answer() == (Kind.ANSWER, 5, b"")


@pytest.mark.parametrize("pause", [True, False])
async def test_a_message_for_which_there_is_no_room_is_refused_and_passed_over(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, pause: bool
) -> None:
    def no_room(length: int) -> None:
        raise OutOfMemory(f"no room for {length}")

    monkeypatch.setattr("serve.frames.InPlaceBytes", no_room)
    wire.writer.write(HELLO + frame(Kind.INFER, 1, bytes(700_000))[:-1])
    if pause:
        await wire.writer.drain()
        await asyncio.sleep(0.05)
    wire.writer.write(b"\0" + frame(Kind.INFER, 2, b"b"))
    kind, number, content = await wire.answer()
    assert (kind, number, msgspec.msgpack.decode(content)[:2]) == (
        Kind.REFUSAL,
        1,
        ["OutOfMemory", "no room for 700000"],
    )
    assert await wire.answer() == (Kind.ANSWER, 2, b"b")


async def test_the_end_of_a_call_that_is_over_changes_nothing(wire: Wire) -> None:
    wire.writer.write(HELLO + frame(Kind.INFER, 1, b"a"))
    assert await wire.answer() == (Kind.ANSWER, 1, b"a")
    wire.writer.write(frame(Kind.CANCEL, 1) + frame(Kind.INFER, 1, b"b"))
    assert await wire.answer() == (Kind.ANSWER, 1, b"b")


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        (Kind.REFUSAL, b"\xc1", "the replica answered with a frame of kind 6"),
        (99, b"", "the replica answered with a frame of kind 99"),
        (Kind.REFUSAL, msgspec.msgpack.encode(["NoSuchKind", "text", None]), "text"),
    ],
)
async def test_an_answer_that_is_none_is_an_internal_error(kind: int, content: bytes, expected: str) -> None:
    ready = messages.ModelReadyResponse(ready=True).SerializeToString()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(HELLO))
        for answer in ((Kind.ANSWER, ready), (kind, content)):
            length, number, *_ = struct.unpack("<QQdB", await reader.readexactly(25))
            await reader.readexactly(length)
            writer.write(frame(answer[0], number, answer[1]))
        await reader.read()

    async with stand_in(serve) as client:
        assert await client.ready(KEY, 5)
        with pytest.raises(InternalError, match=f"^{expected}$"):
            await client.infer(b"", 5)
