"""Triton's own clients, unmodified, against the doors of a gateway: every call that they have, over both protocols; and
a probe of gRPC's health."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import grpc
import ml_dtypes
import msgspec
import numpy as np
import pytest
import pytest_asyncio
import tritonclient.grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.utils import InferenceServerException

from model_store.manifest import TensorSpec
from serve.dialects.registry import grpc_services, http_dialects
from serve.front_doors.grpc import GrpcFrontDoor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import Answer, Query, Tensors
from serve.operations import ListModels, LoadModel, Operation, UnloadModel
from serve.version import VERSION
from tests.e2e.running import free_ports
from tests.serve.test_open_inference_http_door import Administration, dispatcher_with
from tests.serve.tiny_versions import FunctionRuntime, entry
from tests.serve.triton_clients import MODULES, TritonClient, facts

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BODY_BYTES = 4_000_000
VALUES: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-32768, 32767]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "FP16": np.array([[1.5, -65504]], np.float16),
    "BF16": np.array([[1.5, -2]], ml_dtypes.bfloat16),
    "FP32": np.array([[1.5, np.float32(3.4e38)]], np.float32),
    "FP64": np.array([[1.5, 1e308]], np.float64),
    "BYTES": np.array([["grün".encode(), b"\xff\x00"]], object),
}
IN_JSON = [datatype for datatype in VALUES if datatype not in ("FP16", "BF16")]


def turned(inputs: Tensors) -> Tensors:
    """Outputs that tell that the model ran: each input's values in the other order."""
    return {name.lower(): np.ascontiguousarray(tensor[:, ::-1]) for name, tensor in inputs.items()}


def labelled() -> Any:
    inputs, outputs = [TensorSpec("X", "FP32", (-1, 3))], [TensorSpec("x", "FP32", (-1, 3))]
    version = entry("scores", 4, inputs=inputs, outputs=outputs)
    return msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, labels=("cat", "dog", "eel"))
    )


class Endpoint:
    """Two doors, and what their administration was asked."""

    def __init__(self, http: int, grpc: int, administration: Administration) -> None:
        self.http, self.grpc, self.administration = http, grpc, administration


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint() -> AsyncIterator[Endpoint]:
    """Models that turn their inputs around: `types` with one of each datatype, `scores` with labels, `wide`."""
    types = entry(
        "types",
        2,
        inputs=[TensorSpec(datatype, datatype, (-1, 2)) for datatype in VALUES],
        outputs=[TensorSpec(datatype.lower(), datatype, (-1, 2)) for datatype in VALUES],
    )
    wide = entry("wide", inputs=[TensorSpec("X", "FP32", (-1, 5000))], outputs=[TensorSpec("x", "FP32", (-1, 5000))])
    dispatcher = dispatcher_with(*((version, FunctionRuntime(turned)) for version in (types, labelled(), wide)))
    administration = Administration()

    async def answer(query: Query) -> Answer:
        return administration.answer(query) if isinstance(query, Operation) else await dispatcher.answer(query)

    (port,) = free_ports(1)
    listener = HttpListener(HttpFrontDoor(http_dialects("torchserve"), answer, MAX_BODY_BYTES), "127.0.0.1", port)
    listener.start()
    door = GrpcFrontDoor(grpc_services(), answer, max_message_bytes=MAX_BODY_BYTES)
    (grpc_port,) = await door.start(["127.0.0.1:0"])
    yield Endpoint(port, grpc_port, administration)
    await listener.stop()
    await door.stop(0)


@pytest_asyncio.fixture(params=MODULES, loop_scope="module")
async def triton(request: pytest.FixtureRequest, endpoint: Endpoint) -> TritonClient:
    endpoint.administration.asked.clear()
    return TritonClient(request.param, endpoint.http, endpoint.grpc)


def only(name: str) -> Any:
    """For what only one protocol's clients have."""
    return pytest.mark.parametrize("triton", [name], indirect=True)


def floats(*row: float) -> np.ndarray:
    return np.array([row], np.float32)


# -- inference -------------------------------------------------------------------------------------------------------


