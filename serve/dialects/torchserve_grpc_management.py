"""TorchServe's management of models over gRPC: its calls as operations, answered with the texts of its REST calls.

Reference: https://github.com/pytorch/serve/blob/master/docs/grpc_api.md. A number of 0 and an empty text stand for what
the caller has not given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model_store.errors import InvalidInput
from serve.dialects import model_server_management as management
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService, Unary
from serve.dialects.model_server_operations import Registration, Scaling, load_of, scale_of
from serve.dialects.model_server_replies import Manner, json_text
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    Operation,
    ScaleModel,
    SetDefault,
    UnloadModel,
)
from serve.protocols import torchserve as messages

_MANNER: Manner = "torchserve"


def management_service() -> GrpcService:
    """`ManagementAPIsService`."""
    return GrpcService(f"{messages.MANAGEMENT}.ManagementAPIsService", _METHODS)


def _listing(message: Any) -> ListModels:
    return ListModels()


def _page(message: Any, operation: Any, answer: ModelList) -> str:
    limit = message.limit or management.LARGEST_PAGE
    return json_text(management.page_of(answer, limit, message.next_page_token))


def _inspection(message: Any) -> InspectModel:
    version = message.model_version
    return InspectModel(model=_named(message), version=None if version == management.ALL_VERSIONS else version or None)


def _description(message: Any, operation: Any, answer: ModelList) -> str:
    [model] = answer.models
    return json_text(management.describe(model, message.model_version or None, _MANNER))


def _registration(message: Any) -> LoadModel:
    given = Registration(
        url=message.url,
        model_name=message.model_name,
        handler=message.handler,
        runtime=message.runtime,
        batch_size=max(message.batch_size, 0),
        max_batch_delay=max(message.max_batch_delay, 0),
        initial_workers=message.initial_workers,
        synchronous=message.synchronous,
        response_timeout=message.response_timeout,
        s3_sse_kms=message.s3_sse_kms,
    )
    return load_of(given, _MANNER)


def _registered(message: Any, operation: LoadModel, answer: ModelList) -> str:
    if not operation.wait:
        return management.PROCESSING
    [model] = answer.models
    version = management.registered_version(model, message.url)
    workers = message.initial_workers
    if workers > 0 and management.workers_missing([version]):
        return management.IN_PROGRESS
    return management.registered_text(model.model, version.version, workers, _MANNER)


def _scaling(message: Any) -> ScaleModel:
    given = Scaling(
        min_worker=message.min_worker if message.min_worker > 0 else 1,
        max_worker=message.max_worker if message.max_worker > 0 else None,
        synchronous=message.synchronous,
    )
    return scale_of(_named(message), message.model_version or None, given)


def _scaled(message: Any, operation: ScaleModel, answer: ModelList) -> str:
    if not operation.wait:
        return management.PROCESSING
    [model] = answer.models
    if management.workers_missing(management.chosen_versions(model, operation.version)):
        return management.IN_PROGRESS
    return management.scaled_text(operation.model, operation.version, operation.replicas, _MANNER)


def _default(message: Any) -> SetDefault:
    if not message.model_version:
        raise InvalidInput("Parameter model_version is required.")
    return SetDefault(model=_named(message), version=message.model_version)


def _defaulted(message: Any, operation: SetDefault, answer: ModelList) -> str:
    return management.default_text(operation.model, operation.version)


def _removal(message: Any) -> UnloadModel:
    return UnloadModel(model=_named(message), version=message.model_version or None, default_version=True)


def _removed(message: Any, operation: UnloadModel, answer: ModelList) -> str:
    return management.unregistered_text(operation.model)


def _named(message: Any) -> str:
    if not message.model_name:
        raise InvalidInput("Parameter model_name is required.")
    name: str = message.model_name
    return name


def _answering(decode: Callable[[Any], Operation], tell: Callable[[Any, Any, ModelList], str]) -> Unary:
    """A method: the operation in the message, and the text of the answer."""

    async def method(message: Any, call: GrpcCall) -> Any:
        operation = decode(message)
        answer = await call.answer(operation)
        assert isinstance(answer, ModelList)
        return messages.ManagementResponse(msg=tell(message, operation, answer).rstrip())

    return method


_METHODS = {
    "DescribeModel": GrpcMethod(messages.DescribeModelRequest, _answering(_inspection, _description)),
    "ListModels": GrpcMethod(messages.ListModelsRequest, _answering(_listing, _page)),
    "RegisterModel": GrpcMethod(messages.RegisterModelRequest, _answering(_registration, _registered)),
    "ScaleWorker": GrpcMethod(messages.ScaleWorkerRequest, _answering(_scaling, _scaled)),
    "SetDefault": GrpcMethod(messages.SetDefaultRequest, _answering(_default, _defaulted)),
    "UnregisterModel": GrpcMethod(messages.UnregisterModelRequest, _answering(_removal, _removed)),
}
