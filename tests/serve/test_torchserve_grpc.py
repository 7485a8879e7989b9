"""TorchServe's gRPC services on real sockets: predictions of a real processor, and management calls as operations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from model_store.errors import Conflict, Forbidden
from serve.dialects.torchserve_grpc import decode_request, predictions_service
from serve.dialects.torchserve_grpc_management import management_service
from serve.dispatcher import Dispatcher
from serve.executors.inline import build_inline_executor
from serve.inference import Answer, InferenceResponse, Payload, Query
from serve.lanes import LoadedVersion
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    ScaleModel,
    SetDefault,
    UnloadModel,
    VersionStatus,
)
from serve.protocols import torchserve as messages
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from serve.runtimes.processing import ProcessingRuntime
from tests.serve.grpc_channels import call, channel_to, refusal, serialised, stream
from tests.serve.tiny_versions import FunctionRuntime, entry, manifest

INFERENCE = f"{messages.INFERENCE}.InferenceAPIsService"
MANAGEMENT = f"{messages.MANAGEMENT}.ManagementAPIsService"
NOT_FOUND, INVALID_ARGUMENT = 5, 3


def asking(model: str = "double", version: str = "", sequence: str | None = None, **inputs: bytes) -> Any:
    return messages.PredictionsRequest(model_name=model, model_version=version, input=inputs, sequence_id=sequence)


# -- predictions -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def dispatcher() -> AsyncIterator[Dispatcher]:
    """The model `double` behind the JSON processor; its version 1 has the label `stable`."""
    version = entry()
    dispatcher = Dispatcher(
        Router(RoutingTable(1, "./store", (version,), {"double": ModelRoute(((1, 100),), {"stable": 1})}))
    )
    runtime = ProcessingRuntime(FunctionRuntime(), manifest(), threads=1)
    executor = build_inline_executor(runtime, version.manifest, max_batch_size=4)
    dispatcher.loaded[version.key] = LoadedVersion(version, executor)
    yield dispatcher
    await executor.close()


@pytest.fixture
async def channel(dispatcher: Dispatcher) -> AsyncIterator[Any]:
    async with channel_to([predictions_service()], dispatcher.answer) as (channel, *_):
        yield channel


async def predict(channel: Any, message: Any) -> Any:
    return await call(channel, f"{INFERENCE}/Predictions", message, messages.PredictionResponse)


@pytest.mark.parametrize("version", ["", "1", "stable"])
@pytest.mark.parametrize("name", ["data", "body", "x"])
async def test_inputs_are_answered_with_bytes(channel: Any, name: str, version: str) -> None:
    answer = await predict(channel, asking(version=version, **{name: b"[1, 2]"}))
    assert json.loads(answer.prediction) == [2, 4]
    assert not answer.HasField("status")


async def test_a_stream_of_one_request_has_one_answer(channel: Any) -> None:
    method = f"/{INFERENCE}/StreamPredictions"
    stub = channel.unary_stream(method, serialised, messages.PredictionResponse.FromString)
    answers = [answer async for answer in stub(asking(data=b"[1, 2]"), timeout=10)]
    assert [json.loads(answer.prediction) for answer in answers] == [[2, 4]]


async def test_a_stream_both_ways_tells_errors_in_its_answers(channel: Any) -> None:
    call = stream(channel, f"{INFERENCE}/StreamPredictions2", messages.PredictionResponse)
    for message in (
        asking(sequence="a", data=b"[1, 2]"),
        asking(data=b"[1, 2]"),
        asking("nobody", sequence="b", data=b"[1, 2]"),
        asking(sequence="c", data=b"[3, 4]"),
    ):
        await call.write(message)
    await call.done_writing()
    first, unnamed, unknown, last = [answer async for answer in call]
    assert (json.loads(first.prediction), first.sequence_id) == ([2, 4], "a")
    assert (unnamed.status.code, unnamed.status.message) == (INVALID_ARGUMENT, "Parameter sequenceId is required.")
    assert (unknown.sequence_id, unknown.status.code, unknown.status.message) == (
        "b",
        NOT_FOUND,
        "Model not found: nobody",
    )
    assert (json.loads(last.prediction), last.sequence_id) == ([6, 8], "c")


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (asking("nobody", data=b"[1]"), "NOT_FOUND", "Model not found: nobody"),
        (asking(version="7", data=b"[1]"), "NOT_FOUND", "Model version: 7 does not exist for model: double"),
        (asking("", data=b"[1]"), "INVALID_ARGUMENT", "Parameter model_name is required."),
    ],
)
async def test_a_wrong_request_is_refused(channel: Any, message: Any, code: str, text: str) -> None:
    found, told = await refusal(channel, f"{INFERENCE}/Predictions", message)
    assert (found, told[: len(text)]) == (code, text)


async def test_a_body_that_can_not_be_read_is_the_client_s_mistake(channel: Any) -> None:
    code, _ = await refusal(channel, f"{INFERENCE}/Predictions", asking(data=b"no JSON"))
    assert code == "INVALID_ARGUMENT"


def test_inputs_are_the_fields_of_a_form() -> None:
    request = decode_request(asking(a=b"1", b=b"2"), deadline=5.0)
    assert request.payload == Payload(b"", "", fields={"a": b"1", "b": b"2"})
    assert (request.model, request.signature, request.deadline) == ("double", "payload", 5.0)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (409, "ABORTED"),
        (413, "RESOURCE_EXHAUSTED"),
        (418, "FAILED_PRECONDITION"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (507, "RESOURCE_EXHAUSTED"),
    ],
)
async def test_a_handler_s_status_has_its_code(status: int, code: str) -> None:
    async def answer(query: Query) -> Answer:
        body = b'{"code": %d, "type": "T", "message": "what is wrong"}' % status
        return InferenceResponse("m", "1", payload=Payload(body, "application/json", status=status))

    async with channel_to([predictions_service()], answer) as (channel, *_):
        assert await refusal(channel, f"{INFERENCE}/Predictions", asking()) == (code, "what is wrong")


@pytest.mark.parametrize(
    ("body", "text"), [(b"out of luck\nTraceback", "out of luck"), (b"", "the handler answered with status 500")]
)
async def test_a_handler_s_own_words_are_told_in_one_line(body: bytes, text: str) -> None:
    async def answer(query: Query) -> Answer:
        return InferenceResponse("m", "1", payload=Payload(body, "text/plain", status=500))

    async with channel_to([predictions_service()], answer) as (channel, *_):
        assert await refusal(channel, f"{INFERENCE}/Predictions", asking()) == ("INTERNAL", text)


async def test_ping_tells_whether_all_models_can_be_called(channel: Any, dispatcher: Dispatcher) -> None:
    async def ping() -> Any:
        answer = await call(channel, f"{INFERENCE}/Ping", messages.Empty(), messages.TorchServeHealthResponse)
        return answer.health

    assert await ping() == '{\n  "status": "Healthy"\n}'
    dispatcher.loaded.clear()
    assert json.loads(await ping()) == {"status": "Unhealthy"}


# -- management ------------------------------------------------------------------------------------------------------


class Controller:
    """Remembers what was asked, and answers with the model `m` of two versions."""

    def __init__(self, ready: int = 2) -> None:
        self.asked: list[Query] = []
        self.ready = ready

    async def answer(self, query: Query) -> Answer:
        self.asked.append(query)
        first = VersionStatus(
            version="1.0", state="READY", default=True, source="/old.mar", replicas_ready=1, replicas_wanted=1
        )
        second = VersionStatus(
            version="2.0", state="READY", source="/store/m.mar", replicas_ready=self.ready, replicas_wanted=2
        )
        return ModelList((ModelStatus("m", (first, second)),))

    async def managed(self, method: str, message: Any) -> str:
        async with channel_to([management_service()], self.answer) as (channel, *_):
            answer = await call(channel, f"{MANAGEMENT}/{method}", message, messages.ManagementResponse)
            text: str = answer.msg
            return text


async def test_models_are_registered() -> None:
    controller = Controller()
    message = messages.RegisterModelRequest(
        url="m.mar", model_name="m", initial_workers=2, synchronous=True, batch_size=4, response_timeout=5
    )
    assert await controller.managed("RegisterModel", message) == (
        'Model "m" Version: 2.0 registered with 2 initial workers'
    )
    (operation,) = controller.asked
    assert isinstance(operation, LoadModel)
    assert (operation.model, operation.source, operation.replace, operation.wait) == ("m", "m.mar", False, True)
    assert operation.settings["serve"]["replicas"] == 2
    assert operation.settings["serve"]["batching"] == {"max_batch_size": 4}
    assert operation.settings["serve"]["deadline_ms"] == 5000


async def test_a_registration_that_waits_for_nothing_is_told_so() -> None:
    message = messages.RegisterModelRequest(url="m.mar", initial_workers=2)
    assert await Controller().managed("RegisterModel", message) == "Processing worker updates..."


async def test_workers_are_scaled() -> None:
    controller = Controller()
    message = messages.ScaleWorkerRequest(model_name="m", model_version="2.0", min_worker=2, synchronous=True)
    assert await controller.managed("ScaleWorker", message) == "Workers scaled to 2 for model: m, version: 2.0"
    assert controller.asked == [ScaleModel(model="m", version="2.0", replicas=2, wait=True)]
    assert await Controller(ready=1).managed("ScaleWorker", message) == "Workers scaling in progress..."
    message = messages.ScaleWorkerRequest(model_name="m")
    assert await controller.managed("ScaleWorker", message) == "Processing worker updates..."
    assert controller.asked[-1] == ScaleModel(model="m", replicas=1, wait=False)


async def test_the_default_version_is_set() -> None:
    controller = Controller()
    message = messages.SetDefaultRequest(model_name="m", model_version="2.0")
    assert await controller.managed("SetDefault", message) == (
        'Default version successfully updated for model "m" to "2.0"'
    )
    assert controller.asked == [SetDefault(model="m", version="2.0")]


async def test_models_and_versions_are_unregistered() -> None:
    controller = Controller()
    message = messages.UnregisterModelRequest(model_name="m", model_version="1.0")
    assert await controller.managed("UnregisterModel", message) == 'Model "m" unregistered'
    await controller.managed("UnregisterModel", messages.UnregisterModelRequest(model_name="m"))
    assert controller.asked == [
        UnloadModel(model="m", version="1.0", default_version=True),
        UnloadModel(model="m", default_version=True),
    ]


async def test_models_are_described() -> None:
    controller = Controller()
    one = json.loads(await controller.managed("DescribeModel", messages.DescribeModelRequest(model_name="m")))
    every = messages.DescribeModelRequest(model_name="m", model_version="all")
    both = json.loads(await controller.managed("DescribeModel", every))
    assert [each["modelVersion"] for each in one] == ["1.0"]
    assert [(each["modelName"], each["modelVersion"], each["minWorkers"]) for each in both] == [
        ("m", "1.0", 1),
        ("m", "2.0", 2),
    ]
    assert controller.asked == [InspectModel(model="m")] * 2


@pytest.mark.parametrize("limit", [0, 5])
async def test_models_are_listed(limit: int) -> None:
    controller = Controller()
    text = await controller.managed("ListModels", messages.ListModelsRequest(limit=limit))
    assert json.loads(text) == {"models": [{"modelName": "m", "modelUrl": "/old.mar"}]}
    assert controller.asked == [ListModels()]


@pytest.mark.parametrize(
    ("method", "message", "text"),
    [
        ("RegisterModel", messages.RegisterModelRequest(), "Parameter url is required."),
        ("ScaleWorker", messages.ScaleWorkerRequest(), "Parameter model_name is required."),
        (
            "ScaleWorker",
            messages.ScaleWorkerRequest(model_name="m", min_worker=3, max_worker=1),
            "max_worker cannot be less than min_worker.",
        ),
        ("SetDefault", messages.SetDefaultRequest(model_name="m"), "Parameter model_version is required."),
        ("UnregisterModel", messages.UnregisterModelRequest(), "Parameter model_name is required."),
        ("DescribeModel", messages.DescribeModelRequest(), "Parameter model_name is required."),
    ],
)
async def test_a_call_without_what_it_needs_is_refused(method: str, message: Any, text: str) -> None:
    async with channel_to([management_service()], Controller().answer) as (channel, *_):
        assert await refusal(channel, f"{MANAGEMENT}/{method}", message) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(("error", "code"), [(Forbidden("not here"), "PERMISSION_DENIED"), (Conflict("x"), "ABORTED")])
async def test_what_the_controller_refuses_has_its_code(error: Exception, code: str) -> None:
    async def answer(query: Query) -> Answer:
        raise error

    async with channel_to([management_service()], answer) as (channel, *_):
        message = messages.UnregisterModelRequest(model_name="m")
        assert await refusal(channel, f"{MANAGEMENT}/UnregisterModel", message) == (code, str(error))
