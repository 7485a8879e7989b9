"""`/models` of MXNet Model Server, TorchServe and SageMaker's multi-model endpoints over HTTP: models are registered,
scaled, described and unregistered, and called by `/models/{model}/invoke`.

References: https://github.com/awslabs/multi-model-server/blob/master/docs/management_api.md,
https://pytorch.org/serve/management_api.html, and
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html, whose bodies are MMS's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from model_store.errors import Conflict, Forbidden, ModelNotReady, OnegateError
from serve.dialects import model_server_management as management
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.model_server_operations import (
    Page,
    Registration,
    Scaling,
    load_of,
    read_query,
    read_registration,
    registration_of_query,
    scale_of,
)
from serve.dialects.model_server_predictions import inference_of, inference_reply, model_query_of
from serve.dialects.model_server_replies import Manner, Target, error_reply, json_reply, status_reply, worded
from serve.inference import Answer, InferenceResponse, ModelDescription, Query
from serve.openapi.document import model_document
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

_Said = tuple[int, str, str]
"""Status, name and message of an error."""


class Models:
    """The dialect; `manner` decides whose texts, statuses and defaults, where the two servers differ.

    SageMaker's calls are MMS's, so its multi-model endpoints want the manner `mms`.
    """

    name = "model_server"
    segments: tuple[str, ...] = ("models",)

    def __init__(self, manner: Manner = "torchserve") -> None:
        self._manner = manner

    def decode(self, request: HttpRequest) -> Query:
        """A prediction or an operation.

        Raises `NoSuchRoute` for other paths and methods, `InvalidInput` and `Unsupported` for parameters, and
        `ModelNotFound` for a source that leads upwards.
        """
        call = _call_of(request.path)
        decoder = _DECODERS.get((call.shape, request.method))
        if decoder is None:
            known = any(shape == call.shape for shape, _ in _DECODERS)
            raise NoSuchRoute("Method Not Allowed", status=405) if known else NoSuchRoute("Not Found")
        return decoder(request, call.target, self._manner)

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The model's answer to a prediction, else what the server says of its models."""
        if isinstance(answer, InferenceResponse):
            return inference_reply(answer)
        if isinstance(answer, ModelDescription):
            return json_reply(request, model_document(answer))
        assert isinstance(query, Operation)
        assert isinstance(answer, ModelList)
        return _ENCODERS[type(query)](request, query, answer, self._manner)

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"code", "type", "message"}` as these servers word it."""
        call = _call_of(request.path)
        words = None if isinstance(error, NoSuchRoute) else _ERRORS.get((call.shape, request.method))
        said = words(error, call.target, self._manner) if words else None
        return error_reply(request, error, said or worded(error, call.target, self._manner))


class _Call(NamedTuple):
    """What a path names, and its shape: a key of the tables below."""

    target: Target
    shape: str


def _call_of(path: str) -> _Call:
    parts = path.removeprefix("/models").strip("/").split("/")
    target = Target(parts[0], parts[1] if len(parts) > 1 else None)
    if len(parts) == 1:
        return _Call(target, "model" if parts[0] else "models")
    if len(parts) == 2:
        return _Call(Target(parts[0]), "invoke") if parts[1] == "invoke" else _Call(target, "version")
    return _Call(target, "set-default" if parts[2:] == ["set-default"] else "")


# -- requests --------------------------------------------------------------------------------------------------------


def _invoke(request: HttpRequest, target: Target, manner: Manner) -> Query:
    return inference_of(request, target, query=True)


def _list(request: HttpRequest, target: Target, manner: Manner) -> Query:
    return ListModels()


def _register(request: HttpRequest, target: Target, manner: Manner) -> Query:
    return load_of(_registration(request, manner), manner)


def _describe(request: HttpRequest, target: Target, manner: Manner) -> Query:
    return InspectModel(
        model=target.model, version=None if target.version == management.ALL_VERSIONS else target.version
    )


def _scale(request: HttpRequest, target: Target, manner: Manner) -> Query:
    return scale_of(target.model, target.version, read_query(request.parameters(), Scaling))


def _set_default(request: HttpRequest, target: Target, manner: Manner) -> Query:
    assert target.version is not None
    return SetDefault(model=target.model, version=target.version)


def _unregister(request: HttpRequest, target: Target, manner: Manner) -> Query:
    # TorchServe's versions go one by one; MMS has one of each model.
    return UnloadModel(model=target.model, version=target.version, default_version=manner == "torchserve")


def _document(request: HttpRequest, target: Target, manner: Manner) -> Query:
    return model_query_of(target)


_DECODERS: dict[tuple[str, str], Callable[[HttpRequest, Target, Manner], Query]] = {
    ("models", "GET"): _list,
    ("models", "POST"): _register,
    ("model", "GET"): _describe,
    ("model", "PUT"): _scale,
    ("model", "DELETE"): _unregister,
    ("model", "OPTIONS"): _document,
    ("invoke", "POST"): _invoke,
    ("invoke", "PUT"): _invoke,
    ("version", "GET"): _describe,
    ("version", "PUT"): _scale,
    ("version", "DELETE"): _unregister,
    ("set-default", "PUT"): _set_default,
}
"""Shape of the path and method -> what reads the request."""


def _registration(request: HttpRequest, manner: Manner) -> Registration:
    content_type = request.header("content-type") or ""
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return read_registration(request.body)
    return registration_of_query(request.parameters(), manner)


# -- answers ---------------------------------------------------------------------------------------------------------


def _listed(request: HttpRequest, query: Any, answer: ModelList, manner: Manner) -> HttpReply:
    page = read_query(request.parameters(), Page)
    return json_reply(request, management.page_of(answer, page.limit, page.next_page_token))


def _described(request: HttpRequest, query: Any, answer: ModelList, manner: Manner) -> HttpReply:
    [model] = answer.models
    return json_reply(request, management.describe(model, _call_of(request.path).target.version, manner))


def _registered(request: HttpRequest, query: Any, answer: ModelList, manner: Manner) -> HttpReply:
    if not query.wait:
        return status_reply(request, management.PROCESSING, 202)
    [model] = answer.models
    version = management.registered_version(model, query.source)
    workers = _registration(request, manner).initial_workers
    if workers > 0 and management.workers_missing([version]):
        return status_reply(request, management.IN_PROGRESS, management.PARTIAL[manner])
    text = management.registered_text(model.model, version.version, workers, manner)
    return status_reply(request, text)


def _scaled(request: HttpRequest, query: Any, answer: ModelList, manner: Manner) -> HttpReply:
    if not query.wait:
        return status_reply(request, management.PROCESSING, 202)
    [model] = answer.models
    if management.workers_missing(management.chosen_versions(model, query.version)):
        return status_reply(request, management.IN_PROGRESS, management.PARTIAL[manner])
    return status_reply(request, management.scaled_text(query.model, query.version, query.replicas, manner))


def _defaulted(request: HttpRequest, query: Any, answer: ModelList, manner: Manner) -> HttpReply:
    return status_reply(request, management.default_text(query.model, query.version))


def _unregistered(request: HttpRequest, query: Any, answer: ModelList, manner: Manner) -> HttpReply:
    return status_reply(request, management.unregistered_text(query.model))


_ENCODERS: dict[type[Operation], Callable[[HttpRequest, Any, ModelList, Manner], HttpReply]] = {
    ListModels: _listed,
    InspectModel: _described,
    LoadModel: _registered,
    ScaleModel: _scaled,
    SetDefault: _defaulted,
    UnloadModel: _unregistered,
}


# -- errors ----------------------------------------------------------------------------------------------------------


def _registering(error: OnegateError, target: Target, manner: Manner) -> _Said | None:
    if isinstance(error, Conflict) and "model" in error.details:
        return (
            409,
            "ConflictStatusException",
            management.conflict_text(error.details["model"], error.details.get("version"), manner),
        )
    return _starting(error, target, manner)


def _starting(error: OnegateError, target: Target, manner: Manner) -> _Said | None:
    """What was asked for was registered and could not be loaded."""
    # With a time to ask again it is the controller that is away.
    if isinstance(error, ModelNotReady) and "retry_after_s" not in error.details:
        return 500, "InternalServerException", f"Failed to start workers ({error.message})"
    return None


def _removing(error: OnegateError, target: Target, manner: Manner) -> _Said | None:
    if isinstance(error, Forbidden) and "model" in error.details:
        return 403, "InvalidModelVersionException", f"Cannot remove default version for model {target.model}"
    return None


_ERRORS: dict[tuple[str, str], Callable[[OnegateError, Target, Manner], _Said | None]] = {
    ("models", "POST"): _registering,
    ("model", "PUT"): _starting,
    ("version", "PUT"): _starting,
    ("model", "DELETE"): _removing,
    ("version", "DELETE"): _removing,
}
"""Shape of the path and method -> what words errors otherwise than usual."""
