"""The HTTP front door on a real socket: the Open Inference dialect and one version that doubles."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from model_store.manifest import TensorSpec
from serve.batching import BatchQueue
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import Tensors
from tests.serve.front_doors.http_calls import INFER, body, call, converse, framed, release, tensor
from tests.serve.tiny_versions import FunctionRuntime, GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S, eventually

MAX_BODY_BYTES = 1000
FLOATS = np.array([[1.5, -2]], np.float32)


@asynccontextmanager
async def listening(dispatcher: Dispatcher, port: int) -> AsyncIterator[HttpFrontDoor]:
    door = HttpFrontDoor([OpenInferenceHttp()], dispatcher.answer, MAX_BODY_BYTES)
    listener = HttpListener(door, "127.0.0.1", port)
    listener.start()
    try:
        yield door
    finally:
        await listener.stop()


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[int]:
    """An endpoint with the model `double`, the model `loading` that is not ready, and nothing else."""
    dispatcher = dispatcher_of(entry(version=3), unavailable={"loading": "it is loading; try again shortly"})
    async with listening(dispatcher, free_port):
        yield free_port


# -- answers ---------------------------------------------------------------------------------------------------------


async def test_a_request_is_answered(port: int) -> None:
    status, headers, content = await call(port, "POST", INFER, body(tensor(), id="a1"))
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(content) == {
        "model_name": "double",
        "model_version": "3",
        "id": "a1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3, -4]}],
    }


async def test_a_chunked_request_is_answered(port: int) -> None:
    content = body(tensor())
    head = b"POST %b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" % INFER.encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"
    answer = await converse(port, head + chunks)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'"data":[3.0,-4.0]}]}')


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        ("/v2/health/live", 200, {"live": True}),
        ("/v2/health/ready", 400, {"ready": False}),
        ("/v2/models/double/ready", 200, {"name": "double", "ready": True}),
        ("/v2/models/double/versions/3/ready", 200, {"name": "double", "ready": True}),
        ("/v2/models/double/versions/4/ready", 404, {"error": "model 'double' has no version 4 here; callable: 3"}),
        (
            "/v2/models/loading/ready",
            400,
            {"error": "model 'loading' can't be called now: it is loading; try again shortly"},
        ),
        (
            "/v2/models/double",
            200,
            {
                "name": "double",
                "versions": ["3"],
                "platform": "onnx_onnxv1",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
            },
        ),
    ],
)
async def test_questions_are_answered(port: int, path: str, status: int, answer: Any) -> None:
    got, headers, content = await call(port, "GET", path)
    assert (got, headers["content-type"]) == (status, "application/json")
    assert json.loads(content) == answer


# -- refusals --------------------------------------------------------------------------------------------------------

REFUSED = [
    (
        "wrong name",
        body(tensor("z")),
        400,
        "model 'double' takes the inputs 'x': FP32[*,2]; got 'z'",
    ),
    ("no inputs", body(), 400, "model 'double' takes the inputs 'x': FP32[*,2]; got none"),
    ("wrong shape", body(tensor(shape=[2])), 400, "input 'x': expected FP32[*,2], got FP32[2]"),
    (
        "wrong datatype",
        body(tensor(datatype="INT64", data=[1, 2])),
        400,
        "input 'x': expected FP32[*,2], got INT64[1,2]",
    ),
    ("wrong count", body(tensor(data=[1])), 400, "input 'x': shape [1, 2] takes 2 values, got 1"),
    (
        "JSON cut off",
        body(tensor())[:-1],
        400,
        "the body is not a v2 inference request: Input data was truncated",
    ),
    ("empty body", b"", 400, "the body is not a v2 inference request: Input data was truncated"),
    (
        "unknown output",
        body(tensor(), outputs=[{"name": "p"}]),
        400,
        "model 'double' has no output 'p'; outputs: y",
    ),
]


@pytest.mark.parametrize(("content", "status", "text"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
async def test_a_wrong_request_is_refused(port: int, content: bytes, status: int, text: str) -> None:
    got, headers, answer = await call(port, "POST", INFER, content)
    assert (got, headers["content-type"]) == (status, "application/json")
    assert json.loads(answer) == {"error": text}


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("POST", "/v2/models/nobody/infer", 404, "model 'nobody' is not served here"),
        (
            "POST",
            "/v2/models/double/versions/4/infer",
            404,
            "model 'double' has no version 4 here; callable: 3",
        ),
        (
            "POST",
            "/v2/models/loading/infer",
            503,
            "model 'loading' can't be called now: it is loading; try again shortly",
        ),
        ("GET", "/v2/nothing", 404, "Not Found"),
        ("GET", "/nothing", 404, "Not Found"),
        ("GET", "/", 404, "Not Found"),
        ("GET", INFER, 405, "Method Not Allowed"),
        ("PUT", INFER, 405, "Method Not Allowed"),
        ("POST", "/v2/models/double", 405, "Method Not Allowed"),
    ],
)
async def test_a_path_that_leads_nowhere_is_told(port: int, method: str, path: str, status: int, text: str) -> None:
    content = body(tensor()) if method != "GET" else None
    got, headers, answer = await call(port, method, path, content)
    assert (got, headers["content-type"]) == (status, "application/json")
    assert json.loads(answer) == {"error": text}


async def test_a_body_over_the_limit_is_refused_by_its_length(port: int) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000000\r\n\r\n" % INFER.encode()
    answer = await converse(port, head)
    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert answer.endswith(b'{"error":"the body may have 1000 bytes, got 2000000000 bytes"}')


async def test_a_chunked_body_over_the_limit_is_refused_before_its_end(port: int) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" % INFER.encode()
    answer = await converse(port, head + b"800\r\n" + b" " * 2048 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413 Content Too Large\r\n")
    assert answer.endswith(b'{"error":"the body may have 1000 bytes, got more"}')


async def test_a_body_of_exactly_the_limit_is_taken(port: int) -> None:
    status, _, _ = await call(port, "POST", INFER, body(tensor()).ljust(MAX_BODY_BYTES))
    assert status == 200
    status, _, _ = await call(port, "POST", INFER, body(tensor()).ljust(MAX_BODY_BYTES + 1))
    assert status == 413


async def test_what_is_no_http_is_refused(port: int) -> None:
    assert (await converse(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


# -- connections -----------------------------------------------------------------------------------------------------


async def test_a_connection_carries_several_requests_and_survives_refusals(port: int) -> None:
    def blocking() -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.connect()
        first = connection.sock
        statuses = []
        for content in (body(tensor()), b"{", body(tensor("z")), body(tensor())):
            connection.request("POST", INFER, content)
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
            assert connection.sock is first
        connection.close()
        return statuses

    assert await asyncio.to_thread(blocking) == [200, 400, 400, 200]


async def test_requests_of_several_connections_share_a_batch(free_port: int) -> None:
    executor = GatedExecutor(slots=0)
    dispatcher = dispatcher_of(entry(), executor=executor)
    queue = dispatcher.loaded[("double", 1)].default.queue
    async with listening(dispatcher, free_port):
        calls = [asyncio.ensure_future(call(free_port, "POST", INFER, body(tensor(data=[n, 0])))) for n in range(4)]
        await eventually(lambda: queue.waiting_rows == 4)
        executor.slots = 1
        executor.gate.set()
        queue.wake()
        answers = [json.loads(content)["outputs"][0]["data"] for _, _, content in await asyncio.gather(*calls)]
    assert answers == [[2 * n, 0] for n in range(4)]
    assert executor.started == 1


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_error(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-length: 500\r\n\r\n{" % INFER.encode())
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.05)
    assert (await call(port, "GET", "/v2/health/live"))[0] == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


Stuck = tuple[int, GatedExecutor, BatchQueue]


@pytest.fixture
async def stuck(free_port: int) -> AsyncIterator[Stuck]:
    """An endpoint whose executor takes nothing until the test gives it slots: port, executor, queue."""
    executor = GatedExecutor(slots=0)
    dispatcher = dispatcher_of(entry(), executor=executor)
    async with listening(dispatcher, free_port):
        yield free_port, executor, dispatcher.loaded[("double", 1)].default.queue


async def test_a_client_that_leaves_takes_its_request_out_of_the_queue(
    stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    port, executor, queue = stuck
    staying = asyncio.ensure_future(call(port, "POST", INFER, body(tensor())))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(framed(body(tensor(shape=[3, 2], data=[0] * 6))))
    await eventually(lambda: queue.waiting_rows == 4)
    writer.close()
    await eventually(lambda: queue.waiting_rows == 1)
    release(executor, queue)
    status, _, content = await staying
    assert (status, json.loads(content)["outputs"][0]["data"]) == (200, [3, -4])
    assert executor.started == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_client_that_resets_its_connection_takes_its_request_out_too(stuck: Stuck) -> None:
    port, _, queue = stuck
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(framed(body(tensor())))
    await eventually(lambda: queue.waiting_rows == 1)
    writer.transport.abort()
    await eventually(lambda: queue.waiting_rows == 0)


async def test_a_client_that_leaves_after_a_long_wait_takes_its_request_out(stuck: Stuck) -> None:
    port, _, queue = stuck
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(framed(body(tensor())))
    await asyncio.sleep(0.6)
    assert queue.waiting_rows == 1
    writer.close()
    await eventually(lambda: queue.waiting_rows == 0)


async def test_a_client_that_waits_long_is_answered(stuck: Stuck) -> None:
    port, executor, queue = stuck
    waiting = asyncio.ensure_future(call(port, "POST", INFER, body(tensor())))
    await asyncio.sleep(0.6)
    release(executor, queue)
    assert (await waiting)[0] == 200


async def test_requests_that_were_sent_without_waiting_for_answers_are_all_answered(port: int) -> None:
    answer = await converse(port, b"".join(framed(body(tensor(), id=f"r{n}")) for n in range(5)))
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 5
    found = [answer.find(b'"id":"r%d"' % n) for n in range(5)]
    assert sorted(found) == found
    assert found[0] >= 0


async def test_pipelined_requests_are_all_answered_after_a_long_wait(stuck: Stuck) -> None:
    port, executor, queue = stuck
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(framed(body(tensor(), id=f"r{n}")) for n in range(3)))
    await eventually(lambda: queue.waiting_rows >= 1)
    await asyncio.sleep(0.6)
    release(executor, queue)
    answer = b""
    async with asyncio.timeout(PATIENCE_S):
        while b'"id":"r2"' not in answer:
            part = await reader.read(65536)
            assert part
            answer += part
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    writer.close()


async def test_an_error_of_the_model_is_answered_with_an_id_only(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(inputs: Tensors) -> Tensors:
        raise FileNotFoundError(2, "No such file or directory", "/var/secret/weights")

    executor = InlineExecutor(FunctionRuntime(broken), on_loop=True)
    async with listening(dispatcher_of(entry(), executor=executor), free_port):
        status, _, content = await call(free_port, "POST", INFER, body(tensor()))
    text = json.loads(content)["error"]
    assert status == 500
    assert text.startswith("internal error ")
    assert "secret" not in text
    assert text.split(";")[0] in caplog.text
    assert "/var/secret/weights" in caplog.text


async def test_stop_answers_what_is_under_way(free_port: int) -> None:
    executor = GatedExecutor()
    door = HttpFrontDoor([OpenInferenceHttp()], dispatcher_of(entry(), executor=executor).answer, MAX_BODY_BYTES)
    listener = HttpListener(door, "127.0.0.1", free_port)
    listener.start()
    under_way = asyncio.ensure_future(call(free_port, "POST", INFER, body(tensor())))
    await eventually(lambda: executor.started == 1)
    stopped = asyncio.ensure_future(listener.stop())
    await asyncio.sleep(0.1)
    assert not stopped.done()
    executor.gate.set()
    status, _, content = await under_way
    assert (status, json.loads(content)["outputs"][0]["data"]) == (200, [3, -4])
    async with asyncio.timeout(PATIENCE_S):
        await stopped
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", free_port)


async def test_stop_does_not_wait_for_idle_connections(free_port: int) -> None:
    async with listening(dispatcher_of(entry()), free_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await reader.read(65536)).startswith(b"HTTP/1.1 200 OK\r\n")
        start = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - start < 2
    writer.close()


async def test_a_port_that_another_program_holds_is_an_error_at_start(free_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        door = HttpFrontDoor([], dispatcher_of().answer, MAX_BODY_BYTES)
        with pytest.raises(OSError, match="Address already in use"):
            HttpListener(door, "127.0.0.1", free_port).start()


# -- Triton's own client ---------------------------------------------------------------------------------------------


class TritonCalls:
    """Triton's HTTP client, which blocks, for a version `echo` of one text and two number inputs."""

    ENTRY = entry(
        "echo",
        2,
        inputs=(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,)), TensorSpec("h", "FP16", (-1,))),
        outputs=(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,)), TensorSpec("h", "FP16", (-1,))),
    )

    def __init__(self, port: int) -> None:
        self.client = InferenceServerClient(f"127.0.0.1:{port}")

    def inputs(self, *, binary: bool) -> list[Any]:
        x = InferInput("x", [1, 2], "FP32")
        x.set_data_from_numpy(FLOATS, binary_data=binary)
        s = InferInput("s", [1], "BYTES")
        s.set_data_from_numpy(np.array([b"gr\xc3\xbcn"], object), binary_data=binary)
        h = InferInput("h", [1], "FP16")
        h.set_data_from_numpy(np.array([0.5], np.float16), binary_data=True)
        return [x, s, h]


