"""The Open Inference Protocol's gRPC service: its methods over queries and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_store.errors import ModelNotFound, ModelNotReady, OnegateError, Unsupported
from serve.dialects import open_inference_grpc as inference
from serve.dialects import open_inference_grpc_models as models
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService, Unary
from serve.dialects.open_inference import NOT_OFFERED
from serve.dialects.open_inference_grpc_messages import ReceivedRequest, SentInStream, UnreadRequest
from serve.dialects.open_inference_grpc_repeated import RequestReader, ResponseWriter
from serve.inference import InferenceResponse, Query, ServerDescription, ServerQuery
from serve.operations import ListModels, ModelList
from serve.protocols import open_inference as messages

FINAL_RESPONSE = "triton_final_response"
"""Set on every answer of a stream: Triton's clients wait for it where a model may answer several times."""
EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
"""What their clients ask for beside. Here each answer is a final one, so that there is none to add."""

DIALECT = "open_inference_grpc"

_REQUESTS = RequestReader()
_RESPONSES = ResponseWriter()


def core_service(name: str = messages.SERVICE) -> GrpcService:
    """The methods of the specification's core, under the name of a service that has its messages."""
    return GrpcService(name, _CORE, dialect=DIALECT)


def whole_service() -> GrpcService:
    """The core and Triton's extensions; those that are not offered here say so."""
    return GrpcService(messages.SERVICE, {**_CORE, **_EXTENSIONS, **_REFUSED}, dialect=DIALECT)


async def _infer(data: bytes, call: GrpcCall) -> bytes:
    request = _REQUESTS.read(data, call.deadline)
    response = await call.answer(request)
    assert isinstance(response, InferenceResponse)
    assert isinstance(request.reply_form, inference.ReplyForm)
    return _RESPONSES.write(response, request.reply_form)


async def _stream_infer(received: ReceivedRequest, call: GrpcCall) -> SentInStream:
    asked = received.message.parameters
    if EMPTY_FINAL_RESPONSE in asked:
        del asked[EMPTY_FINAL_RESPONSE]
    request = inference.decode_request(received, call.deadline)
    response = await call.answer(request)
    assert isinstance(response, InferenceResponse)
    assert isinstance(request.reply_form, inference.ReplyForm)
    answer = inference.encode_response(response, request.reply_form)
    answer.message.parameters[FINAL_RESPONSE].bool_param = True
    return SentInStream(answer)


def _stream_refusal(received: ReceivedRequest | None, error: OnegateError) -> Any:
    refused = messages.ModelStreamInferResponse(error_message=error.message)
    # There even without an id, as clients expect it.
    refused.infer_response.id = received.message.id if received is not None else ""
    return refused


async def _model_ready(message: Any, call: GrpcCall) -> Any:
    try:
        await call.answer(models.decode_model_query(message))
    except (ModelNotReady, ModelNotFound):
        return messages.ModelReadyResponse(ready=False)
    return messages.ModelReadyResponse(ready=True)


async def _server_live(message: Any, call: GrpcCall) -> Any:
    return messages.ServerLiveResponse(live=True)


async def _server_ready(message: Any, call: GrpcCall) -> Any:
    description = await call.answer(ServerQuery())
    assert isinstance(description, ServerDescription)
    return messages.ServerReadyResponse(ready=description.ready)


async def _server_metadata(message: Any, call: GrpcCall) -> Any:
    return models.encode_server()


async def _index(message: Any, call: GrpcCall) -> Any:
    listed = await call.answer(ListModels(stored=True))
    assert isinstance(listed, ModelList)
    return models.encode_index(listed, message.ready)


def _asking(decode: Callable[[Any], Query], encode: Callable[[Any], Any]) -> Unary:
    """A method that asks one thing: the query in the message, and the message for its answer."""

    async def method(message: Any, call: GrpcCall) -> Any:
        return encode(await call.answer(decode(message)))

    return method


def _refusing(reason: str) -> Unary:
    async def method(message: Any, call: GrpcCall) -> Any:
        raise Unsupported(reason)

    return method


_CORE = {
    "ModelInfer": GrpcMethod(UnreadRequest, _infer),
    "ModelReady": GrpcMethod(messages.ModelReadyRequest, _model_ready),
    "ModelMetadata": GrpcMethod(messages.ModelMetadataRequest, _asking(models.decode_model_query, models.encode_model)),
    "ServerLive": GrpcMethod(messages.ServerLiveRequest, _server_live),
    "ServerReady": GrpcMethod(messages.ServerReadyRequest, _server_ready),
    "ServerMetadata": GrpcMethod(messages.ServerMetadataRequest, _server_metadata),
}

_EXTENSIONS = {
    "ModelStreamInfer": GrpcMethod(ReceivedRequest, each=_stream_infer, refusal=_stream_refusal),
    "ModelConfig": GrpcMethod(messages.ModelConfigRequest, _asking(models.decode_model_query, models.encode_config)),
    "ModelStatistics": GrpcMethod(
        messages.ModelStatisticsRequest, _asking(models.decode_statistics_query, models.encode_statistics)
    ),
    "RepositoryIndex": GrpcMethod(messages.RepositoryIndexRequest, _index),
    "RepositoryModelLoad": GrpcMethod(
        messages.RepositoryModelLoadRequest,
        _asking(models.decode_load, lambda _: messages.RepositoryModelLoadResponse()),
    ),
    "RepositoryModelUnload": GrpcMethod(
        messages.RepositoryModelUnloadRequest,
        _asking(models.decode_unload, lambda _: messages.RepositoryModelUnloadResponse()),
    ),
}

_REFUSED = {
    name: GrpcMethod(getattr(messages, f"{name}Request"), _refusing(NOT_OFFERED[extension]))
    for name, extension in (
        ("SystemSharedMemoryStatus", "systemsharedmemory"),
        ("SystemSharedMemoryRegister", "systemsharedmemory"),
        ("SystemSharedMemoryUnregister", "systemsharedmemory"),
        ("CudaSharedMemoryStatus", "cudasharedmemory"),
        ("CudaSharedMemoryRegister", "cudasharedmemory"),
        ("CudaSharedMemoryUnregister", "cudasharedmemory"),
        ("TraceSetting", "trace"),
        ("LogSettings", "logging"),
    )
}
