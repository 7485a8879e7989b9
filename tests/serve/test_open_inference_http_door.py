"""Open Inference over HTTP on a real socket, as tritonclient calls it: extensions, text through ONNX Runtime, hostile
bodies."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from model_store.errors import ConfigError
from model_store.manifest import TensorSpec
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import Answer, Query
from serve.lanes import LoadedVersion
from serve.operations import ListModels, LoadModel, ModelList, ModelStatus, Operation, UnloadModel, VersionStatus
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, VersionEntry
from serve.runtimes.base import Runtime
from serve.runtimes.onnx import OnnxRuntime
from tests.serve.tiny_versions import FunctionRuntime, entry

MAX_BODY_BYTES = 4_000_000
X = TensorSpec("x", "FP32", (-1, 3))
S, T = TensorSpec("s", "BYTES", (-1, 2)), TensorSpec("t", "BYTES", (-1, 2))
Told = TypeVar("Told")


class Administration:
    """Stands where the controller does: remembers what it was asked, and answers with one model."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []

    def answer(self, operation: Operation) -> ModelList:
        self.asked.append(operation)
        if isinstance(operation, LoadModel) and operation.model == "broken":
            raise ConfigError("model 'broken' can't be loaded: its source is cut off")
        return ModelList((ModelStatus("scores", (VersionStatus(version="1", state="READY"),)),))


def text_version(folder: Path) -> tuple[VersionEntry, OnnxRuntime]:
    """A version that answers with the text it got, run by ONNX Runtime."""
    values = [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 2]) for name in ("s", "t")]
    graph = helper.make_graph([helper.make_node("Identity", ["s"], ["t"])], "g", values[:1], values[1:])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "model.onnx")
    described = entry("text", 1, inputs=[S], outputs=[T])
    return described, OnnxRuntime(folder, described.manifest, threads=1)


def dispatcher_with(*versions: tuple[VersionEntry, Runtime]) -> Dispatcher:
    routes = {each.key[0]: ModelRoute(((each.key[1], 100),)) for each, _ in versions}
    dispatcher = Dispatcher(Router(RoutingTable(1, "./store", tuple(each for each, _ in versions), routes)))
    for each, runtime in versions:
        dispatcher.loaded[each.key] = LoadedVersion(each, InlineExecutor(runtime, on_loop=True))
    return dispatcher


@pytest.fixture
def administration() -> Administration:
    return Administration()


@pytest.fixture
async def port(free_port: int, tmp_path: Path, administration: Administration) -> AsyncIterator[int]:
    """The model `scores`, that gives back its input and has labels, and `text`, that does so in ONNX Runtime."""
    scores = entry("scores", 1, inputs=[X], outputs=[TensorSpec("y", "FP32", (-1, 3))])
    labelled = msgspec.structs.replace(
        scores, manifest=msgspec.structs.replace(scores.manifest, labels=("cat", "dog", "eel"))
    )
    text, runtime = text_version(tmp_path)
    dispatcher = dispatcher_with((labelled, FunctionRuntime(lambda inputs: {"y": inputs["x"].copy()})), (text, runtime))

    async def answer(query: Query) -> Answer:
        return administration.answer(query) if isinstance(query, Operation) else await dispatcher.answer(query)

    listener = HttpListener(HttpFrontDoor([OpenInferenceHttp()], answer, MAX_BODY_BYTES), "127.0.0.1", free_port)
    listener.start()
    yield free_port
    await listener.stop()


async def asking(port: int, ask: Callable[[InferenceServerClient], Told]) -> Told:
    """What tritonclient makes of the answer."""

    def blocking() -> Told:
        with InferenceServerClient(f"127.0.0.1:{port}") as client:
            return ask(client)

    return await asyncio.to_thread(blocking)


