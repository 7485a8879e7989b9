"""The gRPC front door on real sockets: the Open Inference service and one version that doubles."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from model_store.errors import ERROR_KINDS, Overloaded
from serve.dialects.open_inference_service import core_service
from serve.errors import status_of
from serve.front_doors.grpc import GrpcFrontDoor
from serve.inference import Answer, Query
from serve.protocols import open_inference as messages
from serve.shared_memory import RegionPool
from serve.version import VERSION
from tests.serve.grpc_channels import channel_to, serialised
from tests.serve.tiny_versions import GatedExecutor, dispatcher_of, entry
from tests.serve.waiting import PATIENCE_S, eventually

FLOATS = np.array([[1.5, -2]], np.float32)


class Client:
    """Calls by the names of the protocol's methods, over one channel."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def start(self, method: str, message: Any, **options: Any) -> Any:
        """A call under way."""
        reply = getattr(messages, f"{method}Response")
        stub = self.channel.unary_unary(f"/{messages.SERVICE}/{method}", serialised, reply.FromString)
        return stub(message, **{"timeout": 10} | options)

    async def call(self, method: str, message: Any, **options: Any) -> Any:
        return await self.start(method, message, **options)

    async def refusal(self, method: str, message: Any, **options: Any) -> tuple[str, str]:
        """Code and text of a call that fails."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(method, message, **options)
        return refused.value.code().name, refused.value.details()


@asynccontextmanager
async def served(
    answer: Callable[[Query], Awaitable[Answer]], address: str = "127.0.0.1:0", **options: Any
) -> AsyncIterator[Client]:
    async with channel_to([core_service()], answer, address, **options) as (channel, *_):
        yield Client(channel)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """The model `double`, and the model `loading` that is not ready."""
    dispatcher = dispatcher_of(entry(version=3), unavailable={"loading": "it is loading; try again shortly"})
    async with served(dispatcher.answer) as client:
        yield client


def infer(model: str = "double", name: str = "x", **fields: Any) -> Any:
    message = messages.ModelInferRequest(model_name=model, raw_input_contents=[FLOATS.tobytes()], **fields)
    message.inputs.add(name=name, datatype="FP32", shape=[1, 2])
    return message


# -- answers ---------------------------------------------------------------------------------------------------------


async def test_a_raw_request_is_answered_raw(client: Client) -> None:
    answer = await client.call("ModelInfer", infer(id="a1"))
    assert (answer.model_name, answer.model_version, answer.id) == ("double", "3", "a1")
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.outputs] == [("y", "FP32", [1, 2])]
    assert list(answer.raw_output_contents) == [np.array([3, -4], np.float32).tobytes()]


async def test_a_typed_request_is_answered_typed(client: Client) -> None:
    message = messages.ModelInferRequest(model_name="double")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1.5, -2])
    answer = await client.call("ModelInfer", message)
    assert list(answer.outputs[0].contents.fp32_contents) == [3, -4]
    assert list(answer.raw_output_contents) == []


async def test_a_request_of_several_megabytes_is_answered(client: Client) -> None:
    tensor = np.ones((1_000_000, 2), np.float32)
    message = messages.ModelInferRequest(model_name="double", raw_input_contents=[tensor.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=tensor.shape)
    (raw,) = (await client.call("ModelInfer", message)).raw_output_contents
    assert len(raw) == 8_000_000
    assert np.frombuffer(raw, np.float32).sum() == 4_000_000


async def test_questions_about_the_model(client: Client) -> None:
    answer = await client.call("ModelReady", messages.ModelReadyRequest(name="double"))
    assert answer.ready is True
    answer = await client.call("ModelReady", messages.ModelReadyRequest(name="double", version="3"))
    assert answer.ready is True
    answer = await client.call("ModelReady", messages.ModelReadyRequest(name="loading"))
    assert answer.ready is False
    answer = await client.call("ModelMetadata", messages.ModelMetadataRequest(name="double"))
    assert (answer.name, list(answer.versions), answer.platform) == ("double", ["3"], "onnx_onnxv1")
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.inputs] == [("x", "FP32", [-1, 2])]


async def test_questions_about_the_server(client: Client) -> None:
    assert (await client.call("ServerLive", messages.ServerLiveRequest())).live is True
    assert (await client.call("ServerReady", messages.ServerReadyRequest())).ready is False
    answer = await client.call("ServerMetadata", messages.ServerMetadataRequest())
    assert (answer.name, answer.version) == ("onegate", VERSION)


async def test_a_server_whose_models_can_all_be_called_is_ready() -> None:
    async with served(dispatcher_of(entry()).answer) as client:
        assert (await client.call("ServerReady", messages.ServerReadyRequest())).ready is True


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (infer("nobody"), "NOT_FOUND", "model 'nobody' is not served here"),
        (infer(model_version="4"), "NOT_FOUND", "model 'double' has no version 4 here; callable: 3"),
        (infer(model_version="four"), "NOT_FOUND", "model 'double' has no label 'four'; labels: none"),
        (infer("loading"), "UNAVAILABLE", "model 'loading' can't be called now: it is loading; try again shortly"),
        (infer(name="z"), "INVALID_ARGUMENT", "model 'double' takes the inputs 'x': FP32[*,2]; got 'z'"),
    ],
)
async def test_a_wrong_request_is_refused(client: Client, message: Any, code: str, text: str) -> None:
    assert await client.refusal("ModelInfer", message) == (code, text)


async def test_an_unknown_model_is_not_ready_and_has_no_metadata(client: Client) -> None:
    assert (await client.call("ModelReady", messages.ModelReadyRequest(name="nobody"))).ready is False
    expected = ("NOT_FOUND", "model 'nobody' is not served here")
    assert await client.refusal("ModelMetadata", messages.ModelMetadataRequest(name="nobody")) == expected


async def test_a_method_that_is_not_served_is_unimplemented(client: Client) -> None:
    stub = client.channel.unary_unary(f"/{messages.SERVICE}/SystemSharedMemoryStatus")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(b"", timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("name", sorted(ERROR_KINDS))
async def test_every_kind_of_error_has_its_code(name: str) -> None:
    error = ERROR_KINDS[name]("expected 1, got 2")

    async def answer(query: Query) -> Answer:
        raise error

    async with served(answer) as client:
        assert await client.refusal("ModelInfer", infer()) == (status_of(error).grpc, "expected 1, got 2")


async def test_an_unknown_exception_is_answered_with_an_id_only(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(query: Query) -> Answer:
        raise FileNotFoundError(2, "No such file or directory", "/var/secret/weights")

    async with served(answer) as client:
        code, text = await client.refusal("ModelInfer", infer())
    assert code == "INTERNAL"
    assert text.startswith("internal error ")
    assert "secret" not in text
    assert text.split(";")[0] in caplog.text


async def test_a_message_over_the_limit_is_refused() -> None:
    async with served(dispatcher_of(entry()).answer, max_message_bytes=1000) as client:
        assert len((await client.call("ModelInfer", infer())).outputs) == 1
        code, _ = await client.refusal("ModelInfer", infer(id="a" * 1000))
    assert code == "RESOURCE_EXHAUSTED"


async def test_bytes_that_are_no_message_are_the_client_s_mistake(client: Client) -> None:
    stub = client.channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(b"\xff\xff\xff", timeout=10)
    assert (refused.value.code().name, refused.value.details()) == (
        "INVALID_ARGUMENT",
        "expected a message inference.ModelInferRequest, got 3 other bytes",
    )


@pytest.mark.parametrize("packing", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_message_is_unpacked_up_to_the_limit(packing: Any) -> None:
    async with served(dispatcher_of(entry()).answer, max_message_bytes=1_000_000) as client:
        assert len((await client.call("ModelInfer", infer(), compression=packing)).outputs) == 1
        bomb = messages.ModelInferRequest(model_name="double", raw_input_contents=[bytes(30_000_000)])
        code, text = await client.refusal("ModelInfer", bomb, compression=packing)
    assert (code, text) == ("RESOURCE_EXHAUSTED", "Decompressed message larger than max")


@pytest.mark.parametrize(
    ("letter", "told"), [("m", 2041), ("\N{GRINNING FACE}", 510), ("\N{CJK UNIFIED IDEOGRAPH-578B}", 680)]
)
async def test_a_text_that_is_too_long_for_a_trailer_is_cut(client: Client, letter: str, told: int) -> None:
    code, text = await client.refusal("ModelInfer", infer(letter * 50_000))
    assert (code, text) == ("NOT_FOUND", "model '" + letter * told)


async def test_more_requests_than_may_be_are_refused_at_once() -> None:
    executor = GatedExecutor()
    async with served(dispatcher_of(entry(), executor=executor).answer, max_requests=2) as client:
        under_way = [client.start("ModelInfer", infer()) for _ in range(2)]
        await eventually(lambda: executor.started > 0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ServerLive", messages.ServerLiveRequest())
        executor.gate.set()
        await asyncio.gather(*under_way)
        assert (await client.call("ServerLive", messages.ServerLiveRequest())).live is True
    assert refused.value.code().name == "RESOURCE_EXHAUSTED"
    assert refused.value.details() == "2 requests are under way, as many as may be; try again later"
    told = dict(refused.value.trailing_metadata())
    assert told.keys() == {"retry-after", "onegate-error", "x-request-id"}
    assert (told["retry-after"], told["onegate-error"]) == ("1", "Overloaded")


async def test_an_overloaded_model_says_when_to_come_again() -> None:
    async def answer(query: Query) -> Answer:
        raise Overloaded("the queue is full", retry_after_s=2.5)

    async with served(answer) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ModelInfer", infer())
    told = dict(refused.value.trailing_metadata())
    assert told.keys() == {"retry-after", "onegate-error", "x-request-id"}
    assert (told["retry-after"], told["onegate-error"]) == ("3", "Overloaded")


# -- shared memory ---------------------------------------------------------------------------------------------------


async def test_nobody_s_memory_is_looked_into() -> None:
    region = RegionPool().take(8)
    message = messages.ModelInferRequest(model_name="double")
    placed = message.inputs.add(name="x", datatype="FP32", shape=[1, 2]).parameters
    placed["shared_memory_region"].string_param = region.name
    placed["shared_memory_byte_size"].int64_param = 8
    async with served(dispatcher_of(entry()).answer) as client:
        assert await client.refusal("ModelInfer", message) == (
            "UNIMPLEMENTED",
            "tensor 'x': shared memory is not offered here; send the tensor in the request",
        )


# -- time ------------------------------------------------------------------------------------------------------------


async def test_the_caller_s_deadline_is_the_request_s() -> None:
    deadlines: list[float | None] = []

    async def answer(query: Query) -> Answer:
        deadlines.append(query.deadline)  # type: ignore[union-attr]
        return await dispatcher_of(entry()).answer(query)

    async with served(answer) as client:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await client.call("ModelInfer", infer(), timeout=7)
        await client.call("ModelInfer", infer(), timeout=None)
    assert deadlines[0] == pytest.approx(before + 7, abs=1)
    assert deadlines[1] is None


async def test_a_deadline_that_passes_is_exceeded_and_its_rows_leave_the_queue() -> None:
    dispatcher = dispatcher_of(entry(), executor=GatedExecutor(slots=0))
    queue = dispatcher.loaded[("double", 1)].default.queue
    async with served(dispatcher.answer) as client:
        call = client.start("ModelInfer", infer(), timeout=0.2)
        await eventually(lambda: queue.waiting_rows == 1)
        assert (await call.code()).name == "DEADLINE_EXCEEDED"
        await eventually(lambda: queue.waiting_rows == 0)


async def test_the_model_s_own_limit_holds_for_a_call_without_deadline() -> None:
    dispatcher = dispatcher_of(entry(deadline_ms=50), executor=GatedExecutor())
    async with served(dispatcher.answer) as client:
        code, text = await client.refusal("ModelInfer", infer(), timeout=None)
    assert code == "DEADLINE_EXCEEDED"
    assert text.startswith("the deadline passed before the model could answer")


async def test_a_client_that_cancels_takes_its_rows_out_of_the_queue() -> None:
    dispatcher = dispatcher_of(entry(), executor=GatedExecutor(slots=0))
    queue = dispatcher.loaded[("double", 1)].default.queue
    async with served(dispatcher.answer) as client:
        call = client.start("ModelInfer", infer())
        await eventually(lambda: queue.waiting_rows == 1)
        call.cancel()
        await eventually(lambda: queue.waiting_rows == 0)


async def test_stop_answers_what_is_under_way() -> None:
    executor = GatedExecutor()
    door = GrpcFrontDoor([core_service()], dispatcher_of(entry(), executor=executor).answer)
    (port,) = await door.start(["127.0.0.1:0"])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        under_way = Client(channel).start("ModelInfer", infer())
        await eventually(lambda: executor.started == 1)
        stopped = asyncio.ensure_future(door.stop(5))
        await asyncio.sleep(0.05)
        assert not stopped.done()
        assert (await Client(channel).refusal("ServerLive", messages.ServerLiveRequest()))[0] == "UNAVAILABLE"
        executor.gate.set()
        assert list((await under_way).raw_output_contents) == [np.array([3, -4], np.float32).tobytes()]
        async with asyncio.timeout(PATIENCE_S):
            await stopped


async def test_a_port_that_another_program_holds_is_an_error_at_start(free_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with pytest.raises(OSError, match="Address already in use"):
            await GrpcFrontDoor([core_service()], dispatcher_of().answer).start([f"127.0.0.1:{free_port}"])
