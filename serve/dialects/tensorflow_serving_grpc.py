"""TensorFlow Serving's gRPC services, `PredictionService` and `ModelService`, over queries and answers.

https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis. The fields of `PredictRequest` that steer
streams and request logs are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_store.errors import InvalidInput, ModelNotFound, OnegateError, Unsupported
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService
from serve.dialects.tensorflow_examples import reader_of
from serve.dialects.tensorflow_json import DEFAULT_SIGNATURE, signature_of
from serve.dialects.tensorflow_models import no_status, not_there, signature_map, status_message, version_number
from serve.dialects.tensorflow_results import classifications, regressions
from serve.dialects.tensorflow_tensors import from_proto, write_proto
from serve.importing.tensorflow_reload import replacement
from serve.inference import (
    Answer,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    StatusQuery,
    output_tensors,
)
from serve.operations import ListModels, ModelList
from serve.protocols import tensorflow_serving as messages

SIGNATURE_DEF = "signature_def"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def tensorflow_prediction_service() -> GrpcService:
    """Inference and signatures."""
    return GrpcService(
        messages.PREDICTION_SERVICE,
        {
            "Predict": GrpcMethod(messages.PredictRequest, _predict),
            "Classify": GrpcMethod(messages.ClassificationRequest, _classify),
            "Regress": GrpcMethod(messages.RegressionRequest, _regress),
            "MultiInference": GrpcMethod(messages.MultiInferenceRequest, _multi_inference),
            "GetModelMetadata": GrpcMethod(messages.GetModelMetadataRequest, _metadata),
        },
        dialect="tensorflow_serving_grpc",
    )


def tensorflow_model_service() -> GrpcService:
    """The state of models, and which there are."""
    return GrpcService(
        messages.MODEL_SERVICE,
        {
            "GetModelStatus": GrpcMethod(messages.GetModelStatusRequest, _status),
            "HandleReloadConfigRequest": GrpcMethod(messages.ReloadConfigRequest, _reload),
        },
    )


async def _predict(message: Any, call: GrpcCall) -> Any:
    request = _request(message, call)
    request.inputs = {name: from_proto(name, tensor) for name, tensor in message.inputs.items()}
    request.wanted_outputs = tuple(message.output_filter)
    response = await _infer(request, call)
    reply = messages.PredictResponse()
    for name, tensor in output_tensors(response).items():
        write_proto(tensor, reply.outputs[name])
    _write_spec(reply.model_spec, response, message.model_spec.signature_name)
    return reply


async def _classify(message: Any, call: GrpcCall) -> Any:
    response = await _infer_examples(message, message.input, call)
    reply = messages.ClassificationResponse(result=classifications(response))
    _write_spec(reply.model_spec, response, message.model_spec.signature_name)
    return reply


async def _regress(message: Any, call: GrpcCall) -> Any:
    response = await _infer_examples(message, message.input, call)
    reply = messages.RegressionResponse(result=regressions(response))
    _write_spec(reply.model_spec, response, message.model_spec.signature_name)
    return reply


async def _multi_inference(message: Any, call: GrpcCall) -> Any:
    _check_tasks(message.tasks)
    reply = messages.MultiInferenceResponse()
    for task in message.tasks:
        field, result_of = _METHODS[task.method_name]
        response = await _infer_examples(task, message.input, call)
        result = reply.results.add()
        getattr(result, field).CopyFrom(result_of(response))
        _write_spec(result.model_spec, response, task.model_spec.signature_name)
    return reply


async def _metadata(message: Any, call: GrpcCall) -> Any:
    model, version, label = _target(message)
    fields = list(message.metadata_field)
    if not fields or any(field != SIGNATURE_DEF for field in fields):
        got = ", ".join(f"{field!r:.40}" for field in fields[:10]) or "none"
        raise InvalidInput(f"expected the metadata field {SIGNATURE_DEF!r}, got {got}")
    description = await _answer(ModelQuery(model, version, label), call, not_there)
    assert isinstance(description, ModelDescription)
    signatures = signature_map(description.manifest)
    reply = messages.GetModelMetadataResponse()
    reply.model_spec.name = model
    reply.model_spec.version.value = version_number(description.version)
    packed = reply.metadata[SIGNATURE_DEF]
    packed.type_url = f"type.googleapis.com/{signatures.DESCRIPTOR.full_name}"
    packed.value = signatures.SerializeToString(deterministic=True)
    return reply


async def _status(message: Any, call: GrpcCall) -> Any:
    model, version, _ = _target(message)
    answer = await _answer(StatusQuery(model, version), call, no_status)
    assert isinstance(answer, ModelList)
    return status_message(answer)


async def _reload(message: Any, call: GrpcCall) -> Any:
    # Raises where models may not be managed, before a folder is looked into.
    await call.answer(ListModels())
    await call.answer(await replacement(message.config))
    reply = messages.ReloadConfigResponse()
    reply.status.SetInParent()
    return reply


def _target(message: Any) -> tuple[str, str | None, str | None]:
    """Model, version and label of a message's `model_spec`; raises `InvalidInput` where it names no model."""
    spec = message.model_spec
    if not spec.name:
        raise InvalidInput("expected a model_spec with the name of a model, got none")
    choice = spec.WhichOneof("version_choice")
    version = str(spec.version.value) if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def _request(message: Any, call: GrpcCall) -> InferenceRequest:
    model, version, label = _target(message)
    signature = signature_of(message.model_spec.signature_name)
    return InferenceRequest(model, version, label, signature, deadline=call.deadline)


async def _infer_examples(message: Any, given: Any, call: GrpcCall) -> InferenceResponse:
    request = _request(message, call)
    request.read_inputs = reader_of(given)
    return await _infer(request, call)


async def _infer(request: InferenceRequest, call: GrpcCall) -> InferenceResponse:
    response = await _answer(request, call, not_there)
    assert isinstance(response, InferenceResponse)
    return response


async def _answer(
    query: InferenceRequest | ModelQuery | StatusQuery,
    call: GrpcCall,
    told: Callable[[ModelNotFound, str, str | None], OnegateError],
) -> Answer:
    try:
        return await call.answer(query)
    except ModelNotFound as error:
        raise told(error, query.model, query.version) from error


def _write_spec(spec: Any, response: InferenceResponse, signature: str) -> None:
    spec.name = response.model
    spec.version.value = version_number(response.version)
    spec.signature_name = signature or DEFAULT_SIGNATURE


_METHODS: dict[str, tuple[str, Callable[[InferenceResponse], Any]]] = {
    CLASSIFY_METHOD: ("classification_result", classifications),
    REGRESS_METHOD: ("regression_result", regressions),
}
"""Method of a task -> the field of its result, and what makes it."""


def _check_tasks(tasks: Any) -> None:
    """Raises `InvalidInput` for tasks of several models and for one that comes twice, `Unsupported` for other methods.

    So a message can't ask for more runs than the model has signatures and methods.
    """
    if not tasks:
        raise InvalidInput("expected at least one task, got none")
    seen = set()
    for task in tasks:
        if task.method_name not in _METHODS:
            raise Unsupported(f"expected the method {' or '.join(_METHODS)}, got {task.method_name!r:.60}")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise InvalidInput("expected tasks of one model, got several models")
        called = (signature_of(task.model_spec.signature_name), task.method_name)
        if called in seen:
            raise InvalidInput(
                f"expected each signature once a method, got {called[0] or DEFAULT_SIGNATURE!r:.60} twice"
            )
        seen.add(called)
