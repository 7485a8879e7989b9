"""The whole Open Inference gRPC service on real sockets: streams, models, repository, and what is not offered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from model_store.errors import ModelNotFound
from model_store.manifest import TensorSpec
from serve.dialects.open_inference_service import core_service, whole_service
from serve.front_doors.grpc_streams import AT_ONCE
from serve.inference import Answer, InferenceRequest, InferenceResponse, Query, Statistics, StatisticsQuery
from serve.operations import ListModels, LoadModel, ModelList, ModelStatus, UnloadModel, VersionStatus
from serve.protocols import open_inference as messages
from serve.protocols.torchserve import OPEN_INFERENCE_SERVICE
from serve.routing import Batching
from serve.statistics import Duration, VersionStatistics
from serve.version import VERSION
from tests.serve.grpc_channels import call, channel_to, refusal, stream
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S, eventually

STREAM = f"{messages.SERVICE}/ModelStreamInfer"
FLOATS = np.array([[1.5, -2]], np.float32)


def infer(id: str = "", name: str = "x", model: str = "double") -> Any:
    message = messages.ModelInferRequest(model_name=model, id=id, raw_input_contents=[FLOATS.tobytes()])
    message.inputs.add(name=name, datatype="FP32", shape=[1, 2])
    return message


async def replies(call: Any, count: int) -> list[Any]:
    return [await call.read() for _ in range(count)]


# -- streams ---------------------------------------------------------------------------------------------------------


async def test_a_stream_is_answered_in_order_and_goes_on_after_errors() -> None:
    async with channel_to([whole_service()], dispatcher_of(entry()).answer) as (channel, *_):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        for message in (infer("1"), infer("2", name="z"), infer("3", model="nobody"), infer("4")):
            await call.write(message)
        await call.done_writing()
        answers = [answer async for answer in call]
        assert await call.code() == grpc.StatusCode.OK
    assert [answer.infer_response.id for answer in answers] == ["1", "2", "3", "4"]
    assert [answer.error_message for answer in answers] == [
        "",
        "model 'double' takes the inputs 'x': FP32[*,2]; got 'z'",
        "model 'nobody' is not served here",
        "",
    ]
    last = answers[3].infer_response
    assert list(last.raw_output_contents) == [np.array([3, -4], np.float32).tobytes()]
    assert last.parameters["triton_final_response"].bool_param is True


async def test_bytes_that_are_no_message_do_not_end_a_stream() -> None:
    async with channel_to([whole_service()], dispatcher_of(entry()).answer) as (channel, *_):
        call = channel.stream_stream(f"/{STREAM}", None, messages.ModelStreamInferResponse.FromString)(timeout=10)
        await call.write(b"\xff")
        await call.write(infer("2").SerializeToString())
        first, second = await replies(call, 2)
        await call.done_writing()
    assert first.error_message == "expected a message inference.ModelInferRequest, got 1 other bytes"
    assert second.infer_response.id == "2"


class Gated:
    """Answers when the test opens the gate, those that are named at once."""

    def __init__(self, *at_once: str) -> None:
        self.at_once = at_once
        self.started: list[str] = []
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def answer(self, query: Query) -> Answer:
        assert isinstance(query, InferenceRequest)
        self.started.append(query.id)
        try:
            if query.id not in self.at_once:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return InferenceResponse(query.model, "1", query.id, {"y": FLOATS})


async def test_a_later_answer_waits_for_an_earlier_one() -> None:
    gated = Gated("2")
    async with channel_to([whole_service()], gated.answer) as (channel, *_):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        await call.write(infer("1"))
        await call.write(infer("2"))
        await eventually(lambda: gated.started == ["1", "2"])
        gated.gate.set()
        assert [answer.infer_response.id for answer in await replies(call, 2)] == ["1", "2"]
        await call.done_writing()


async def test_a_stream_has_a_bounded_number_of_messages_under_way() -> None:
    gated = Gated()
    count = AT_ONCE + 40
    async with channel_to([whole_service()], gated.answer) as (channel, *_):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        writing = asyncio.ensure_future(write_all(call, [infer(str(number)) for number in range(count)]))
        await eventually(lambda: len(gated.started) == AT_ONCE)
        await asyncio.sleep(0.1)
        assert len(gated.started) == AT_ONCE
        gated.gate.set()
        answers = await replies(call, count)
        await writing
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(count)]


async def write_all(call: Any, sent: list[Any]) -> None:
    for message in sent:
        await call.write(message)
    await call.done_writing()


async def test_a_client_that_leaves_takes_its_stream_s_work_along() -> None:
    gated = Gated("1")
    async with channel_to([whole_service()], gated.answer) as (channel, *_):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        for id in "123":
            await call.write(infer(id))
        await eventually(lambda: len(gated.started) == 3)
        call.cancel()
        await eventually(lambda: gated.cancelled == 2)


async def test_rows_of_a_stream_that_was_left_leave_the_queue() -> None:
    dispatcher = dispatcher_of(entry(), executor=GatedExecutor(slots=0))
    queue = dispatcher.loaded[("double", 1)].default.queue
    async with channel_to([whole_service()], dispatcher.answer) as (channel, *_):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        await call.write(infer("1"))
        await call.write(infer("2"))
        await eventually(lambda: queue.waiting_rows == 2)
        call.cancel()
        await eventually(lambda: queue.waiting_rows == 0)


async def test_a_stream_that_is_held_open_ends_when_the_server_stops_and_what_was_sent_is_answered() -> None:
    gated = Gated()
    async with channel_to([whole_service()], gated.answer) as (channel, _, door):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        await call.write(infer("1"))
        await eventually(lambda: gated.started == ["1"])
        stopping = asyncio.ensure_future(door.stop(10))
        gated.gate.set()
        assert [answer.infer_response.id async for answer in call] == ["1"]
        assert await call.code() == grpc.StatusCode.OK
        async with asyncio.timeout(PATIENCE_S):
            await stopping


async def test_streams_and_their_messages_count_until_they_end() -> None:
    async with channel_to([whole_service()], dispatcher_of(entry()).answer, max_requests=1) as (channel, *_):
        for _ in range(3):
            call = stream(channel, STREAM, messages.ModelStreamInferResponse)
            for id in "123":
                await call.write(infer(id))
                (answer,) = await replies(call, 1)
                assert (answer.error_message, answer.infer_response.id) == ("", id)
            await call.done_writing()
            assert (await call.code()).name == "OK"


async def test_messages_of_a_stream_count_as_requests() -> None:
    gated = Gated()
    async with channel_to([whole_service()], gated.answer, max_requests=1) as (channel, *_):
        call = stream(channel, STREAM, messages.ModelStreamInferResponse)
        await call.write(infer("1"))
        await eventually(lambda: gated.started == ["1"])
        await call.write(infer("2"))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream(channel, STREAM, messages.ModelStreamInferResponse).read()
        gated.gate.set()
        first, second = await replies(call, 2)
        await call.done_writing()
    assert refused.value.details() == "1 streams are under way, as many as may be; try again later"
    assert (first.infer_response.id, first.error_message) == ("1", "")
    assert second.infer_response.id == "2"
    assert second.error_message == "1 requests are under way, as many as may be; try again later"


# -- models ----------------------------------------------------------------------------------------------------------


async def test_server_metadata_lists_what_is_offered() -> None:
    async with channel_to([whole_service()], dispatcher_of().answer) as (channel, *_):
        answer = await call(
            channel,
            f"{messages.SERVICE}/ServerMetadata",
            messages.ServerMetadataRequest(),
            messages.ServerMetadataResponse,
        )
    assert (answer.name, answer.version) == ("onegate", VERSION)
    assert list(answer.extensions) == [
        "classification",
        "model_configuration",
        "model_repository",
        "parameters",
        "schedule_policy",
        "statistics",
    ]


async def test_model_metadata_and_configuration() -> None:
    inputs = (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,)))
    batching = Batching(max_batch_size=16, max_delay_ms=1.5, preferred=(4, 8))
    version = entry(version=3, inputs=inputs, batching=batching)
    labelled = msgspec.structs.replace(version, manifest=msgspec.structs.replace(version.manifest, labels=("a", "b")))
    async with channel_to([whole_service()], dispatcher_of(labelled).answer) as (channel, *_):
        metadata = await call(
            channel,
            f"{messages.SERVICE}/ModelMetadata",
            messages.ModelMetadataRequest(name="double"),
            messages.ModelMetadataResponse,
        )
        answer = await call(
            channel,
            f"{messages.SERVICE}/ModelConfig",
            messages.ModelConfigRequest(name="double", version="3"),
            messages.ModelConfigResponse,
        )
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("double", ["3"], "onnx_onnxv1")
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("x", "FP32", [-1, 2]),
        ("s", "BYTES", [-1]),
    ]
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.outputs] == [("y", "FP32", [-1, 2])]
    config = answer.config
    assert (config.name, config.platform, config.backend, config.max_batch_size) == (
        "double",
        "onnx_onnxv1",
        "onnxruntime",
        16,
    )
    types = config.DESCRIPTOR.file.enum_types_by_name["DataType"]
    assert [(each.name, types.values_by_number[each.data_type].name, list(each.dims)) for each in config.input] == [
        ("x", "TYPE_FP32", [2]),
        ("s", "TYPE_STRING", [1]),
    ]
    assert config.input[1].HasField("reshape")
    assert (config.output[0].name, config.output[0].label_filename) == ("y", "labels.txt")
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 8]
    assert config.dynamic_batching.max_queue_delay_microseconds == 1500
    assert (config.instance_group[0].count, config.version_policy.latest.num_versions) == (1, 1)


async def test_statistics() -> None:
    asked: list[Query] = []
    counted = VersionStatistics("double", "3", last_inference_ms=1700000000000, rows=7)
    counted.unrecorded_success, counted.queue = Duration(5, 500), Duration(5, 50)
    counted.compute = {1: Duration(1, 10), 3: Duration(2, 60)}

    async def answer(query: Query) -> Answer:
        asked.append(query)
        return Statistics((counted,))

    async with channel_to([whole_service()], answer) as (channel, *_):
        method, reply = f"{messages.SERVICE}/ModelStatistics", messages.ModelStatisticsResponse
        (told,) = (await call(channel, method, messages.ModelStatisticsRequest(), reply)).model_stats
        await call(channel, method, messages.ModelStatisticsRequest(name="double", version="3"), reply)
    assert asked == [StatisticsQuery(), StatisticsQuery("double", "3")]
    assert (told.name, told.version, told.last_inference) == ("double", "3", 1700000000000)
    assert (told.inference_count, told.execution_count) == (7, 3)
    times = told.inference_stats
    assert (times.success.count, times.success.ns, times.queue.ns) == (5, 500, 50)
    assert (times.compute_infer.count, times.compute_infer.ns) == (3, 70)
    assert [(each.batch_size, each.compute_infer.count, each.compute_infer.ns) for each in told.batch_stats] == [
        (1, 1, 10),
        (3, 2, 60),
    ]


# -- repository ------------------------------------------------------------------------------------------------------


async def test_repository_calls_are_operations() -> None:
    asked: list[Query] = []

    async def answer(query: Query) -> Answer:
        asked.append(query)
        ready = VersionStatus(version="3", state="READY", default=True)
        failed = VersionStatus(version="4", state="FAILED", reason="no such file")
        stored = VersionStatus(version="1", state="STORED")
        return ModelList((ModelStatus("m", (stored, ready, failed)),))

    load = messages.RepositoryModelLoadRequest(model_name="m", repository_name="r")
    load.parameters["config"].string_param = '{"max_batch_size": 4}'
    load.parameters["file:5/model.onnx"].bytes_param = b"\x08\x01"
    unload = messages.RepositoryModelUnloadRequest(model_name="m")
    unload.parameters["unload_dependents"].bool_param = True
    async with channel_to([whole_service()], answer) as (channel, *_):
        index, reply = f"{messages.SERVICE}/RepositoryIndex", messages.RepositoryIndexResponse
        everything = await call(channel, index, messages.RepositoryIndexRequest(), reply)
        ready = await call(channel, index, messages.RepositoryIndexRequest(ready=True), reply)
        await call(channel, f"{messages.SERVICE}/RepositoryModelLoad", load, messages.RepositoryModelLoadResponse)
        await call(channel, f"{messages.SERVICE}/RepositoryModelUnload", unload, messages.RepositoryModelUnloadResponse)
    assert [(each.name, each.version, each.state, each.reason) for each in everything.models] == [
        ("m", "1", "UNAVAILABLE", "unloaded"),
        ("m", "3", "READY", ""),
        ("m", "4", "UNAVAILABLE", "no such file"),
    ]
    assert [each.version for each in ready.models] == ["3"]
    assert asked[:2] == [ListModels(stored=True)] * 2
    loaded = asked[2]
    assert isinstance(loaded, LoadModel)
    assert (loaded.model, loaded.version, loaded.files) == ("m", "5", {"model.onnx": b"\x08\x01"})
    assert loaded.settings["serve"]["batching"]["max_batch_size"] == 4
    assert asked[3] == UnloadModel(model="m", wait=False)


async def test_an_operation_that_fails_has_the_code_of_its_kind() -> None:
    async def answer(query: Query) -> Answer:
        raise ModelNotFound("model 'm' is not in the store")

    async with channel_to([whole_service()], answer) as (channel, *_):
        method = f"{messages.SERVICE}/RepositoryModelLoad"
        assert await refusal(channel, method, messages.RepositoryModelLoadRequest(model_name="m")) == (
            "NOT_FOUND",
            "model 'm' is not in the store",
        )
        escaping = messages.RepositoryModelLoadRequest(model_name="m")
        escaping.parameters["config"].string_param = "{}"
        escaping.parameters["file:1/../../etc/x"].bytes_param = b""
        code, text = await refusal(channel, method, escaping)
    assert (code, text.split(",")[0]) == (
        "INVALID_ARGUMENT",
        "expected 'file:<version>/<name>' with a path inside the version",
    )


# -- models without a name -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    ["ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig", "RepositoryModelLoad", "RepositoryModelUnload"],
)
async def test_a_model_must_be_named_even_where_there_is_only_one(method: str) -> None:
    message = getattr(messages, f"{method}Request")()
    async with channel_to([whole_service()], dispatcher_of(entry()).answer) as (channel, *_):
        assert await refusal(channel, f"{messages.SERVICE}/{method}", message) == (
            "INVALID_ARGUMENT",
            "the message names no model; there is no default one here",
        )


# -- what is not offered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("SystemSharedMemoryStatus", "shared memory is not offered here; send the tensor in the request"),
        ("SystemSharedMemoryRegister", "shared memory is not offered here; send the tensor in the request"),
        ("SystemSharedMemoryUnregister", "shared memory is not offered here; send the tensor in the request"),
        ("CudaSharedMemoryStatus", "shared memory is not offered here; send the tensor in the request"),
        ("CudaSharedMemoryRegister", "shared memory is not offered here; send the tensor in the request"),
        ("CudaSharedMemoryUnregister", "shared memory is not offered here; send the tensor in the request"),
        ("TraceSetting", "tracing can't be set over the protocol"),
        ("LogSettings", "logging can't be set over the protocol"),
    ],
)
async def test_extensions_that_are_not_offered_say_why(method: str, text: str) -> None:
    async with channel_to([whole_service()], dispatcher_of().answer) as (channel, *_):
        message = getattr(messages, f"{method}Request")()
        assert await refusal(channel, f"{messages.SERVICE}/{method}", message) == ("UNIMPLEMENTED", text)


async def test_replicas_offer_the_core_only() -> None:
    assert sorted(core_service().methods) == [
        "ModelInfer", "ModelMetadata", "ModelReady", "ServerLive", "ServerMetadata", "ServerReady",
    ]  # fmt: skip
    async with channel_to([core_service()], dispatcher_of().answer) as (channel, *_):
        code, _ = await refusal(channel, f"{messages.SERVICE}/ModelConfig", messages.ModelConfigRequest())
    assert code == "UNIMPLEMENTED"


async def test_torchserve_s_package_has_the_same_core() -> None:
    async with channel_to([core_service(OPEN_INFERENCE_SERVICE)], dispatcher_of(entry()).answer) as (channel, *_):
        answer = await call(channel, f"{OPEN_INFERENCE_SERVICE}/ModelInfer", infer("a1"), messages.ModelInferResponse)
    assert (answer.id, list(answer.raw_output_contents)) == ("a1", [np.array([3, -4], np.float32).tobytes()])


# -- Triton's own client ---------------------------------------------------------------------------------------------


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    dispatcher = dispatcher_of(entry(version=3))
    async with (
        channel_to([whole_service()], dispatcher.answer) as (_, target, _door),
        triton.InferenceServerClient(target) as client,
    ):
        yield client


def triton_input(values: np.ndarray) -> Any:
    tensor = triton.InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return tensor


async def test_triton_s_client_asks_and_infers(client: Any) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("double")
    assert not await client.is_model_ready("nobody")
    assert (await client.get_model_config("double")).config.max_batch_size == 64
    result = await client.infer("double", [triton_input(FLOATS)], request_id="a1", priority=1, timeout=5_000_000)
    assert result.as_numpy("y").tolist() == [[3, -4]]
    assert result.get_response().id == "a1"
    classes = triton.InferRequestedOutput("y", class_count=1)
    result = await client.infer("double", [triton_input(FLOATS)], outputs=[classes])
    assert result.as_numpy("y").tolist() == [[b"3.000000:0"]]
    with pytest.raises(InferenceServerException, match="model 'nobody' is not served here"):
        await client.infer("nobody", [triton_input(FLOATS)])


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_triton_s_client_may_compress(client: Any, packing: str) -> None:
    result = await client.infer("double", [triton_input(FLOATS)], compression_algorithm=packing)
    assert result.as_numpy("y").tolist() == [[3, -4]]


async def test_triton_s_client_streams(client: Any) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            values = np.full((1, 2), number, np.float32)
            wrong = {"model_name": "nobody"} if number == 1 else {"model_name": "double"}
            yield {**wrong, "inputs": [triton_input(values)], "request_id": str(number),
                   "enable_empty_final_response": True}  # fmt: skip

    results = [answer async for answer in client.stream_infer(requests())]
    assert [None if error is None else error.message() for _, error in results] == [
        None,
        "model 'nobody' is not served here",
        None,
    ]
    assert [result.as_numpy("y").tolist() for result, error in results if error is None] == [[[0, 0]], [[4, 4]]]
