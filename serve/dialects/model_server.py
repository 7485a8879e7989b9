"""The predictions of MXNet Model Server and TorchServe over HTTP: a raw body in, a raw body out.

References: https://github.com/awslabs/multi-model-server/blob/master/docs/inference_api.md and
https://pytorch.org/serve/inference_api.html. Where the two differ, an answer is TorchServe's, which knows versions.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from model_store.errors import (
    Conflict,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    Overloaded,
)
from model_store.manifest import PAYLOAD
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.errors import status_of
from serve.forms import read_form
from serve.inference import Answer, InferenceRequest, InferenceResponse, Payload, Query, ServerDescription, ServerQuery
from serve.payloads import refusal

REQUEST_ID = "x-request-id"
URL_PATH = "url_path"
"""Under this header a handler finds what follows the version in the path."""

_METHODS = ("POST", "PUT")
"""`curl -T picture.jpg`, as their guides have it, sends a PUT."""

_ALWAYS = [
    ("pragma", "no-cache"),
    ("cache-control", "no-cache; no-store, must-revalidate, private"),
    ("expires", "Thu, 01 Jan 1970 00:00:00 UTC"),
]
_HOP_HEADERS = frozenset(
    ("connection", "content-length", "content-type", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
_NOT_A_HANDLERS = _HOP_HEADERS.union((REQUEST_ID,), (name for name, _ in _ALWAYS))
"""What a handler can't set: they are the connection's, said otherwise, or the server's own as in MMS and TorchServe."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")

_NAMES: dict[type[OnegateError], str] = {
    InvalidInput: "BadRequestException",
    ModelNotFound: "ModelNotFoundException",
    DeadlineExceeded: "RequestTimeoutException",
    Conflict: "ConflictStatusException",
    ModelNotReady: "ServiceUnavailableException",
    Overloaded: "ServiceUnavailableException",
    InternalError: "InternalServerException",
}
"""Kind of error -> the exception of theirs that it is told as."""
_STATUSES: dict[type[OnegateError], int] = {DeadlineExceeded: 408}
"""Kinds whose status is another one than usual."""
_ROUTES = {
    404: ("ResourceNotFoundException", "Requested resource is not found, please refer to API document."),
    405: ("MethodNotAllowedException", "Requested method is not allowed, please refer to API document."),
}


class Predictions:
    """`POST /predictions/{model}` and `/predictions/{model}/{version}`; a label goes for a version. It has no state."""

    segments: tuple[str, ...] = ("predictions",)

    def decode(self, request: HttpRequest) -> Query:
        """The request; raises `NoSuchRoute` for other paths and methods and `InvalidInput` for a malformed form."""
        model, version, label, rest = _target(request.path)
        if not model:
            raise NoSuchRoute("Not Found")
        if request.method not in _METHODS:
            raise NoSuchRoute("Method Not Allowed", status=405)
        request_id = _request_id(request)
        headers = {**dict(request.headers.items()), REQUEST_ID: request_id}
        if rest:
            headers[URL_PATH] = rest
        payload = _payload(request, headers)
        return InferenceRequest(model, version, label, PAYLOAD, request_id, payload=payload)

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The model's answer, with the content type, status and headers that it was given."""
        assert isinstance(answer, InferenceResponse)
        assert answer.payload is not None
        return _reply(answer.payload, answer.id)

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"code", "type", "message"}` as these servers word it."""
        return _reply(_error_payload(request, error), _request_id(request))


class Ping:
    """`GET /ping`: 200 and `Healthy` when every model of the config can be called, else 500, as TorchServe has it."""

    segments: tuple[str, ...] = ("ping",)

    def decode(self, request: HttpRequest) -> Query:
        """The question; raises `NoSuchRoute` for other paths and methods."""
        if request.path.rstrip("/") != "/ping":
            raise NoSuchRoute("Not Found")
        if request.method != "GET":
            raise NoSuchRoute("Method Not Allowed", status=405)
        return ServerQuery()

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """`{"status": "Healthy"}` or `Unhealthy`."""
        assert isinstance(answer, ServerDescription)
        body = json.dumps({"status": "Healthy" if answer.ready else "Unhealthy"}, indent=2) + "\n"
        status = 200 if answer.ready else 500
        return _reply(Payload(body.encode(), "application/json", status=status), _request_id(request))

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """As `Predictions` has it."""
        return _reply(_error_payload(request, error), _request_id(request))


def _target(path: str) -> tuple[str, str | None, str | None, str]:
    """Model, version or label, and what follows them."""
    model, _, rest = path.removeprefix("/predictions").lstrip("/").partition("/")
    version, _, rest = rest.partition("/")
    if not version:
        return model, None, None, rest
    return (model, version, None, rest) if version[0].isdigit() else (model, None, version, rest)


def _request_id(request: HttpRequest) -> str:
    """The client's own id, where it is one that can be sent back."""
    given = request.header(REQUEST_ID)
    return given if given and _CLIENT_ID.fullmatch(given) else str(uuid.uuid4())


def _payload(request: HttpRequest, headers: dict[str, str]) -> Payload:
    content_type = request.header("content-type") or ""
    form = read_form(content_type, request.body)
    if form is None:
        return Payload(request.body, content_type, headers=headers)
    return Payload(b"", content_type, form.fields, headers, field_types=form.types)


def _reply(payload: Payload, request_id: str) -> HttpReply:
    headers = [(REQUEST_ID, request_id), *_ALWAYS, *_own_headers(payload)]
    if payload.content_type and _HEADER_VALUE.fullmatch(payload.content_type):
        headers.append(("content-type", payload.content_type))
    # A handler may say what no HTTP status is.
    status = payload.status if 200 <= payload.status <= 599 else 500
    if status >= 400:
        headers.append(("connection", "close"))
    return HttpReply(status, payload.body, headers)


def _own_headers(payload: Payload) -> Iterator[tuple[str, str]]:
    for name, value in payload.headers.items():
        lower = name.lower()
        if lower not in _NOT_A_HANDLERS and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value):
            yield lower, value


def _error_payload(request: HttpRequest, error: OnegateError) -> Payload:
    if isinstance(error, NoSuchRoute):
        return refusal(error.status, *_ROUTES[error.status])
    status = _STATUSES.get(type(error), status_of(error).http)
    kind = next((known for known in type(error).__mro__ if known in _NAMES), None)
    if kind is None:
        return refusal(status, type(error).__name__, error.message)
    return refusal(status, _NAMES[kind], _WORDS.get(kind, _plain)(_target(request.path), error))


def _plain(target: tuple[Any, ...], error: OnegateError) -> str:
    return error.message


def _not_found(target: tuple[Any, ...], error: OnegateError) -> str:
    model, version, label, _ = target
    if version is None and label is None:
        return f"Model not found: {model}"
    return f"Model version: {label or version} does not exist for model: {model}; {error.message}"


def _unavailable(target: tuple[Any, ...], error: OnegateError) -> str:
    return (
        f"No worker is available to serve request for model: {target[0]}. Consider increasing job queue size. "
        f"({error.message})"
    )


_WORDS = {ModelNotFound: _not_found, ModelNotReady: _unavailable, Overloaded: _unavailable}
