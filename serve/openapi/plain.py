"""The plain call, the documents themselves, and each model's own path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serve.inference import ModelDescription
from serve.openapi.parts import (
    ANY,
    BINARY,
    BYTES,
    CALL_ERRORS,
    HANDLER_ANSWER,
    JSON,
    TEXT,
    Paths,
    Schema,
    answer,
    body,
    errors,
    json_of,
    object_of,
    operation,
    ref,
    tagged,
)
from serve.openapi.tensors import CSV, NPY, NPZ, bodies_of, outputs_schema, takes_any_body

SCHEMAS: dict[str, Schema] = {
    "Error": object_of({"error": TEXT, "kind": TEXT}, ["error", "kind"]),
    "Prediction": object_of({"model": TEXT, "version": TEXT, "outputs": {"type": "object"}}),
}
_ERRORS = errors(CALL_ERRORS, ref("Error"))
_TAG = "plain"
_ANY_BODY = {
    JSON: ANY,
    CSV: TEXT,
    NPY: BINARY,
    NPZ: BINARY,
    "image/*": BINARY,
    "multipart/form-data": {"type": "object"},
    BYTES: BINARY,
}


def _predict() -> dict[str, Any]:
    return operation(
        "JSON {input: values}, CSV, .npy, .npz, a picture or a form in, JSON or CSV out",
        {
            200: answer("The outputs by name, or what the model's processor or handler answers.", {"*/*": ANY}),
            **HANDLER_ANSWER,
        },
        _ERRORS,
        request=body(_ANY_BODY, required=False),
    )


def _document() -> dict[str, Any]:
    return operation("This document", {200: answer("OpenAPI 3.1.", json_of({"type": "object"}))}, {})


def plain_paths() -> Paths:
    """The plain call for any model."""
    return tagged(
        _TAG,
        {
            "/predict/{model}": {"post": _predict()},
            "/predict/{model}/{version_or_label}": {"post": _predict()},
        },
    )


def document_paths() -> Paths:
    """Where the document is, also as clients of MXNet Model Server and TorchServe ask for it."""
    return tagged(
        "description",
        {
            "/": {"options": _document()},
            "/api-description": {"get": _document()},
            "/openapi.json": {"get": _document()},
        },
    )


def schemas_of(description: ModelDescription) -> dict[str, Schema]:
    """The schemas of a model's own outputs, by name of a component."""
    manifest = description.manifest
    if takes_any_body(manifest):
        return {}
    return {f"{manifest.name}.outputs": outputs_schema(manifest.signatures[manifest.default_signature])}


def model_paths(descriptions: Iterable[ModelDescription]) -> Paths:
    """`/predict/<name>` of each model, with the schemas of its own tensors."""
    return tagged(_TAG, {f"/predict/{each.manifest.name}": {"post": _predict_this(each)} for each in descriptions})


def _predict_this(description: ModelDescription) -> dict[str, Any]:
    manifest = description.manifest
    summary = f"Call {manifest.name}: {manifest.framework}, version {description.version}"
    found = answer("What the model's handler answers.", {"*/*": ANY})
    others = HANDLER_ANSWER if takes_any_body(manifest) else {}
    if not takes_any_body(manifest):
        outputs = object_of(
            {"model": TEXT, "version": TEXT, "outputs": ref(f"{manifest.name}.outputs")},
            ["model", "version", "outputs"],
        )
        told = "The outputs, without the batch dimension where the request came so; as CSV a line a row."
        found = answer(told, {JSON: outputs, CSV: TEXT})
        if manifest.processor is not None:
            found = answer("The outputs; for a picture what the processor makes of them.", {JSON: ANY, CSV: TEXT})
    return operation(summary, {200: found, **others}, _ERRORS, request=body(bodies_of(manifest)))
