"""TensorFlow Serving's REST API: below `/v1/models/{model}[/versions/{v}|/labels/{l}]` the model's state, `/metadata`,
`:predict`, `:classify` and `:regress`.

Specification: https://www.tensorflow.org/tfx/serving/api_rest. Path words are matched without regard to case. The
preflight of a browser is answered and given no permission: other origins can't read answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from model_store.errors import InvalidInput, ModelNotFound, OnegateError, PayloadTooLarge
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute, retry_after
from serve.dialects.tensorflow_examples import decode_examples, reader_of
from serve.dialects.tensorflow_json import decode_predict, signature_of
from serve.dialects.tensorflow_models import (
    LARGEST_VERSION,
    no_status,
    not_there,
    signature_map,
    status_message,
    version_number,
)
from serve.dialects.tensorflow_results import classifications, columns, predictions, regressions
from serve.errors import status_of
from serve.inference import (
    Answer,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Query,
    ServerQuery,
    StatusQuery,
)
from serve.operations import ModelList
from serve.processors.json_tensors import write_json

_HEADERS = [("content-type", "application/json")]
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r"(?:/(?P<metadata>metadata)|:(?P<verb>predict|classify|regress))?",
    re.IGNORECASE,
)

_HTTP = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""HTTP statuses of the protocol's codes; the others are 500."""


@dataclass(slots=True)
class _Target:
    """What a path names. `action` is `status`, `metadata`, `predict`, `classify` or `regress`."""

    model: str
    version: str | None
    label: str | None
    action: str


class TensorFlowServingRest:
    """The dialect; it has no state."""

    name = "tensorflow_serving"
    segments: tuple[str, ...] = ("v1", "V1")

    def decode(self, request: HttpRequest) -> Query:
        """The query in `request`; raises `NoSuchRoute`, with status 400, for other paths and methods, `InvalidInput`
        for a bad body."""
        if request.method == "OPTIONS" and (request.header("origin") or "").startswith(("http://", "https://")):
            return ServerQuery()
        target = _target(request)
        model, version, label = target.model, target.version, target.label
        if target.action == "predict":
            return decode_predict(request.body, model, version, label)
        if target.action == "status":
            return StatusQuery(model, version)
        if target.action == "metadata":
            return ModelQuery(model, version, label)
        given, signature = decode_examples(request.body)
        read = reader_of(given)
        return InferenceRequest(
            model, version, label, signature_of(signature), read_inputs=read, reply_form=target.action
        )

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The reply that carries `answer`; raises `InvalidInput` for outputs that the protocol has no form for."""
        if isinstance(answer, InferenceResponse):
            assert isinstance(query, InferenceRequest)
            return HttpReply(200, _RESULTS[query.reply_form](answer), _HEADERS)
        if isinstance(answer, ModelDescription):
            return _pretty(_metadata(answer))
        if isinstance(answer, ModelList):
            return _pretty(_as_json(status_message(answer)))
        return HttpReply(200, b"")

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"error": text}` under the status of the protocol's code."""
        if isinstance(error, NoSuchRoute):
            return _error(error.status, error.message)
        if isinstance(error, ModelNotFound):
            target = _target(request)
            error = (no_status if target.action == "status" else not_there)(error, target.model, target.version)
        if isinstance(error, PayloadTooLarge):  # of this server's own: a client that tried later would fail again
            return _error(status_of(error).http, error.message)
        reply = _error(_HTTP.get(status_of(error).grpc, 500), error.message)
        reply.headers = [*reply.headers, *retry_after(error)]
        return reply


def _target(request: HttpRequest) -> _Target:
    match = _PATH.fullmatch(request.path)
    if match is not None:
        model, version, label, metadata, verb = match.groups()
        if request.method == ("POST" if verb else "GET"):
            action = (verb or metadata or "status").lower()
            return _Target(model, _version(version) if version else None, label, action)
    raise NoSuchRoute(f"Malformed request: {request.method} {request.path}", status=400)


def _version(digits: str) -> str:
    digits = digits.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > LARGEST_VERSION:
        raise InvalidInput(f"expected a version of at most {LARGEST_VERSION}, got {digits:.40}")
    return digits


def _predicted_rows(response: InferenceResponse) -> bytes:
    return b'{\n    "predictions": %b\n}' % write_json(predictions(response))


def _predicted_columns(response: InferenceResponse) -> bytes:
    return b'{\n    "outputs": %b\n}' % write_json(columns(response))


def _classified(response: InferenceResponse) -> bytes:
    rows = classifications(response).classifications
    return write_json({"results": [[[each.label, each.score] for each in row.classes] for row in rows]})


def _regressed(response: InferenceResponse) -> bytes:
    return write_json({"results": [each.value for each in regressions(response).regressions]})


_RESULTS: dict[object, Any] = {
    True: _predicted_rows,
    False: _predicted_columns,
    "classify": _classified,
    "regress": _regressed,
}
"""By the request's `reply_form`."""


def _metadata(answer: ModelDescription) -> dict[str, Any]:
    spec = {"name": answer.manifest.name, "signature_name": "", "version": str(version_number(answer.version))}
    return {"model_spec": spec, "metadata": {"signature_def": _as_json(signature_map(answer.manifest))}}


def _as_json(message: Any) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields


def _pretty(document: dict[str, Any]) -> HttpReply:
    return HttpReply(200, msgspec.json.format(msgspec.json.encode(document), indent=1), _HEADERS)


def _error(status: int, text: str) -> HttpReply:
    return HttpReply(status, msgspec.json.encode({"error": text}), _HEADERS)
