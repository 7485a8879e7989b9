"""What callers see of servers that die, hang, lie or refuse, each of them real: sockets that do it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_store.errors import (
    DeadlineExceeded,
    Forbidden,
    InternalError,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
    Overloaded,
    RateLimited,
    Unauthenticated,
)
from serve.client import Retries
from tests.e2e.running import free_ports
from tests.serve.client.callers import OVER_HTTP, WAYS, Caller, caller_of
from tests.serve.client.scripted import ANSWER, WHOLE, Act, Conversation, answering, saying, scripted
from tests.serve.waiting import eventually

X = {"x": np.ones((1, 2), np.float32)}
SOON = Retries(tries=3, first_s=0.001, most_s=0.01)
ONCE = Retries(tries=1)

over_http = pytest.mark.parametrize("way", OVER_HTTP)


async def reset(conversation: Conversation) -> None:
    await conversation.request()
    conversation.reset()


async def hangs_up(conversation: Conversation) -> None:
    await conversation.request()


async def hangs(conversation: Conversation) -> None:
    await conversation.request()
    await asyncio.sleep(30)


async def drips(conversation: Conversation) -> None:
    await conversation.request()
    for index in range(len(WHOLE)):
        await conversation.say(WHOLE[index : index + 1])
        await asyncio.sleep(0.05)


async def closes_idle(conversation: Conversation) -> None:
    """Closes the connection once it is idle."""
    await conversation.request()
    await conversation.say(WHOLE)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
DEAD: dict[str, Act] = {
    "reset": reset,
    "closed without an answer": hangs_up,
    "cut after the headers": saying(HEAD % len(ANSWER)),
    "cut within the headers": saying(WHOLE[:30]),
    "cut within the body": saying(WHOLE[:-5]),
    "no HTTP": saying(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "a head without an end": saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000),
    "a length that is none": saying(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"),
    "a chunk that is none": saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\n"),
}


@over_http
@pytest.mark.parametrize("act", DEAD.values(), ids=DEAD)
async def test_a_call_whose_connection_was_lost_is_sent_once_more(way: str, act: Act) -> None:
    async with scripted(act, answering) as server, caller_of(way, server.url, retries=SOON) as caller:
        assert (await caller.infer("m", X)).array.tolist() == [7]
        assert server.connections == 2


@over_http
@pytest.mark.parametrize("act", DEAD.values(), ids=DEAD)
async def test_a_server_that_only_dies_is_not_ready(way: str, act: Act) -> None:
    async with scripted(act) as server, caller_of(way, server.url, retries=SOON) as caller:
        with pytest.raises(ModelNotReady, match=rf"^the endpoint at {server.url} gave no whole answer \("):
            await caller.infer("m", X)
        assert server.connections == 3


@over_http
async def test_a_length_that_no_memory_holds_takes_none(way: str) -> None:
    async with scripted(saying(HEAD % 10**17)) as server, caller_of(way, server.url, retries=ONCE) as caller:
        with pytest.raises(ModelNotReady, match="it says that 100000000000000000 bytes follow, for which there is no"):
            await caller.infer("m", X)


@over_http
@pytest.mark.parametrize("act", [hangs, drips])
async def test_a_server_that_hangs_or_drips_is_given_up_at_the_deadline(way: str, act: Act) -> None:
    async with scripted(act) as server, caller_of(way, server.url) as caller:
        with pytest.raises(DeadlineExceeded, match=rf"^no answer from {server.url} in the 0\.\d+ s that were left$"):
            await caller.infer("m", X, deadline_s=0.3)
        assert server.connections == 1


@pytest.mark.parametrize("way", WAYS[2:])
async def test_a_server_that_does_not_speak_is_given_up_at_the_deadline(way: str) -> None:
    async def mute(conversation: Conversation) -> None:
        await asyncio.sleep(30)

    async with scripted(mute) as server, caller_of(way, f"grpc://127.0.0.1:{server.port}") as caller:
        with pytest.raises(DeadlineExceeded, match=r"^no answer from grpc://127\.0\.0\.1:\d+ in the 0\.\d+ s that"):
            await caller.infer("m", X, deadline_s=0.3)


@over_http
async def test_a_server_that_reads_nothing_is_given_up_at_the_deadline(way: str) -> None:
    async def deaf(conversation: Conversation) -> None:
        conversation.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(30)

    large = {"x": np.zeros((4_000_000, 2), np.float32)}
    async with scripted(deaf) as server, caller_of(way, server.url) as caller:
        with pytest.raises(DeadlineExceeded):
            await caller.infer("m", large, deadline_s=0.3)


@over_http
async def test_a_connection_that_was_closed_for_having_been_idle_is_no_failure(way: str) -> None:
    async with scripted(closes_idle) as server, caller_of(way, server.url, retries=ONCE) as caller:
        for number in range(1, 4):
            assert (await caller.infer("m", X)).array.tolist() == [7]
            assert server.connections == number


@over_http
async def test_a_connection_that_ends_as_a_call_begins_is_no_failure(way: str) -> None:
    async def one_and_a_half(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(WHOLE)
        await conversation.request()
        conversation.reset()

    async with scripted(one_and_a_half, answering) as server, caller_of(way, server.url, retries=ONCE) as caller:
        assert [(await caller.infer("m", X)).array.tolist() for _ in range(2)] == [[7], [7]]
        assert server.connections == 2


@over_http
async def test_a_connection_is_used_again(way: str) -> None:
    async with scripted(answering) as server, caller_of(way, server.url) as caller:
        for _ in range(5):
            await caller.infer("m", X)
        assert server.connections == 1


@over_http
@pytest.mark.parametrize(
    "behind", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"x"], ids=["a second answer", "a byte"]
)
async def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(way: str, behind: bytes) -> None:
    async def too_much(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(WHOLE + behind)
        await asyncio.sleep(30)

    async with scripted(too_much, answering) as server, caller_of(way, server.url) as caller:
        assert [(await caller.infer("m", X)).array.tolist() for _ in range(2)] == [[7], [7]]
        assert server.connections == 2


@over_http
async def test_chunks_an_interim_answer_and_an_end_without_a_length_are_read(way: str) -> None:
    half = len(ANSWER) // 2
    chunks = b"%x;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\ntrailer: 1\r\n\r\n" % (
        half, ANSWER[:half], len(ANSWER) - half, ANSWER[half:]
    )  # fmt: skip
    forms = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE,
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + ANSWER,
        b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER,
    )
    for form in forms:
        async with scripted(saying(form)) as server, caller_of(way, server.url, retries=ONCE) as caller:
            assert (await caller.infer("m", X)).array.tolist() == [7]


@over_http
@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        b"{}",
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP33","shape":[1],"data":[7.0]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[7.0]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[-1],"data":[7.0]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":-4}}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":"4"}}]}',
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":1e999}}]}',
    ],
)
async def test_an_answer_that_contradicts_itself_is_the_server_s_defect(way: str, body: bytes) -> None:
    reply = HEAD % len(body) + body
    async with scripted(saying(reply)) as server, caller_of(way, server.url, retries=SOON) as caller:
        with pytest.raises(InternalError, match=r"^the answer is no Open Inference answer: "):
            await caller.infer("m", X)
        assert server.connections == 1


# -- refusals --------------------------------------------------------------------------------------------------------


def refusing(status: int, text: str, *headers: bytes) -> Act:
    body = b'{"error": "%b"}' % text.encode()
    lines = b"".join(header + b"\r\n" for header in headers)
    return saying(b"HTTP/1.1 %d No\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body))


@over_http
@pytest.mark.parametrize(
    ("act", "kind", "asked"),
    [
        (refusing(503, "loading"), ModelNotReady, 3),
        (refusing(502, "nobody behind"), ModelNotReady, 3),
        (refusing(503, "full", b"retry-after: 0"), Overloaded, 3),
        (refusing(429, "too often", b"retry-after: 0"), RateLimited, 3),
        (refusing(429, "too often"), RateLimited, 1),
        (refusing(401, "who"), Unauthenticated, 1),
        (refusing(403, "no"), Forbidden, 1),
        (refusing(500, "defect"), InternalError, 1),
        (refusing(504, "late"), DeadlineExceeded, 1),
        (refusing(418, "tea"), InternalError, 1),
        (refusing(500, "full", b"onegate-error: Overloaded"), Overloaded, 3),
        (refusing(503, "too large", b"onegate-error: OutOfMemory"), OutOfMemory, 1),
        (refusing(503, "loading", b"onegate-error: NoKindOfOurs"), ModelNotReady, 3),
        (refusing(302, "elsewhere", b"location: /"), InternalError, 1),
    ],
)
async def test_a_refusal_is_its_kind_and_tried_again_where_that_may_help(
    way: str, act: Act, kind: type[OnegateError], asked: int
) -> None:
    async with scripted(act) as server, caller_of(way, server.url, retries=SOON) as caller:
        with pytest.raises(OnegateError) as refused:
            await caller.infer("m", X)
        assert (type(refused.value), server.connections) == (kind, asked)


@over_http
async def test_an_error_of_a_proxy_in_between_is_told(way: str) -> None:
    page = b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 13\r\n\r\n<html>\nlate\n\n"
    async with scripted(saying(page)) as server, caller_of(way, server.url) as caller:
        with pytest.raises(DeadlineExceeded, match=r"^the endpoint answered with HTTP status 504: <html>$"):
            await caller.infer("m", X)


@over_http
async def test_who_is_told_to_come_again_after_the_deadline_does_not_wait(way: str) -> None:
    act = refusing(503, "full", b"retry-after: 60")
    async with scripted(act) as server, caller_of(way, server.url) as caller:
        begin = time.monotonic()
        with pytest.raises(Overloaded) as refused:
            await caller.infer("m", X, deadline_s=20)
        assert (refused.value.message, refused.value.details, server.connections) == ("full", {"retry_after_s": 60}, 1)
        assert time.monotonic() - begin < 20


@over_http
async def test_who_is_told_when_to_come_again_does_not_come_before(way: str) -> None:
    act = refusing(429, "often", b"retry-after: 1")
    async with scripted(act, answering) as server, caller_of(way, server.url, retries=SOON) as caller:
        begin = time.monotonic()
        assert (await caller.infer("m", X)).array.tolist() == [7]
        assert time.monotonic() - begin >= 1


@over_http
async def test_a_client_does_not_multiply_the_calls_to_a_server_in_trouble(way: str) -> None:
    fast = Retries(tries=6, first_s=0, most_s=0)
    async with scripted(refusing(503, "down")) as server, caller_of(way, server.url, retries=fast) as caller:
        for _ in range(40):
            with pytest.raises(ModelNotReady):
                await caller.infer("m", X)
        # 40 calls, 100 tries that were saved up, one for each 10 calls, and one a second.
        assert 40 + 100 <= server.connections <= 40 + 100 + 4 + 10


async def test_tries_that_reached_nobody_cost_nothing(way: str, free_port: int) -> None:
    fast = Retries(tries=3, first_s=0, most_s=0)
    async with caller_of(way, f"{way[:4]}://127.0.0.1:{free_port}", retries=fast) as caller:
        for _ in range(60):
            with pytest.raises(ModelNotReady):
                await caller.infer("m", X)
        assert caller.client._calls._budget.taken == 0


# -- a server that is killed -----------------------------------------------------------------------------------------

SERVER = """
import asyncio, sys
from pathlib import Path
from serve.dialects.registry import grpc_services, http_dialects
from serve.front_doors.grpc import GrpcFrontDoor
from tests.serve.served_models import serving

