"""What the HTTP front door admits: sizes, encodings, requests and connections under way, slow clients. Real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dispatcher import Dispatcher
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.http_requests import MAX_HEAD_BYTES
from tests.serve.front_doors.http_calls import INFER, body, call, converse, framed, release, tensor
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S, eventually

MAX_BODY_BYTES = 1_000_000


@asynccontextmanager
async def listening(
    dispatcher: Dispatcher, port: int, *, max_requests: int = 100, **limits: Any
) -> AsyncIterator[HttpFrontDoor]:
    door = HttpFrontDoor([OpenInferenceHttp()], dispatcher.answer, MAX_BODY_BYTES, max_requests=max_requests)
    listener = HttpListener(door, "127.0.0.1", port, **limits)
    listener.start()
    try:
        yield door
    finally:
        await listener.stop()


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[int]:
    async with listening(dispatcher_of(entry()), free_port):
        yield free_port


def rows(count: int) -> bytes:
    return body(tensor(shape=[count, 2], data=[0] * 2 * count))


# -- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
async def test_an_encoded_request_is_answered(port: int, encoding: str, pack: Any) -> None:
    status, _, content = await call(port, "POST", INFER, pack(body(tensor())), content_encoding=encoding)
    assert (status, json.loads(content)["outputs"][0]["data"]) == (200, [3, -4])


async def test_a_chunked_gzip_request_is_answered(port: int) -> None:
    content = gzip.compress(body(tensor()))
    head = (
        b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n" % INFER.encode()
    )
    answer = await converse(port, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
async def test_an_unknown_encoding_is_refused_with_the_known_ones(port: int, encoding: str) -> None:
    status, headers, content = await call(port, "POST", INFER, body(tensor()), content_encoding=encoding)
    assert (status, headers["accept-encoding"]) == (501, "gzip, deflate")
    assert json.loads(content) == {"error": f"a body may be encoded as gzip or deflate, got {encoding!r}"}


async def test_a_body_that_is_not_what_its_encoding_says_is_refused(port: int) -> None:
    status, _, content = await call(port, "POST", INFER, body(tensor()), content_encoding="gzip")
    assert (status, json.loads(content)["error"].split(":")[0]) == (400, "the body is not gzip")


async def test_a_gzip_bomb_is_refused_before_memory_is_taken(port: int) -> None:
    bomb = gzip.compress(bytes(200_000_000), compresslevel=1)
    assert len(bomb) < MAX_BODY_BYTES
    tracemalloc.start()
    try:
        status, _, content = await call(port, "POST", INFER, bomb, content_encoding="gzip")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 413
    assert json.loads(content) == {"error": "the body may have 1000000 bytes when it is unpacked, got more"}
    assert peak_bytes < 8_000_000


async def test_a_large_reply_is_compressed_when_the_client_asks(port: int) -> None:
    for accepted, unpack in (
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("gzip;q=0.5, deflate", zlib.decompress),
    ):
        status, headers, content = await call(port, "POST", INFER, rows(2000), accept_encoding=accepted)
        assert (status, headers["vary"]) == (200, "accept-encoding")
        assert headers["content-length"] == str(len(content))
        assert len(json.loads(unpack(content))["outputs"][0]["data"]) == 4000


async def test_a_large_binary_reply_is_compressed_too(port: int) -> None:
    content = body(tensor(shape=[20_000, 2], data=[0] * 40_000), parameters={"binary_data_output": True})
    _, plain, sent = await call(port, "POST", INFER, content)
    _, headers, packed = await call(port, "POST", INFER, content, accept_encoding="gzip")
    assert headers["content-length"] == str(len(packed))
    assert gzip.decompress(packed) == sent
    assert sent[int(plain["inference-header-content-length"]) :] == bytes(160_000)


@pytest.mark.parametrize("accepted", ["identity", "br", "gzip;q=0", "gzip;q=0.3, identity;q=0.9", "", "gzip;q=no"])
async def test_a_reply_that_nobody_wants_compressed_is_not(port: int, accepted: str) -> None:
    status, headers, content = await call(port, "POST", INFER, rows(2000), accept_encoding=accepted)
    assert (status, "content-encoding" in headers) == (200, False)
    assert len(json.loads(content)["outputs"][0]["data"]) == 4000


async def test_a_small_reply_is_sent_as_it_is(port: int) -> None:
    _, headers, content = await call(port, "POST", INFER, body(tensor()), accept_encoding="gzip")
    assert "content-encoding" not in headers
    assert json.loads(content)["outputs"][0]["data"] == [3, -4]


# -- heads -----------------------------------------------------------------------------------------------------------


async def test_a_url_of_more_than_eight_kib_is_refused(port: int) -> None:
    status, _, content = await call(port, "GET", "/v2/health/live?" + "q" * 8178)
    assert (status, json.loads(content)) == (400, {"error": "path and query may have 8192 bytes, got 8193"})
    assert (await call(port, "GET", "/v2/health/live?" + "q" * 8177))[0] == 200


async def test_headers_of_more_than_64_kib_are_refused(port: int) -> None:
    answer = await converse(port, b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\nx: %b\r\n\r\n" % (b"y" * MAX_HEAD_BYTES))
    assert answer.startswith(b"HTTP/1.1 431 ")


# -- slow clients ----------------------------------------------------------------------------------------------------


async def said_until_closed(port: int, sent: bytes) -> bytes:
    """What the server says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_body_that_does_not_arrive_is_a_timeout_and_the_connection_is_closed(free_port: int) -> None:
    async with listening(dispatcher_of(entry()), free_port, body_timeout_s=0.3):
        answer = await said_until_closed(
            free_port, b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 500\r\n\r\n{" % INFER.encode()
        )
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert answer.endswith(b'{"error":"the body did not arrive within 0.3 s"}')
        assert (await call(free_port, "POST", INFER, body(tensor())))[0] == 200


async def test_a_chunked_body_that_does_not_end_is_a_timeout_too(free_port: int) -> None:
    async with listening(dispatcher_of(entry()), free_port, body_timeout_s=0.3):
        head = b"POST %b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n" % INFER.encode()
        assert (await said_until_closed(free_port, head)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_the_body_s_time_does_not_bound_the_answer_s(free_port: int) -> None:
    executor = GatedExecutor()
    async with listening(dispatcher_of(entry(), executor=executor), free_port, body_timeout_s=0.1):
        waiting = asyncio.ensure_future(call(free_port, "POST", INFER, body(tensor())))
        await asyncio.sleep(0.7)
        executor.gate.set()
        assert (await waiting)[0] == 200


async def test_headers_that_do_not_arrive_close_the_connection(free_port: int) -> None:
    async with listening(dispatcher_of(entry()), free_port, header_timeout_s=0.3):
        answer = await said_until_closed(free_port, b"GET /v2 HTTP/1.1\r\nhost:")
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert answer.endswith(b"\r\n\r\nthe headers did not arrive in time")


# -- too many --------------------------------------------------------------------------------------------------------


async def test_requests_beyond_the_limit_are_overload_and_health_checks_are_not(free_port: int) -> None:
    executor = GatedExecutor(slots=0)
    dispatcher = dispatcher_of(entry(), executor=executor)
    queue = dispatcher.loaded[("double", 1)].default.queue
    async with listening(dispatcher, free_port, max_requests=2):
        waiting = [asyncio.ensure_future(call(free_port, "POST", INFER, body(tensor()))) for _ in range(2)]
        await eventually(lambda: queue.waiting_rows == 2)
        status, headers, content = await call(free_port, "POST", INFER, body(tensor()))
        assert (status, headers["retry-after"]) == (503, "1")
        text = "2 requests are under way and at most 2 may be; try again later"
        assert json.loads(content) == {"error": text}
        assert (await call(free_port, "GET", "/v2/health/live"))[0] == 200
        release(executor, queue)
        assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200, 200]
        assert (await call(free_port, "POST", INFER, body(tensor())))[0] == 200


async def test_connections_beyond_the_limit_wait_until_one_closes(free_port: int) -> None:
    async with listening(dispatcher_of(entry()), free_port, max_connections=2):
        await asyncio.sleep(0.1)
        held = [await asyncio.open_connection("127.0.0.1", free_port) for _ in range(2)]
        for reader, writer in held:
            writer.write(framed(body(tensor())))
            assert (await reader.read(65536)).startswith(b"HTTP/1.1 200 OK\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(framed(body(tensor())))
        answer = asyncio.ensure_future(reader.read(65536))
        await asyncio.sleep(0.2)
        assert not answer.done()
        held[0][1].close()
        async with asyncio.timeout(PATIENCE_S):
            assert (await answer).startswith(b"HTTP/1.1 200 OK\r\n")
        for each in (writer, held[1][1]):
            each.close()
