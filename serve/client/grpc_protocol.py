"""Open Inference over gRPC from the caller's side. The messages are those that gateways and replicas read and write."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from google.protobuf.message import DecodeError

from model_store.errors import InternalError, InvalidInput, Unsupported
from model_store.manifest import TensorSpec
from serve.client.answers import Model, Outputs, read_answer
from serve.client.questions import Question, Target
from serve.client.retries import Exchange
from serve.dialects.open_inference_grpc import PARAMETERS, decode_response, encode_request
from serve.dialects.open_inference_grpc_messages import ReceivedResponse
from serve.protocols import open_inference as messages


class GrpcMessage(NamedTuple):
    """A unary call: the method's name and its message."""

    method: str
    data: bytes


class GrpcProtocol:
    """Exchanges; it has no state."""

    def infer(self, question: Question) -> Exchange[Outputs]:
        """An inference; the deadline travels as gRPC's own."""
        target = question.target
        wanted = dict.fromkeys(question.outputs)
        sent = encode_request(
            target.model, target.named or "", dict(question.inputs), signature=question.signature, wanted=wanted
        )
        sent.message.id = question.id
        parameters = dict(question.parameters)
        if question.priority:
            parameters["priority"] = question.priority
        for name, value in parameters.items():
            if type(value) not in PARAMETERS:
                raise InvalidInput(f"parameter {name!r:.80} is text, a number or a boolean, got {value!r:.80}")
            setattr(sent.message.parameters[name], PARAMETERS[type(value)], value)
        message = GrpcMessage("ModelInfer", sent.SerializeToString())
        return Exchange(lambda left_s: message, lambda data: read_answer(_outputs, data))

    def predict(self, target: Target, content: bytes | memoryview, content_type: str) -> NoReturn:
        """Always raises `Unsupported`: the protocol carries tensors."""
        raise Unsupported("raw bodies travel over HTTP only; use an address that begins with http")

    def model(self, target: Target) -> Exchange[Model]:
        """What a model is."""
        asked = messages.ModelMetadataRequest(name=target.model, version=target.named or "")
        message = GrpcMessage("ModelMetadata", asked.SerializeToString())
        return Exchange(lambda left_s: message, lambda data: read_answer(_model, data))

    def ready(self, target: Target | None) -> Exchange[bool]:
        """Whether a model can be called, or all of the config."""
        if target is None:
            message = GrpcMessage("ServerReady", b"")
            return Exchange(lambda left_s: message, lambda data: read_answer(_server_ready, data))
        asked = messages.ModelReadyRequest(name=target.model, version=target.named or "")
        message = GrpcMessage("ModelReady", asked.SerializeToString())
        return Exchange(lambda left_s: message, lambda data: read_answer(_model_ready, data))


def _outputs(data: bytes) -> Outputs:
    received = _parsed(ReceivedResponse, data)
    told = received.message
    return Outputs(decode_response(received), told.model_name, told.model_version, told.id)


def _model(data: bytes) -> Model:
    told = _parsed(messages.ModelMetadataResponse, data)

    def tensors(described: Any) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(each.name, each.datatype, tuple(each.shape)) for each in described)

    return Model(told.name, tensors(told.inputs), tensors(told.outputs), tuple(told.versions), told.platform)


def _server_ready(data: bytes) -> bool:
    return bool(_parsed(messages.ServerReadyResponse, data).ready)


def _model_ready(data: bytes) -> bool:
    return bool(_parsed(messages.ModelReadyResponse, data).ready)


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InternalError(f"the answer is no message of Open Inference: {error}") from error
