"""MXNet Model Server, TorchServe and SageMaker."""

from __future__ import annotations

from typing import Any

from serve.openapi.parts import (
    ANY,
    CALL_ERRORS,
    CHANGE_ERRORS,
    HANDLER_ANSWER,
    QUERY_ERRORS,
    TEXT,
    WHOLE,
    YES_NO,
    Paths,
    Schema,
    answer,
    body,
    errors,
    json_of,
    list_of,
    object_of,
    operation,
    parameter,
    ref,
    tagged,
)

SCHEMAS: dict[str, Schema] = {
    "servers.Error": object_of({"code": WHOLE, "type": TEXT, "message": TEXT}, ["code", "type", "message"]),
    "servers.Status": object_of({"status": TEXT}, ["status"]),
    "servers.Models": object_of(
        {
            "nextPageToken": TEXT,
            "models": list_of(object_of({"modelName": TEXT, "modelUrl": TEXT}, ["modelName", "modelUrl"])),
        },
        ["models"],
    ),
    "servers.Model": object_of(
        {
            "modelName": TEXT,
            "modelVersion": TEXT,
            "modelUrl": TEXT,
            "runtime": TEXT,
            "minWorkers": WHOLE,
            "maxWorkers": WHOLE,
            "batchSize": WHOLE,
            "maxBatchDelay": {"type": "number"},
            "loadedAtStartup": YES_NO,
            "workers": list_of({"type": "object"}),
        },
        ["modelName"],
    ),
    "servers.Registration": object_of({"url": TEXT, "model_name": TEXT}, ["url"]),
}

_ERROR = ref("servers.Error")
_QUERY = errors(QUERY_ERRORS, _ERROR)
_CALL = errors(CALL_ERRORS, _ERROR)
_CHANGE = errors((*CHANGE_ERRORS, 405, 408), _ERROR)
_STATUS = json_of(ref("servers.Status"))
_NAME = parameter("model_name", "query", TEXT, "The model; not needed where there is only one.")

_REGISTRATION = (
    parameter("url", "query", TEXT, "A file of the model folder, or a URL that the config admits."),
    parameter("model_name", "query", TEXT, "Its name; that in the archive where this is not given."),
    parameter("batch_size", "query", TEXT, "Rows a batch at most."),
    parameter("max_batch_delay", "query", TEXT, "Milliseconds that a batch may wait for more rows."),
    parameter("initial_workers", "query", TEXT, "Replicas."),
    parameter("synchronous", "query", TEXT, "Whether the answer comes when the model can be called."),
    parameter("response_timeout", "query", TEXT, "The deadline of its requests."),
)
_WORKERS = (
    parameter("min_worker", "query", TEXT, "Replicas."),
    parameter("max_worker", "query", TEXT, "Replicas at most."),
    parameter("synchronous", "query", TEXT, "Whether the answer comes when they run."),
)
_PAGE = (
    parameter("limit", "query", TEXT, "Models a page, 100 at most."),
    parameter("next_page_token", "query", TEXT, "Where the page begins."),
)


def _predict(what: str = "Call the model", *parameters: Schema) -> dict[str, Any]:
    return operation(
        what,
        {200: answer("What the model's processor or handler answers.", {"*/*": ANY}), **HANDLER_ANSWER},
        _CALL,
        parameters=parameters,
        request=body({"*/*": ANY}, required=False),
    )


def _describe_calls() -> dict[str, Any]:
    return operation(
        "The OpenAPI document of the model", {200: answer("OpenAPI 3.1.", json_of({"type": "object"}))}, _QUERY
    )


def endpoint_paths() -> Paths:
    """What the endpoint answers."""
    health = {200: answer("A word.", _STATUS), 500: answer("A model can't be called (TorchServe's manner).", _STATUS)}
    return tagged(
        "model-servers",
        {
            "/ping": {"get": operation("Whether every model can be called", health, errors((404, 405), _ERROR))},
            "/predictions/{model}": {"post": _predict(), "options": _describe_calls()},
            "/predictions/{model}/{version_or_label}": {"post": _predict()},
            "/explanations/{model}": {
                "post": _predict("Explain a prediction, where the handler can (TorchServe's manner)")
            },
            "/explanations/{model}/{version_or_label}": {
                "post": _predict("Explain a prediction, where the handler can (TorchServe's manner)")
            },
            "/invocations": {"post": _predict("Call the model as SageMaker does", _NAME)},
            "/models/{model}/invoke": {"post": _predict("Call one of several models as SageMaker does")},
            "/{model}/predict": {"post": _predict("Call the model as the first Model Server did")},
            "/{model}/{version_or_label}/predict": {"post": _predict("Call the model as the first Model Server did")},
        },
    )


def _described() -> dict[str, Any]:
    one = ref("servers.Model")
    return operation(
        "What the model is; a list in TorchServe's manner",
        {200: answer("One description a version.", json_of({"anyOf": [one, list_of(one)]}))},
        _QUERY,
        parameters=[parameter("customized", "query", TEXT, "Taken and ignored.")],
    )


def _done(what: str, *statuses: int, parameters: tuple[Schema, ...] = (), takes: Any = None) -> dict[str, Any]:
    told = {status: answer("Done, or under way.", _STATUS) for status in statuses}
    return operation(what, told, _CHANGE, parameters=parameters, request=takes)


def models_paths() -> Paths:
    """What the management port answers, and the endpoint where the config lets it."""
    listed = operation(
        "The models by name", {200: answer("A page.", json_of(ref("servers.Models")))}, _QUERY, parameters=_PAGE
    )
    registration = body(json_of(ref("servers.Registration")), required=False)
    scale = _done("Set the number of replicas", 200, 202, 206, 210, parameters=_WORKERS)
    unregister = _done("Unload the model", 200)
    return tagged(
        "model-servers-management",
        {
            "/models": {
                "get": listed,
                "post": _done("Register a model", 200, 202, 206, 210, parameters=_REGISTRATION, takes=registration),
            },
            "/models/{model}": {"get": _described(), "put": scale, "delete": unregister},
            "/models/{model}/{version_or_label}": {"get": _described(), "put": scale, "delete": unregister},
            "/models/{model}/{version_or_label}/set-default": {"put": _done("Give all traffic to the version", 200)},
        },
    )
