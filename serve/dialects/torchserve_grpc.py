"""TorchServe's predictions over gRPC: named bytes in, bytes out.

Reference: https://github.com/pytorch/serve/blob/master/docs/grpc_api.md. TorchServe tells a client's mistakes as
INTERNAL; here they have the codes of their kind.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from model_store.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
    Overloaded,
    PayloadTooLarge,
    Unsupported,
    first_line,
)
from model_store.manifest import PAYLOAD
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService, number_of
from serve.dialects.model_server_replies import Target, json_text, worded
from serve.inference import InferenceRequest, InferenceResponse, Payload, ServerDescription, ServerQuery
from serve.protocols import torchserve as messages
from serve.routing import version_or_label


class Refused(OnegateError):
    """A handler answered with an HTTP status of its own that no other kind of error has."""


_KINDS: dict[int, type[OnegateError]] = {
    400: InvalidInput,
    403: Forbidden,
    404: ModelNotFound,
    409: Conflict,
    413: PayloadTooLarge,
    429: Overloaded,
    501: Unsupported,
    503: ModelNotReady,
    504: DeadlineExceeded,
    507: OutOfMemory,
}
"""HTTP status of a handler's answer -> the kind of error that it is told as."""


def predictions_service() -> GrpcService:
    """`InferenceAPIsService`. A stream of one request has one answer, since handlers here answer whole."""
    return _SERVICE


async def _ping(message: Any, call: GrpcCall) -> Any:
    answer = await call.answer(ServerQuery())
    assert isinstance(answer, ServerDescription)
    health = {"status": "Healthy" if answer.ready else "Unhealthy"}
    return messages.TorchServeHealthResponse(health=json_text(health).rstrip())


async def _predict(message: Any, call: GrpcCall) -> Any:
    request = decode_request(message, call.deadline)
    try:
        answer = await call.answer(request)
    except OnegateError as error:
        target = Target(message.model_name, message.model_version or None)
        raise type(error)(worded(error, target, "torchserve")[2], **error.details) from error
    assert isinstance(answer, InferenceResponse)
    assert answer.payload is not None
    return encode_answer(answer.payload)


async def _stream_answers(message: Any, call: GrpcCall) -> AsyncIterator[Any]:
    yield await _predict(message, call)


async def _predict_in_sequence(message: Any, call: GrpcCall) -> Any:
    if not message.sequence_id.strip():
        raise InvalidInput("Parameter sequenceId is required.")
    reply = await _predict(message, call)
    reply.sequence_id = message.sequence_id
    return reply


def _refusal(message: Any, error: OnegateError) -> Any:
    reply = messages.PredictionResponse()
    if message is not None and message.HasField("sequence_id"):
        reply.sequence_id = message.sequence_id
    reply.status.code = number_of(_SERVICE.code_of(error))
    reply.status.message = error.message
    return reply


def decode_request(message: Any, deadline: float | None) -> InferenceRequest:
    """The request in a `PredictionsRequest`: its inputs are the fields of a form. A version that begins with no digit
    is a label. Raises `InvalidInput` where it names no model."""
    if not message.model_name:
        raise InvalidInput("Parameter model_name is required.")
    version, label = version_or_label(message.model_version)
    payload = Payload(b"", "", fields=dict(message.input))
    return InferenceRequest(message.model_name, version, label, PAYLOAD, payload=payload, deadline=deadline)


def encode_answer(payload: Payload) -> Any:
    """A `PredictionResponse`; raises the kind of error that stands for the answer's status, where it is one."""
    if payload.status < 400:
        return messages.PredictionResponse(prediction=payload.body)
    kind = _KINDS.get(payload.status) or (Refused if payload.status < 500 else InternalError)
    raise kind(_text(payload))


def _text(payload: Payload) -> str:
    """What the answer says is wrong, in a line: its `message` where it has TorchServe's form of an error."""
    text = payload.body.decode(errors="replace").strip()
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and isinstance(told.get("message"), str):
        text = told["message"]
    return first_line(text) if text else f"the handler answered with status {payload.status}"


_SERVICE = GrpcService(
    f"{messages.INFERENCE}.InferenceAPIsService",
    {
        "Ping": GrpcMethod(messages.Empty, _ping),
        "Predictions": GrpcMethod(messages.PredictionsRequest, _predict),
        "StreamPredictions": GrpcMethod(messages.PredictionsRequest, streaming=_stream_answers),
        "StreamPredictions2": GrpcMethod(messages.PredictionsRequest, each=_predict_in_sequence, refusal=_refusal),
    },
    {Refused: "FAILED_PRECONDITION"},
    dialect="model_server_grpc",
)