async def post(port: int, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    def blocking() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


def encoded(texts: np.ndarray) -> list[bytes]:
    """tritonclient gives text of JSON answers as `str`."""
    return [each if isinstance(each, bytes) else each.encode() for each in texts.ravel()]


# -- extensions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
async def test_the_likeliest_classes(port: int, binary: bool) -> None:
    def ask(client: InferenceServerClient) -> np.ndarray:
        given = InferInput("x", [2, 3], "FP32")
        given.set_data_from_numpy(np.array([[0.5, 0.25, 0.75], [1, 2, 0]], np.float32))
        wanted = InferRequestedOutput("y", binary_data=binary, class_count=2)
        return client.infer("scores", [given], outputs=[wanted]).as_numpy("y")

    classes = await asking(port, ask)
    assert classes.shape == (2, 2)
    assert encoded(classes) == [b"0.750000:2:eel", b"0.500000:0:cat", b"2.000000:1:dog", b"1.000000:0:cat"]


async def test_priority_timeout_and_own_parameters(port: int) -> None:
    def ask(client: InferenceServerClient) -> list[Any]:
        given = InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.ones((1, 3), np.float32))
        answer = client.infer("scores", [given], priority=1, timeout=20_000_000, parameters={"temperature": 0.5})
        return answer.as_numpy("y").tolist()

    assert await asking(port, ask) == [[1, 1, 1]]


async def test_a_sequence_is_refused(port: int) -> None:
    def ask(client: InferenceServerClient) -> None:
        given = InferInput("x", [1, 3], "FP32")
        given.set_data_from_numpy(np.ones((1, 3), np.float32))
        client.infer("scores", [given], sequence_id=7, sequence_start=True)

    with pytest.raises(InferenceServerException, match="sequences are not offered") as refused:
        await asking(port, ask)
    assert refused.value.status() == "501"


async def test_the_configuration_of_a_model(port: int) -> None:
    config = await asking(port, lambda client: client.get_model_config("scores"))
    assert (config["name"], config["max_batch_size"]) == ("scores", 64)
    assert config["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": [3], "label_filename": "labels.txt"}]


async def test_the_repository_s_index(port: int, administration: Administration) -> None:
    index = await asking(port, lambda client: client.get_model_repository_index())
    assert index == [{"name": "scores", "version": "1", "state": "READY", "reason": ""}]
    assert administration.asked == [ListModels(stored=True)]


async def test_loads_and_unloads(port: int, administration: Administration) -> None:
    def ask(client: InferenceServerClient) -> None:
        client.load_model("scores")
        client.load_model("scores", config='{"max_batch_size": 4}')
        client.unload_model("scores", unload_dependents=True)

    await asking(port, ask)
    assert administration.asked == [
        LoadModel(model="scores"),
        LoadModel(model="scores", settings={"serve": {"batching": {"max_batch_size": 4}}}),
        UnloadModel(model="scores", wait=False),
    ]


async def test_a_load_with_files(port: int, administration: Administration) -> None:
    body = {"parameters": {"config": "{}", "file:1/model.onnx": base64.b64encode(b"\x00onnx").decode()}}
    assert await post(port, "/v2/repository/models/fresh/load", json.dumps(body).encode()) == (200, b"")
    assert administration.asked == [LoadModel(model="fresh", version="1", files={"model.onnx": b"\x00onnx"})]


async def test_a_load_that_fails_is_400(port: int) -> None:
    with pytest.raises(InferenceServerException, match="its source is cut off") as refused:
        await asking(port, lambda client: client.load_model("broken"))
    assert refused.value.status() == "400"


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_trace_settings(),
        lambda client: client.get_log_settings(),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.get_cuda_shared_memory_status(),
    ],
    ids=["trace", "logging", "system shared memory", "cuda shared memory"],
)
async def test_extensions_that_are_not_offered_are_501(port: int, ask: Callable[[InferenceServerClient], Any]) -> None:
    with pytest.raises(InferenceServerException) as refused:
        await asking(port, ask)
    assert refused.value.status() == "501"


