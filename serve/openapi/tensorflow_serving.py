"""TensorFlow Serving's REST interface."""

from __future__ import annotations

from typing import Any

from serve.openapi.parts import (
    ANY,
    CALL_ERRORS,
    QUERY_ERRORS,
    TEXT,
    Paths,
    Schema,
    answer,
    body,
    errors,
    json_of,
    list_of,
    object_of,
    operation,
    ref,
    tagged,
)

_EXAMPLES: Schema = {"type": "array", "items": {"type": "object"}, "minItems": 1}
_EXAMPLE_REQUEST = object_of(
    {"signature_name": TEXT, "context": {"type": "object"}, "examples": _EXAMPLES}, ["examples"]
)

SCHEMAS: dict[str, Schema] = {
    "v1.Error": object_of({"error": TEXT}, ["error"]),
    "v1.Status": object_of(
        {
            "model_version_status": list_of(
                object_of(
                    {
                        "version": TEXT,
                        "state": {"enum": ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                        "status": object_of({"error_code": TEXT, "error_message": TEXT}),
                    },
                    ["version", "state", "status"],
                )
            )
        },
        ["model_version_status"],
    ),
    "v1.Metadata": object_of({"model_spec": {"type": "object"}, "metadata": {"type": "object"}}),
    "v1.PredictRequest": {
        "oneOf": [
            object_of({"signature_name": TEXT, "instances": {"type": "array", "minItems": 1}}, ["instances"]),
            object_of({"signature_name": TEXT, "inputs": ANY}, ["inputs"]),
        ]
    },
    "v1.PredictResponse": {
        "oneOf": [
            object_of({"predictions": {"type": "array"}}, ["predictions"]),
            object_of({"outputs": ANY}, ["outputs"]),
        ]
    },
    "v1.ExampleRequest": _EXAMPLE_REQUEST,
    "v1.Results": object_of({"results": {"type": "array"}}, ["results"]),
}

_ERROR = ref("v1.Error")
_BASES = (
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/labels/{label}",
)


def _status() -> dict[str, Any]:
    return operation(
        "How far the versions are",
        {200: answer("A state a version.", json_of(ref("v1.Status")))},
        errors(QUERY_ERRORS, _ERROR),
    )


def _metadata() -> dict[str, Any]:
    return operation(
        "The model's signatures",
        {200: answer("Signatures.", json_of(ref("v1.Metadata")))},
        errors(QUERY_ERRORS, _ERROR),
    )


def _call(what: str, request: str, response: str) -> dict[str, Any]:
    return operation(
        what,
        {200: answer("The outputs.", json_of(ref(response)))},
        errors(CALL_ERRORS, _ERROR),
        request=body(json_of(ref(request))),
    )


def endpoint_paths() -> Paths:
    """What the endpoint answers."""
    paths: Paths = {}
    for base in _BASES:
        paths |= {
            base: {"get": _status()},
            f"{base}/metadata": {"get": _metadata()},
            f"{base}:predict": {"post": _call("Call the model", "v1.PredictRequest", "v1.PredictResponse")},
            f"{base}:classify": {"post": _call("Classify examples", "v1.ExampleRequest", "v1.Results")},
            f"{base}:regress": {"post": _call("Regress examples", "v1.ExampleRequest", "v1.Results")},
        }
    return tagged("tensorflow-serving", paths)