async def main() -> None:
    folder, http, grpc = sys.argv[1:]
    async with serving(Path(folder), int(http), http_dialects("torchserve")) as dispatcher:
        door = GrpcFrontDoor(grpc_services(), dispatcher.answer)
        await door.start([f"127.0.0.1:{grpc}"])
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Killable:
    """A server in a process of its own."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self._words = [sys.executable, "-c", SERVER, str(folder), *map(str, ports)]
        http, grpc = ports
        self.http, self.grpc = f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{grpc}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        root = Path(__file__).parents[3]
        self.process = await asyncio.create_subprocess_exec(*self._words, cwd=root, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert await self.process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@pytest.fixture
async def killable(tmp_path: Path) -> AsyncIterator[Killable]:
    first, second = free_ports(2)
    server = Killable(tmp_path, (first, second))
    await server.start()
    yield server
    await server.kill()


async def test_calls_of_a_server_that_is_killed_are_told_and_those_that_wait_answered_when_it_is_back(
    killable: Killable, way: str
) -> None:
    url = killable.http if way.startswith("http") else killable.grpc
    outcomes: list[Any] = []

    async def ask(caller: Caller) -> None:
        while not any(isinstance(outcome, str) for outcome in outcomes):
            try:
                outcomes.append((await caller.infer("double", {"x": np.ones((100, 2), np.float32)})).array.sum())
            except ModelNotReady as error:
                outcomes.append(error.message)

    async with caller_of(way, url, retries=ONCE) as caller:
        asking = asyncio.gather(*(ask(caller) for _ in range(4)))
        await eventually(lambda: len(outcomes) > 20)
        await killable.kill()
        await asking
    answers = {outcome for outcome in outcomes if not isinstance(outcome, str)}
    assert answers == {400.0}
    told = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert told
    assert all(text.startswith((f"no endpoint answers at {url} (", f"the endpoint at {url} gave no")) for text in told)
    async with caller_of(way, url, retries=Retries(tries=30)) as patient:
        call = asyncio.ensure_future(patient.infer("double", X))
        await asyncio.sleep(0.1)
        assert not call.done()
        await killable.start()
        assert (await call).array.tolist() == [[2, 2]]