@pytest.fixture
async def triton(free_port: int) -> AsyncIterator[Callable[..., Any]]:
    """Runs a function of a `TritonCalls` in a thread."""
    executor = InlineExecutor(FunctionRuntime(lambda inputs: inputs), on_loop=True)
    async with listening(dispatcher_of(TritonCalls.ENTRY, executor=executor), free_port):

        def blocking(function: Callable[[TritonCalls], Any]) -> Any:
            calls = TritonCalls(free_port)
            try:
                return function(calls)
            finally:
                calls.client.close()

        yield lambda function: asyncio.to_thread(blocking, function)


async def test_triton_s_client_in_its_default_binary_mode(triton: Callable[..., Any]) -> None:
    result = await triton(lambda calls: calls.client.infer("echo", calls.inputs(binary=True), request_id="a1"))
    assert result.as_numpy("x").tolist() == [[1.5, -2]]
    assert result.as_numpy("s").tolist() == [b"gr\xc3\xbcn"]
    assert (result.as_numpy("h").dtype, result.as_numpy("h").tolist()) == (np.float16, [0.5])
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("echo", "2", "a1")
    assert [output["name"] for output in answer["outputs"]] == ["x", "s", "h"]


async def test_triton_s_client_in_json_mode(triton: Callable[..., Any]) -> None:
    outputs = [InferRequestedOutput(name, binary_data=False) for name in ("s", "x")]
    result = await triton(lambda calls: calls.client.infer("echo", calls.inputs(binary=False), outputs=outputs))
    assert result.as_numpy("x").tolist() == [[1.5, -2]]
    # Triton's client leaves text as text when it comes as JSON.
    assert result.as_numpy("s").tolist() == ["grün"]
    assert [output["name"] for output in result.get_response()["outputs"]] == ["s", "x"]


async def test_triton_s_client_asks_about_server_and_model(triton: Callable[..., Any]) -> None:
    assert await triton(lambda calls: calls.client.is_server_live()) is True
    assert await triton(lambda calls: calls.client.is_server_ready()) is True
    assert await triton(lambda calls: calls.client.is_model_ready("echo")) is True
    assert await triton(lambda calls: calls.client.is_model_ready("echo", "9")) is False
    assert "binary_tensor_data" in (await triton(lambda calls: calls.client.get_server_metadata()))["extensions"]
    assert (await triton(lambda calls: calls.client.get_model_metadata("echo", "2")))["versions"] == ["2"]


async def test_triton_s_client_shows_our_errors(triton: Callable[..., Any]) -> None:
    def wrong(calls: TritonCalls) -> Any:
        return calls.client.infer("nobody", calls.inputs(binary=True))

    with pytest.raises(InferenceServerException, match=r"^\[404\] model 'nobody' is not served here$"):
        await triton(wrong)
