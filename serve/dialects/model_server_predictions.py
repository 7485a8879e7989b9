"""Predictions of MXNet Model Server, TorchServe and SageMaker, whatever path they came by: requests to payloads, and
payloads to replies.

A body that is a form has a named input for each part, any other one is the input `body`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from model_store.manifest import PAYLOAD
from serve.asking import REQUEST_ID
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.model_server_replies import ALWAYS, Target, reply, request_id
from serve.dialects.raw_bodies import HEADER_VALUE, payload_of
from serve.inference import Answer, InferenceRequest, InferenceResponse, ModelQuery, Payload
from serve.payloads import EXPLAIN
from serve.routing import version_or_label

URL_PATH = "url_path"
"""Under this header a handler finds what follows the version in the path."""

_METHODS = ("POST", "PUT")
"""`curl -T picture.jpg`, as their guides have it, sends a PUT."""

MODEL_NAME = "model_name"
"""The input of `/invocations` that says which model is meant."""

_WITHHELD = frozenset(("authorization", "x-api-key", "cookie", EXPLAIN))
_WITHHELD_PREFIX = "proxy-"

_HOP_HEADERS = frozenset(
    ("connection", "content-length", "content-type", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
_NOT_A_HANDLERS = _HOP_HEADERS.union((REQUEST_ID,), (name for name, _ in ALWAYS))
"""What a handler can't set: they are the connection's, said otherwise, or the server's own as in MMS and TorchServe."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def inference_of(
    request: HttpRequest, target: Target, *, rest: str = "", query: bool = False, explain: bool = False
) -> InferenceRequest:
    """The prediction that `request` asks of `target`.

    `rest` is what follows in the path; with `query` the query's parameters are inputs, and name the model where the
    path does not. Raises `NoSuchRoute` for other methods and `InvalidInput` for a malformed form.
    """
    if request.method not in _METHODS:
        raise NoSuchRoute("Method Not Allowed", status=405)
    id = request_id(request)
    headers = _handed_on(request, id)
    if rest:
        headers[URL_PATH] = rest
    if explain:
        headers[EXPLAIN] = "True"
    payload = payload_of(request, headers)
    named = _take_query(request, payload) if query else ""
    version, label = version_or_label(target.version)
    return InferenceRequest(target.model or named, version, label, PAYLOAD, id, payload=payload)


def model_query_of(target: Target) -> ModelQuery:
    """The question what `target` is."""
    return ModelQuery(target.model, *version_or_label(target.version))


def inference_reply(answer: Answer) -> HttpReply:
    """The model's answer, with the content type, status and headers that it was given."""
    assert isinstance(answer, InferenceResponse)
    payload = answer.payload
    assert payload is not None
    headers = list(_own_headers(payload))
    if payload.content_type and HEADER_VALUE.fullmatch(payload.content_type):
        headers.append(("content-type", payload.content_type))
    # A handler may say what no HTTP status is.
    status = payload.status if 200 <= payload.status <= 599 else 500
    return reply(status, payload.body, answer.id, headers)


def _handed_on(request: HttpRequest, id: str) -> dict[str, str]:
    """The headers that a handler sees, with the request's id: all but credentials (`authorization`, `x-api-key`,
    `cookie`, `proxy-..`), which the archive's code has no business with, and `explain`, which the path decides.
    SageMaker's `x-amzn-sagemaker-target-model` is among them."""
    headers = {
        name: value
        for name, value in request.headers.items()
        if name not in _WITHHELD and not name.startswith(_WITHHELD_PREFIX)
    }
    headers[REQUEST_ID] = id
    return headers


def _take_query(request: HttpRequest, payload: Payload) -> str:
    """Puts the query's parameters beside the inputs of `payload`, and returns the name of the model, empty where
    neither has one: that is for the server and no input. A form's part goes before a parameter of the same name."""
    given = request.parameters() if request.query else {}
    fields = {**{name: value.encode() for name, value in given.items()}, **payload.fields}
    model = fields.pop(MODEL_NAME, b"").decode(errors="replace")
    if fields and payload.body:
        # Beside other inputs the body is one of them, so that processors find it where forms have it.
        fields["body"] = payload.body
        payload.field_types = {"body": payload.content_type} if payload.content_type else {}
        payload.body = b""
    payload.fields = fields
    return model


def _own_headers(payload: Payload) -> Iterator[tuple[str, str]]:
    for name, value in payload.headers.items():
        lower = name.lower()
        if lower not in _NOT_A_HANDLERS and _HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value):
            yield lower, value
