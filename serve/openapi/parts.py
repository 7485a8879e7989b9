"""What operations of an OpenAPI document are made of (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = dict[str, Any]
Paths = dict[str, dict[str, Any]]
"""Path -> method -> operation."""

JSON = "application/json"
BYTES = "application/octet-stream"
ANY: Schema = {}

_PARAMETER = re.compile(r"\{(\w+)\}")

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
VERSION_PATTERN = "^[0-9][A-Za-z0-9._-]*$"
LABEL_PATTERN = "^[A-Za-z][A-Za-z0-9._-]*$"

REASONS = {
    400: "The body, a parameter or a tensor is wrong.",
    401: "A key or token is needed, or the one that came is not valid.",
    403: "The caller may not ask this here.",
    404: "No such model, version or path.",
    405: "Another method is needed.",
    408: "The deadline passed.",
    409: "It is there already, or somebody else changed it first.",
    413: "The body is larger than the endpoint takes.",
    422: "The model can't be converted.",
    429: "Overloaded, or the key's limits are used up; Retry-After says when to come again.",
    500: "A defect, or the model failed.",
    501: "Not offered here.",
    503: "The model can't answer now, or its queue is full; Retry-After may say when to come again.",
    504: "The deadline passed.",
    507: "There is not enough memory.",
}
QUERY_ERRORS = (400, 401, 403, 404, 413, 429, 500, 501, 503, 504)
"""Statuses of errors that any call can end with."""
CALL_ERRORS = (*QUERY_ERRORS, 408, 507)
"""Those of calls of models: what a handler says comes on top."""
CHANGE_ERRORS = (*QUERY_ERRORS, 409, 422, 507)
"""Those of calls that change what is served."""


def ref(name: str) -> Schema:
    """The schema of that name among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str, where: str, schema: Schema, description: str, required: bool = False) -> Schema:
    """A parameter in `where`: `path`, `query` or `header`."""
    return {"name": name, "in": where, "required": required, "description": description, "schema": schema}


PATH_PARAMETERS = {
    "model": parameter("model", "path", {"type": "string", "pattern": NAME_PATTERN}, "Name of a model.", True),
    "version": parameter(
        "version", "path", {"type": "string", "pattern": VERSION_PATTERN}, "Version of the model.", True
    ),
    "label": parameter("label", "path", {"type": "string", "pattern": LABEL_PATTERN}, "Label of a version.", True),
    "version_or_label": parameter(
        "version_or_label",
        "path",
        {"type": "string", "pattern": NAME_PATTERN},
        "A version, which begins with a digit, or a label.",
        True,
    ),
    "repository": parameter(
        "repository", "path", {"type": "string", "pattern": NAME_PATTERN}, "Any name; there is one repository.", True
    ),
}


def content(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """Media type -> schema, as bodies and answers have it."""
    return {media: {"schema": schema} for media, schema in schemas.items()}


def json_of(schema: Schema) -> dict[str, Schema]:
    """A body or answer that is JSON only."""
    return {JSON: schema}


def body(schemas: Mapping[str, Schema], required: bool = True) -> dict[str, Any]:
    """A request's body by media type."""
    return {"required": required, "content": content(schemas)}


def errors(statuses: Iterable[int], schema: Schema) -> dict[str, Any]:
    """An answer of each status, all in one form."""
    return {
        str(status): {"description": REASONS[status], "content": content(json_of(schema))}
        for status in sorted(set(statuses))
    }


def answer(description: str, schemas: Mapping[str, Schema] | None = None) -> dict[str, Any]:
    """One answer; one without schemas has an empty body."""
    return {"description": description, "content": content(schemas)} if schemas else {"description": description}


HANDLER_ANSWER: dict[int | str, Any] = {
    "default": answer("What a handler answers under a status of its own.", {"*/*": ANY})
}
"""Beside the answers of a call that may reach a handler."""


def operation(
    summary: str,
    answers: Mapping[int, Any] | Mapping[int | str, Any],
    failures: Mapping[str, Any],
    *,
    parameters: Sequence[Schema] = (),
    request: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One operation; `failures` are what `errors` gives, `answers` by status go before them."""
    made: dict[str, Any] = {"summary": summary, "responses": {**failures, **{str(s): a for s, a in answers.items()}}}
    if parameters:
        made["parameters"] = list(parameters)
    if request is not None:
        made["requestBody"] = request
    return made


def tagged(tag: str, paths: Paths) -> Paths:
    """The same operations with their tag, their parameters in the path and an id of their own each."""
    return {path: _completed(tag, path, methods) for path, methods in paths.items()}


def _completed(tag: str, path: str, methods: dict[str, Any]) -> dict[str, Any]:
    refs = [{"$ref": f"#/components/parameters/{name}"} for name in _PARAMETER.findall(path)]
    completed = {
        method: {"tags": [tag], "operationId": f"{method}{re.sub(r'[^A-Za-z0-9]+', '_', path)}".rstrip("_"), **made}
        for method, made in methods.items()
    }
    return {"parameters": refs, **completed} if refs else completed


def object_of(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    """An object that has at least `required`, and may have more than is listed."""
    made: Schema = {"type": "object", "properties": dict(properties)}
    names = list(required)
    if names:
        made["required"] = names
    return made


def list_of(items: Schema) -> Schema:
    """A list of any length."""
    return {"type": "array", "items": items}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
YES_NO: Schema = {"type": "boolean"}
BINARY: Schema = {"type": "string", "format": "binary"}