async def test_tensors_of_every_datatype_come_back(triton: TritonClient) -> None:
    inputs = [triton.input(datatype, array, datatype) for datatype, array in VALUES.items()]
    result = await triton.call("infer", "types", inputs, request_id="r1")
    assert facts(result) == ("types", "2", "r1")
    for datatype, array in VALUES.items():
        output = result.as_numpy(datatype.lower())
        assert output.dtype == array.dtype
        assert output.tolist() == array[:, ::-1].tolist()


@pytest.mark.parametrize("triton", ["http", "http.aio"], indirect=True)
async def test_tensors_travel_as_json(triton: TritonClient) -> None:
    values = {**VALUES, "BYTES": np.array([["grün".encode(), b""]], object)}
    inputs = [
        triton.input(datatype, array, datatype, binary_data=datatype not in IN_JSON)
        for datatype, array in values.items()
    ]
    outputs = [triton.output(datatype.lower(), binary_data=False) for datatype in IN_JSON]
    result = await triton.call("infer", "types", inputs, outputs=outputs)
    assert [output.get("parameters") for output in result.get_response()["outputs"]] == [None] * len(IN_JSON)
    for datatype in IN_JSON:
        expected = ["", "grün"] if datatype == "BYTES" else values[datatype][0, ::-1].tolist()
        assert result.as_numpy(datatype.lower()).tolist() == [expected]


async def test_wanted_outputs_come_alone_and_in_order(triton: TritonClient) -> None:
    inputs = [triton.input(datatype, array, datatype) for datatype, array in VALUES.items()]
    outputs = [triton.output(name) for name in ("int64", "bool")]
    response = (await triton.call("infer", "types", inputs, outputs=outputs)).get_response()
    listed = response["outputs"] if triton.over_http else response.outputs
    assert [output["name"] if triton.over_http else output.name for output in listed] == ["int64", "bool"]


async def test_the_likeliest_classes_are_told_with_their_labels(triton: TritonClient) -> None:
    given = triton.input("X", floats(0.5, 0.25, 0.75), "FP32")
    wanted = triton.output("x", class_count=2)
    result = await triton.call("infer", "scores", [given], outputs=[wanted])
    assert result.as_numpy("x").tolist() == [[b"0.750000:0:cat", b"0.500000:2:eel"]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
async def test_both_ways_may_be_compressed(triton: TritonClient, algorithm: str) -> None:
    array = np.arange(5000, dtype=np.float32).reshape(1, 5000)
    given = triton.input("X", array, "FP32")
    result = await triton.call("infer", "wide", [given], **triton.compression(algorithm))
    assert np.array_equal(result.as_numpy("x"), array[:, ::-1])


async def test_priority_timeout_and_own_parameters_are_taken(triton: TritonClient) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")
    options: dict[str, Any] = {"priority": 2, "timeout": 20_000_000, "parameters": {"a": "b", "n": 1, "yes": True}}
    result = await triton.call("infer", "scores", [given], model_version="4", **options)
    assert result.as_numpy("x").tolist() == [[3, 2, 1]]


@only("http")
async def test_requests_run_side_by_side_over_http(triton: TritonClient) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")

    def use(client: Any) -> list[Any]:
        waiting = [client.async_infer("scores", [given], request_id=str(number)) for number in range(3)]
        return [facts(each.get_result())[2] for each in waiting]

    assert await triton.blocking(use) == ["0", "1", "2"]


@only("http")
async def test_bodies_that_the_client_only_writes_and_reads_are_answered(
    triton: TritonClient, endpoint: Endpoint
) -> None:
    module = MODULES["http"]
    given = triton.input("X", floats(1, 2, 3), "FP32")
    body, length = module.InferenceServerClient.generate_request_body([given], outputs=[triton.output("x")])
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.http)
    head = f"POST /v2/models/scores/infer HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}inference-header-content-length: {length}\r\n\r\n".encode() + body)
    headers, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    (told,) = [line for line in headers.decode().split("\r\n") if line.startswith("inference-header-content-length")]
    result = module.InferenceServerClient.parse_response_body(content, header_length=int(told.partition(":")[2]))
    assert result.as_numpy("x").tolist() == [[3, 2, 1]]


@only("grpc")
async def test_requests_run_side_by_side_over_grpc(triton: TritonClient) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")

    def use(client: Any) -> list[Any]:
        answers: queue.Queue[Any] = queue.Queue()
        for number in range(3):
            client.async_infer(
                "scores", [given], lambda result, error: answers.put((result, error)), request_id=str(number)
            )
        told = [answers.get(timeout=10) for _ in range(3)]
        assert [error for _, error in told] == [None] * 3
        return sorted(facts(result)[2] for result, _ in told)

    assert await triton.blocking(use) == ["0", "1", "2"]


