"""The documents: of the endpoint, of one model, of the management port. OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serve.inference import ModelDescription
from serve.openapi import management, model_server, open_inference, plain, tensorflow_serving
from serve.openapi.parts import (
    CALL_ERRORS,
    HANDLER_ANSWER,
    PATH_PARAMETERS,
    Paths,
    Schema,
    answer,
    body,
    errors,
    operation,
    ref,
)
from serve.openapi.plain import model_paths, schemas_of
from serve.openapi.tensors import bodies_of
from serve.version import VERSION

OPENAPI = "3.1.0"
_CREDENTIALS: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key or token, where calls need one."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A key, where calls need one."},
}
_NUMBERS = "JSON answers write numbers that JSON does not have as the tokens NaN, Infinity and -Infinity."


def endpoint_document(descriptions: Sequence[ModelDescription]) -> dict[str, Any]:
    """Every path of every HTTP dialect, and a path of its own for each model that can be called."""
    paths = {
        **plain.document_paths(),
        **plain.plain_paths(),
        **model_paths(descriptions),
        **open_inference.endpoint_paths(),
        **open_inference.repository_paths(),
        **tensorflow_serving.endpoint_paths(),
        **model_server.endpoint_paths(),
        **model_server.models_paths(),
    }
    schemas = {
        **plain.SCHEMAS,
        **open_inference.SCHEMAS,
        **tensorflow_serving.SCHEMAS,
        **model_server.SCHEMAS,
        **_own_schemas(descriptions),
    }
    return _document("onegate", paths, schemas, [each.manifest.name for each in descriptions])


def model_document(description: ModelDescription) -> dict[str, Any]:
    """The paths of one model that a raw body can be sent to, with the schemas of its own tensors."""
    manifest = description.manifest
    name = manifest.name
    predictions = operation(
        f"Call {name}",
        {200: answer("What the model's processor or handler answers.", {"*/*": {}}), **HANDLER_ANSWER},
        errors(CALL_ERRORS, ref("servers.Error")),
        request=body(bodies_of(manifest)),
    )
    predictions["operationId"] = "predictions"
    paths = {f"/predictions/{name}": {"post": predictions}, **model_paths([description])}
    schemas = {**plain.SCHEMAS, **model_server.SCHEMAS, **_own_schemas([description])}
    return _document(name, paths, schemas, [name])


def management_document() -> dict[str, Any]:
    """What the management port answers."""
    paths = {
        **plain.document_paths(),
        **management.management_paths(),
        **open_inference.repository_paths(),
        **model_server.models_paths(),
    }
    schemas = {**plain.SCHEMAS, **management.SCHEMAS, **open_inference.SCHEMAS, **model_server.SCHEMAS}
    return _document("onegate management", paths, schemas, [])


def _own_schemas(descriptions: Sequence[ModelDescription]) -> dict[str, Schema]:
    return {name: schema for each in descriptions for name, schema in schemas_of(each).items()}


def _document(title: str, paths: Paths, schemas: dict[str, Schema], models: list[str]) -> dict[str, Any]:
    return {
        "openapi": OPENAPI,
        "info": {"title": title, "version": VERSION, "description": _NUMBERS},
        # With none of them too: what callers without credentials may ask is the config's to say.
        "security": [{}, *({name: []} for name in _CREDENTIALS)],
        "paths": paths,
        "components": {"schemas": schemas, "parameters": _parameters(models), "securitySchemes": _CREDENTIALS},
    }


def _parameters(models: list[str]) -> dict[str, Schema]:
    """Of paths; a model's name is one of those that can be called now."""
    if not models:
        return PATH_PARAMETERS
    model = PATH_PARAMETERS["model"]
    return {**PATH_PARAMETERS, "model": {**model, "schema": {"type": "string", "enum": models}}}
