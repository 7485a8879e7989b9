"""What gateways and model replicas send each other, by hand: bytes on the wire."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator

import msgspec
import pytest

from model_store.errors import InternalError, OutOfMemory
from serve.executors.replica_client import ReplicaClient
from serve.frames import Kind
from serve.front_doors.replica import LONGEST_SECRET_BYTES, ReplicaFrontDoor
from serve.protocols import open_inference as messages
from serve.routing import Replica
from tests.serve.front_doors.replica_doors import (
    HELLO,
    KEY,
    SECRET,
    Open,
    Service,
    Wire,
    by_hand,
    frame,
    opened,
    stand_in,
)
from tests.serve.waiting import eventually


@pytest.fixture
async def replica() -> AsyncIterator[Open]:
    async with opened() as replica:
        yield replica


@pytest.fixture
async def wire(replica: Open) -> AsyncIterator[Wire]:
    async with by_hand(replica) as wire:
        yield wire


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


async def test_an_empty_secret_nobody_knows() -> None:
    service = Service()
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
