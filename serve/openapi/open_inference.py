"""The Open Inference Protocol (KServe v2) over HTTP."""

from __future__ import annotations

from typing import Any

from serve.openapi.parts import (
    BINARY,
    BYTES,
    CALL_ERRORS,
    CHANGE_ERRORS,
    JSON,
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

_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_SIZES = list_of({"type": "integer", "minimum": 0})
_DATA: Schema = {"type": "array", "description": "Flat and row-major, or nested to the tensor's shape."}
_TENSOR = object_of(
    {"name": TEXT, "datatype": TEXT, "shape": list_of({"type": "integer", "minimum": -1})},
    ["name", "datatype", "shape"],
)
_DURATION = object_of({"count": WHOLE, "ns": WHOLE}, ["count", "ns"])

SCHEMAS: dict[str, Schema] = {
    "v2.Error": object_of({"error": TEXT}, ["error"]),
    "v2.Server": object_of(
        {"name": TEXT, "version": TEXT, "extensions": list_of(TEXT)}, ["name", "version", "extensions"]
    ),
    "v2.Model": object_of(
        {
            "name": TEXT,
            "versions": list_of(TEXT),
            "platform": TEXT,
            "inputs": list_of(_TENSOR),
            "outputs": list_of(_TENSOR),
        },
        ["name", "platform", "inputs", "outputs"],
    ),
    "v2.Request": object_of(
        {
            "id": TEXT,
            "parameters": _PARAMETERS,
            "inputs": list_of(
                object_of(
                    {"name": TEXT, "shape": _SIZES, "datatype": TEXT, "parameters": _PARAMETERS, "data": _DATA},
                    ["name", "shape", "datatype"],
                )
            ),
            "outputs": list_of(object_of({"name": TEXT, "parameters": _PARAMETERS}, ["name"])),
        },
        ["inputs"],
    ),
    "v2.Response": object_of(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "parameters": {"type": "object"},
            "outputs": list_of(
                object_of(
                    {"name": TEXT, "shape": _SIZES, "datatype": TEXT, "parameters": {"type": "object"}, "data": _DATA},
                    ["name", "shape", "datatype"],
                )
            ),
        },
        ["model_name", "outputs"],
    ),
    "v2.Statistics": object_of(
        {
            "model_stats": list_of(
                object_of(
                    {
                        "name": TEXT,
                        "version": TEXT,
                        "last_inference": WHOLE,
                        "inference_count": WHOLE,
                        "execution_count": WHOLE,
                        "inference_stats": {"type": "object", "additionalProperties": _DURATION},
                        "response_stats": {"type": "object"},
                        "batch_stats": list_of({"type": "object"}),
                        "memory_usage": list_of({"type": "object"}),
                    },
                    ["name"],
                )
            )
        },
        ["model_stats"],
    ),
    "v2.Index": list_of(
        object_of({"name": TEXT, "version": TEXT, "state": TEXT, "reason": TEXT}, ["name", "state", "reason"])
    ),
}

_ERROR = ref("v2.Error")
_QUERY = errors(QUERY_ERRORS, _ERROR)
_CALL = errors(CALL_ERRORS, _ERROR)
_CHANGE = errors(CHANGE_ERRORS, _ERROR)

_HEADER_LENGTH = parameter(
    "Inference-Header-Content-Length",
    "header",
    {"type": "string", "pattern": "^[0-9]+$"},
    "Bytes of the JSON part where binary tensors follow it; 0 for a body that is one raw tensor.",
)
_LOAD = object_of({"parameters": {"type": "object"}})


def _metadata() -> dict[str, Any]:
    return operation("What the model takes and gives", {200: answer("Metadata.", json_of(ref("v2.Model")))}, _QUERY)


def _model_ready() -> dict[str, Any]:
    ready = object_of({"name": TEXT, "ready": YES_NO})
    return operation("Whether the model can be called", {200: answer("It can.", json_of(ready))}, _QUERY)


def _config() -> dict[str, Any]:
    return operation(
        "The model's configuration as Triton writes it", {200: answer("It.", json_of({"type": "object"}))}, _QUERY
    )


def _statistics() -> dict[str, Any]:
    return operation("What was counted", {200: answer("Counters.", json_of(ref("v2.Statistics")))}, _QUERY)


def _infer() -> dict[str, Any]:
    return operation(
        "Call the model with tensors",
        {200: answer("The outputs.", {JSON: ref("v2.Response"), BYTES: BINARY})},
        _CALL,
        parameters=[_HEADER_LENGTH],
        request=body({JSON: ref("v2.Request"), BYTES: BINARY}),
    )


def _health(what: str, key: str) -> dict[str, Any]:
    state = object_of({key: YES_NO})
    told = {200: answer("It does.", json_of(state)), 400: answer("It does not.", json_of(state))}
    return operation(f"Whether the server {what}", told, _QUERY)


def _index() -> dict[str, Any]:
    return operation(
        "All models and their versions",
        {200: answer("The index.", json_of(ref("v2.Index")))},
        _CHANGE,
        request=body(json_of(object_of({"ready": YES_NO})), required=False),
    )


def _change(what: str) -> dict[str, Any]:
    return operation(what, {200: answer("Done.")}, _CHANGE, request=body(json_of(_LOAD), required=False))


def endpoint_paths() -> Paths:
    """What only the endpoint answers."""
    paths: Paths = {
        "/v2": {"get": operation("What the server is", {200: answer("Metadata.", json_of(ref("v2.Server")))}, _QUERY)},
        "/v2/health/live": {"get": _health("lives", "live")},
        "/v2/health/ready": {"get": _health("can answer for every model", "ready")},
        "/v2/models/stats": {"get": _statistics()},
    }
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        paths |= {
            base: {"get": _metadata()},
            f"{base}/ready": {"get": _model_ready()},
            f"{base}/config": {"get": _config()},
            f"{base}/stats": {"get": _statistics()},
            f"{base}/infer": {"post": _infer()},
        }
    return tagged("open-inference", paths)


def repository_paths() -> Paths:
    """What the management port answers, and the endpoint where the config lets it."""
    paths: Paths = {}
    for base in ("/v2/repository", "/v2/repository/{repository}"):
        paths |= {
            f"{base}/index": {"post": _index()},
            f"{base}/models/{{model}}/load": {"post": _change("Load a model, or load it again")},
            f"{base}/models/{{model}}/unload": {"post": _change("Unload a model")},
        }
    return tagged("open-inference-repository", paths)