# -- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
async def test_text_comes_back_from_onnx_runtime_as_it_was_sent(port: int, binary: bool) -> None:
    sent = np.array([[b"cat", "grün".encode()], [b"", b"b'x'"]], object)

    def ask(client: InferenceServerClient) -> np.ndarray:
        given = InferInput("s", [2, 2], "BYTES")
        given.set_data_from_numpy(sent, binary_data=binary)
        return client.infer("text", [given], outputs=[InferRequestedOutput("t", binary_data=binary)]).as_numpy("t")

    answer = await asking(port, ask)
    texts = [each if isinstance(each, bytes) else each.encode() for each in answer.ravel()]
    assert texts == [b"cat", "grün".encode(), b"", b"b'x'"]


async def test_bytes_that_are_no_text_are_refused_by_a_model_of_text(port: int) -> None:
    header = json.dumps(
        {"inputs": [{"name": "s", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}}]}
    ).encode()
    elements = b"\x01\0\0\0\xff" + b"\x01\0\0\0a"
    length = {"inference-header-content-length": str(len(header))}
    status, body = await post(port, "/v2/models/text/infer", header + elements, length)
    assert status == 400
    assert json.loads(body)["error"].startswith("input 's': expected UTF-8 text, got bytes that are not: ")


# -- hostile bodies --------------------------------------------------------------------------------------------------

DEPTH = 300_000


def claiming(shape: list[int], data: str = "[1,2,3,4]", datatype: str = "FP32") -> bytes:
    return f'{{"inputs":[{{"name":"x","shape":{json.dumps(shape)},"datatype":"{datatype}","data":{data}}}]}}'.encode()


HOSTILE = {
    "rows beyond memory": claiming([2**40]),
    "a product beyond 64 bits": claiming([2**32, 2**32, 2**32]),
    "a size beyond 64 bits": claiming([2**64]),
    "a size of 5000 digits": b'{"inputs":[{"name":"x","shape":[' + b"9" * 5000 + b"]}]}",
    "no rows of endless width": claiming([0, 2**62], "[]"),
    "a million dimensions": claiming([1] * 1_000_000, "[1]"),
    "text beyond memory": claiming([2**40], '["a"]', "BYTES"),
    "deep data": claiming([1, 1], "[" * DEPTH),
    "deep data that is closed": claiming([1, 1], "[" * DEPTH + "]" * DEPTH),
    "deep members": b'{"x":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "deep objects": b'{"x":' * DEPTH,
    "a number beyond floats": claiming([1], "[1e999]"),
    "a number of 5000 digits": claiming([1], "[" + "9" * 5000 + "]", "INT64"),
    "not UTF-8": claiming([1]).replace(b'"x"', b'"\xff"'),
    "half a surrogate": claiming([1]).replace(b'"x"', b'"\\ud800"'),
    "a zero byte": claiming([1]) + b"\0",
    "a mark of byte order": b"\xef\xbb\xbf" + claiming([1, 3], "[1,2,3]"),
    "a datatype of a megabyte": claiming([1], datatype="F" * 1_000_000),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_body_is_400_and_takes_no_memory_to_speak_of(port: int, body: bytes) -> None:
    tracemalloc.start()
    status, answer = await post(port, "/v2/models/scores/infer", body)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 400
    assert len(json.loads(answer)["error"]) < 2000
    assert peak_bytes < 2_000_000 + 50 * len(body)


@pytest.mark.parametrize("length", ["-0", "-1", "+1", "0x1", "1_0", "1e1", "99999999999999999999", "1,1"])
async def test_a_hostile_json_length_is_400(port: int, length: str) -> None:
    headers = {"inference-header-content-length": length}
    status, answer = await post(port, "/v2/models/scores/infer", claiming([1, 3], "[1,2,3]"), headers)
    assert status == 400
    assert json.loads(answer)["error"].startswith("inference-header-content-length must be 0 to ")


async def test_an_honest_body_is_answered_after_all_that(port: int) -> None:
    for body in HOSTILE.values():
        await post(port, "/v2/models/scores/infer", body)
    status, _ = await post(port, "/v2/models/scores/infer", claiming([1, 3], "[1,2,3]"))
    assert status == 200
