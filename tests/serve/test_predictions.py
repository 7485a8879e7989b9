"""Predictions of the model servers on a real socket, through dispatcher, batch queue and processor to a real ONNX
model."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_store.manifest import ImageProcessor, Manifest
from serve.dialects.model_server import Ping, Predictions
from serve.dialects.model_server_models import Models
from serve.dispatcher import Dispatcher
from serve.executors.inline import build_inline_executor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.lanes import LoadedVersion
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from serve.runtimes.base import Runtime, load_runtime
from serve.runtimes.processing import ProcessingRuntime
from tests.serve.front_doors.http_calls import call
from tests.serve.pictures import BLUE, GREEN, LABELS, RED, described, mean_colour, photograph
from tests.serve.tiny_versions import FunctionRuntime, manifest


class Endpoint:
    """A listener with the picture model `colours` and the model `double`, which takes numbers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.double = FunctionRuntime()

    async def post(self, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and body; JSON is read."""

        def blocking() -> tuple[int, Any, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
                reply = connection.getresponse()
                return reply.status, {name.lower(): text for name, text in reply.getheaders()}, json.load(reply)
            finally:
                connection.close()

        return await asyncio.to_thread(blocking)


@asynccontextmanager
async def serving(port: int, *runtimes: tuple[Manifest, Runtime]) -> AsyncIterator[None]:
    entries = tuple(VersionEntry(version, ServeOptions("inline")) for version, _ in runtimes)
    routes = {version.name: ModelRoute(((1, 100),), {"stable": 1}) for version, _ in runtimes}
    dispatcher = Dispatcher(Router(RoutingTable(1, "./store", entries, routes)))
    for entry, (version, runtime) in zip(entries, runtimes, strict=True):
        executor = build_inline_executor(runtime, version, max_batch_size=4)
        dispatcher.loaded[entry.key] = LoadedVersion(entry, executor)
    listener = HttpListener(
        HttpFrontDoor([Predictions(), Ping(), Models()], dispatcher.answer, 100_000), "127.0.0.1", port
    )
    listener.start()
    yield
    await listener.stop()
    for loaded in dispatcher.loaded.values():
        await loaded.executor.close()


@pytest.fixture
async def endpoint(tmp_path: Path, free_port: int) -> AsyncIterator[Endpoint]:
    mean_colour(tmp_path)
    processor = ImageProcessor(scale=1 / 255, top=2)
    colours = msgspec.structs.replace(described(processor, labels=LABELS), name="colours")
    endpoint = Endpoint(free_port)
    double = ProcessingRuntime(endpoint.double, manifest(), threads=1)
    async with serving(free_port, (colours, load_runtime(tmp_path, colours, threads=2)), (manifest(), double)):
        endpoint.double.batches.clear()
        yield endpoint


@pytest.fixture
async def single(free_port: int) -> AsyncIterator[Endpoint]:
    """An endpoint whose only model is `double`."""
    endpoint = Endpoint(free_port)
    async with serving(free_port, (manifest(), ProcessingRuntime(endpoint.double, manifest(), threads=1))):
        yield endpoint


async def test_a_photograph_is_answered_with_the_likeliest_classes(endpoint: Endpoint) -> None:
    status, headers, best = await endpoint.post("/predictions/colours", photograph(GREEN).body, x_request_id="id-1")
    assert (status, headers["content-type"], headers["x-request-id"]) == (200, "application/json", "id-1")
    assert len(best) == 2
    assert (best[0]["class"], round(best[0]["probability"])) == ("green", 1)


async def test_photographs_that_come_at_once_each_get_their_own_answer(endpoint: Endpoint) -> None:
    bodies = [photograph(colour).body for colour in (RED, GREEN, BLUE)] * 3
    bodies[4] = b"no picture"
    replies = await asyncio.gather(*(endpoint.post("/predictions/colours", body) for body in bodies))
    assert [status for status, *_ in replies] == [200, 200, 200, 200, 400, 200, 200, 200, 200]
    found = [best[0]["class"] if status == 200 else best["type"] for status, _, best in replies]
    assert found == ["red", "green", "blue", "red", "BadRequestException", "blue", "red", "green", "blue"]


async def test_a_form_carries_the_photograph_too(endpoint: Endpoint) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="data"; filename="a.jpg"\r\n\r\n' + photograph(BLUE).body
    _, _, best = await endpoint.post(
        "/predictions/colours/1", body + b"\r\n--b--\r\n", content_type="multipart/form-data; boundary=b"
    )
    assert best[0]["class"] == "blue"


@pytest.mark.parametrize(
    "path",
    [
        "/predictions/double",
        "/predictions/double/1",
        "/predictions/double/stable",
        "/double/predict",
        "/double/1/predict?top=3",
        "/models/double/invoke",
        "/invocations?model_name=double",
        "/invocations?model_name=double&top=3",
    ],
)
async def test_a_model_without_a_processor_takes_json(endpoint: Endpoint, path: str) -> None:
    status, headers, answer = await endpoint.post(path, b'{"x": [1, 2]}')
    assert (status, headers["content-type"], answer) == (200, "application/json", [2, 4])


async def test_curl_s_usual_content_type_does_not_make_json_a_form(endpoint: Endpoint) -> None:
    form = "application/x-www-form-urlencoded"
    assert (await endpoint.post("/predictions/double", b"[[1, 2]]", content_type=form))[2] == [[2, 4]]
    assert (await endpoint.post("/predictions/double", b"x=%5B1%2C2%5D", content_type=form))[2] == [2, 4]


async def test_the_query_or_a_form_may_carry_the_input(endpoint: Endpoint) -> None:
    assert (await endpoint.post("/double/predict?x=%5B1%2C2%5D"))[2] == [2, 4]
    form = "application/x-www-form-urlencoded"
    assert (await endpoint.post("/invocations", b"x=[1,2]&model_name=double", content_type=form))[2] == [2, 4]


async def test_the_only_model_needs_no_name(single: Endpoint) -> None:
    target = {"x_amzn_sagemaker_target_model": "net.tar.gz", "accept": "application/json"}
    status, _, answer = await single.post("/invocations", b"[1, 2]", content_type="application/json", **target)
    assert (status, answer) == (200, [2, 4])


async def test_sagemaker_s_usual_csv_is_read(single: Endpoint) -> None:
    assert (await single.post("/invocations", b"1,2\n3,4\n", content_type="text/csv"))[2] == [[2, 4], [6, 8]]


async def test_sagemaker_s_usual_csv_is_answered_where_it_is_asked_for(single: Endpoint) -> None:
    csv = "text/csv"
    reply = await call(single.port, "POST", "/invocations", b"1,2\n3,4\n", content_type=csv, accept=csv)
    assert (reply[0], reply[1]["content-type"], reply[2]) == (200, csv, b"2.0,4.0\n6.0,8.0\n")


async def test_one_of_several_models_needs_a_name(endpoint: Endpoint) -> None:
    status, _, error = await endpoint.post("/invocations", b"[1, 2]")
    told = {"code": 400, "type": "BadRequestException", "message": "Parameter model_name is required."}
    assert (status, error) == (400, told)


async def test_a_model_without_a_handler_explains_nothing(endpoint: Endpoint) -> None:
    status, _, error = await endpoint.post("/explanations/double", b"[1, 2]")
    assert (status, error["code"]) == (501, 501)
    assert error["message"] == "model 'double' runs without a handler, and has no explanations"
    assert (await endpoint.post("/explanations/nobody", b"[1, 2]"))[0] == 404


async def test_options_are_answered_with_the_model_s_document(endpoint: Endpoint) -> None:
    status, _, document = await endpoint.post("/predictions/double", method="OPTIONS")
    assert (status, "/predictions/double" in document["paths"]) == (200, True)


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "kind"),
    [
        ("/predictions/nobody", "POST", b"[1, 2]", 404, "ModelNotFoundException"),
        ("/predictions/double/9", "POST", b"[1, 2]", 404, "ModelVersionNotFoundException"),
        ("/predictions/double/beta", "POST", b"[1, 2]", 404, "ModelVersionNotFoundException"),
        ("/nobody/predict", "POST", b"[1, 2]", 404, "ModelNotFoundException"),
        ("/models/nobody/invoke", "POST", b"[1, 2]", 404, "ModelNotFoundException"),
        ("/models/double/invoke", "GET", b"", 405, "MethodNotAllowedException"),
        ("/invocations", "GET", b"", 405, "MethodNotAllowedException"),
        ("/elsewhere", "POST", b"[1, 2]", 404, "ResourceNotFoundException"),
        ("/predictions/double", "DELETE", b"[1, 2]", 405, "MethodNotAllowedException"),
        ("/predictions/", "POST", b"[1, 2]", 404, "ResourceNotFoundException"),
        ("/predictions/double", "POST", b"[1, 2, 3]", 400, "BadRequestException"),
        ("/predictions/double", "POST", bytes(100_001), 413, "BadRequestException"),
    ],
)
async def test_what_is_wrong_is_told(
    endpoint: Endpoint, path: str, method: str, body: bytes, status: int, kind: str
) -> None:
    told, headers, error = await endpoint.post(path, body, method)
    assert (told, headers["connection"], error["code"], error["type"]) == (status, "close", status, kind)


async def test_ping_is_healthy(endpoint: Endpoint) -> None:
    assert (await endpoint.post("/ping", method="GET"))[2] == {"status": "Healthy"}