# -- streams ---------------------------------------------------------------------------------------------------------


@only("grpc")
async def test_a_stream_with_callbacks_goes_on_after_an_error(triton: TritonClient) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")

    def use(client: Any) -> list[tuple[Any, Any]]:
        answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for model, number in (("scores", "1"), ("nobody", "2"), ("scores", "3")):
            client.async_stream_infer(model, [given], request_id=number, enable_empty_final_response=True)
        told = [answers.get(timeout=10) for _ in range(3)]
        client.stop_stream()
        return told

    told = await triton.blocking(use)
    assert [result and facts(result) for result, _ in told] == [("scores", "4", "1"), None, ("scores", "4", "3")]
    assert [error and error.message() for _, error in told] == [None, "model 'nobody' is not served here", None]
    assert told[0][0].get_response().parameters["triton_final_response"].bool_param is True


@only("grpc.aio")
async def test_a_stream_with_asyncio_goes_on_after_an_error(triton: TritonClient, endpoint: Endpoint) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for model, number in (("scores", "1"), ("nobody", "2"), ("scores", "3")):
            yield {"model_name": model, "inputs": [given], "request_id": number}

    async with tritonclient.grpc.aio.InferenceServerClient(f"127.0.0.1:{endpoint.grpc}") as client:
        told = [each async for each in client.stream_infer(requests())]
    assert [result and facts(result) for result, _ in told] == [("scores", "4", "1"), None, ("scores", "4", "3")]
    assert [error and error.message() for _, error in told] == [None, "model 'nobody' is not served here", None]


# -- questions -------------------------------------------------------------------------------------------------------


async def test_health(triton: TritonClient) -> None:
    assert await triton.call("is_server_live") is True
    assert await triton.call("is_server_ready") is True
    assert await triton.call("is_model_ready", "scores") is True
    assert await triton.call("is_model_ready", "scores", "4") is True
    assert await triton.call("is_model_ready", "scores", "9") is False
    assert await triton.call("is_model_ready", "nobody") is False


