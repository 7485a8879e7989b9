"""The Open Inference Protocol's gRPC service: its methods over queries and answers.

Model replicas offer `core_service`, gateways the whole of it.
"""

from __future__ import annotations

from typing import Any

from model_store.errors import ModelNotReady
from serve.dialects import open_inference_grpc as dialect
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService
from serve.inference import InferenceResponse, ModelDescription, ServerDescription, ServerQuery
from serve.protocols import open_inference as messages


def core_service() -> GrpcService:
    """The methods of the specification's core."""
    return GrpcService(
        messages.SERVICE,
        {
            "ModelInfer": GrpcMethod(messages.ModelInferRequest, _infer),
            "ModelReady": GrpcMethod(messages.ModelReadyRequest, _model_ready),
            "ModelMetadata": GrpcMethod(messages.ModelMetadataRequest, _model_metadata),
            "ServerLive": GrpcMethod(messages.ServerLiveRequest, _server_live),
            "ServerReady": GrpcMethod(messages.ServerReadyRequest, _server_ready),
            "ServerMetadata": GrpcMethod(messages.ServerMetadataRequest, _server_metadata),
        },
    )


async def _infer(message: Any, call: GrpcCall) -> Any:
    request = dialect.decode_request(message, call.deadline, call.regions)
    response = await call.answer(request)
    assert isinstance(response, InferenceResponse)
    return dialect.encode_response(response, raw=bool(request.reply_form))


async def _model_ready(message: Any, call: GrpcCall) -> Any:
    try:
        await call.answer(dialect.decode_model_query(message))
    except ModelNotReady:
        return messages.ModelReadyResponse(ready=False)
    return messages.ModelReadyResponse(ready=True)


async def _model_metadata(message: Any, call: GrpcCall) -> Any:
    description = await call.answer(dialect.decode_model_query(message))
    assert isinstance(description, ModelDescription)
    return dialect.encode_model(description)


async def _server_live(message: Any, call: GrpcCall) -> Any:
    return messages.ServerLiveResponse(live=True)


async def _server_ready(message: Any, call: GrpcCall) -> Any:
    description = await call.answer(ServerQuery())
    assert isinstance(description, ServerDescription)
    return messages.ServerReadyResponse(ready=description.ready)


async def _server_metadata(message: Any, call: GrpcCall) -> Any:
    return dialect.encode_server()