@pytest.mark.parametrize(
    "service",
    [
        "",
        "inference.GRPCInferenceService",
        "tensorflow.serving.PredictionService",
        "org.pytorch.serve.grpc.inference.InferenceAPIsService",
    ],
)
async def test_a_probe_of_grpc_finds_services_serving(endpoint: Endpoint, service: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{endpoint.grpc}") as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=10)
    assert answer.status == HealthCheckResponse.SERVING


async def test_metadata(triton: TritonClient) -> None:
    server = await triton.call("get_server_metadata")
    assert (server["name"], server["version"]) == ("onegate", VERSION)
    binary = ["binary_tensor_data"] if triton.over_http else []
    assert sorted(server["extensions"]) == sorted(
        [
            *binary,
            "classification",
            "model_configuration",
            "model_repository",
            "parameters",
            "schedule_policy",
            "statistics",
        ]
    )
    model = await triton.call("get_model_metadata", "scores", "4")
    # Protobuf writes 64-bit numbers as text where it writes JSON.
    shape = [-1, 3] if triton.over_http else ["-1", "3"]
    assert model == {
        "name": "scores",
        "versions": ["4"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": shape}],
        "outputs": [{"name": "x", "datatype": "FP32", "shape": shape}],
    }


async def test_configuration(triton: TritonClient) -> None:
    answer = await triton.call("get_model_config", "scores")
    config = answer if triton.over_http else answer["config"]
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("scores", "onnxruntime", 64)
    dims = [3] if triton.over_http else ["3"]
    assert config["input"] == [{"name": "X", "data_type": "TYPE_FP32", "dims": dims}]


async def test_statistics_count_what_was_asked(triton: TritonClient) -> None:
    async def counted() -> int:
        (told,) = (await triton.call("get_inference_statistics", "scores", "4"))["model_stats"]
        assert (told["name"], told["version"]) == ("scores", "4")
        return int(told.get("inference_count", 0))

    before = await counted()
    await triton.call("infer", "scores", [triton.input("X", np.ones((5, 3), np.float32), "FP32")])
    assert await counted() == before + 5
    everything = (await triton.call("get_inference_statistics"))["model_stats"]
    assert [each["name"] for each in everything] == ["scores", "types", "wide"]


# -- management ------------------------------------------------------------------------------------------------------


async def test_the_repository_is_listed(triton: TritonClient, endpoint: Endpoint) -> None:
    index = await triton.call("get_model_repository_index")
    listed = index if triton.over_http else index["models"]
    assert [(each["name"], each["version"], each["state"]) for each in listed] == [("scores", "1", "READY")]
    assert endpoint.administration.asked == [ListModels(stored=True)]


async def test_models_are_loaded_and_unloaded(triton: TritonClient, endpoint: Endpoint) -> None:
    await triton.call("load_model", "scores")
    await triton.call("load_model", "scores", config='{"max_batch_size": 4}')
    await triton.call("load_model", "fresh", config="{}", files={"file:1/model.onnx": b"\x00onnx"})
    await triton.call("unload_model", "scores", unload_dependents=True)
    assert endpoint.administration.asked == [
        LoadModel(model="scores"),
        LoadModel(model="scores", settings={"serve": {"batching": {"max_batch_size": 4}}}),
        LoadModel(model="fresh", version="1", files={"model.onnx": b"\x00onnx"}),
        UnloadModel(model="scores", wait=False),
    ]


# -- refusals --------------------------------------------------------------------------------------------------------


async def refused(triton: TritonClient, method: str, *arguments: Any, **options: Any) -> tuple[str, str]:
    """Status and text of the exception that the client raises."""
    with pytest.raises(InferenceServerException) as caught:
        await triton.call(method, *arguments, **options)
    return caught.value.status(), caught.value.message()


async def test_errors_are_told_by_the_client(triton: TritonClient) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")
    not_found, invalid = ("404", "400") if triton.over_http else ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT")
    assert await refused(triton, "infer", "nobody", [given]) == (not_found, "model 'nobody' is not served here")
    assert await refused(triton, "infer", "scores", [given], model_version="9") == (
        not_found,
        "model 'scores' has no version 9 here; callable: 4",
    )
    wrong = triton.input("X", floats(1, 2), "FP32")
    assert await refused(triton, "infer", "scores", [wrong]) == (
        invalid,
        "input 'X': expected FP32[*,3], got FP32[1,2]",
    )
    status = "400" if triton.over_http else "StatusCode.INVALID_ARGUMENT"
    assert await refused(triton, "load_model", "broken") == (
        status,
        "model 'broken' can't be loaded: its source is cut off",
    )


TRACING, LOGGING = "tracing can't be set over the protocol", "logging can't be set over the protocol"
MEMORY = "shared memory is not offered here; send the tensor in the request"


@pytest.mark.parametrize(
    ("said", "method", "arguments"),
    [
        (TRACING, "get_trace_settings", ()),
        (TRACING, "update_trace_settings", ("scores", {"trace_level": ["TIMESTAMPS"]})),
        (LOGGING, "get_log_settings", ()),
        (LOGGING, "update_log_settings", ({"log_verbose_level": 1},)),
        (MEMORY, "get_system_shared_memory_status", ()),
        (MEMORY, "register_system_shared_memory", ("r", "/r", 8)),
        (MEMORY, "unregister_system_shared_memory", ("r",)),
        (MEMORY, "get_cuda_shared_memory_status", ()),
        (MEMORY, "register_cuda_shared_memory", ("r", b"aGFuZGxl", 0, 8)),
        (MEMORY, "unregister_cuda_shared_memory", ("r",)),
    ],
)
async def test_what_is_not_offered_says_so(
    triton: TritonClient, said: str, method: str, arguments: tuple[Any, ...]
) -> None:
    assert await refused(triton, method, *arguments) == (
        "501" if triton.over_http else "StatusCode.UNIMPLEMENTED",
        said,
    )


async def test_sequences_are_refused(triton: TritonClient) -> None:
    given = triton.input("X", floats(1, 2, 3), "FP32")
    status, text = await refused(triton, "infer", "scores", [given], sequence_id=7, sequence_start=True)
    assert status == ("501" if triton.over_http else "StatusCode.UNIMPLEMENTED")
    assert text.endswith("sequences are not offered, models here keep no state")
