"""Open Inference Protocol (KServe v2) over HTTP, with Triton's extensions that `HTTP_EXTENSIONS` lists.

Specification: https://github.com/kserve/open-inference-protocol (REST); Triton's extensions: binary_data,
classification, model_configuration, model_repository, parameters, schedule_policy, statistics. Compression is the front
door's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec

from model_store.errors import (
    ConfigError,
    Conflict,
    ConversionError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
    SourceError,
    Unsupported,
)
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute, http_status, retry_after
from serve.dialects.open_inference import NOT_OFFERED
from serve.dialects.open_inference_json import ReplyForm, decode_inference, tensors_begin
from serve.dialects.open_inference_models import UNPACKED, encode_model, encode_server, json_reply
from serve.dialects.open_inference_paths import Call, read_path
from serve.dialects.open_inference_replies import encode_inference, encode_json
from serve.dialects.open_inference_repository import FILE, index_document, load_operation, unload_operation
from serve.dialects.open_inference_statistics import statistics_document
from serve.inference import (
    Answer,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Query,
    ServerDescription,
    ServerQuery,
    Statistics,
    StatisticsQuery,
)
from serve.operations import ListModels, ModelList

T = TypeVar("T")

_FAILED_CHANGES = (ModelNotFound, Conflict, ConfigError, SourceError, ConversionError, OutOfMemory, ModelNotReady)
"""Kinds that a load or unload which failed answers with 400, as Triton does."""


class OpenInferenceHttp:
    """The dialect; it has no state."""

    name = "open_inference"
    segments: tuple[str, ...] = ("v2",)

    def decode(self, request: HttpRequest) -> Query:
        """The query in `request`; raises `NoSuchRoute` for other paths, `Unsupported` for extensions that are not
        offered, `InvalidInput` for a bad body."""
        call = read_path(request.path)
        method, decode = _CALLS.get(call.action) or _raise_unknown(call)
        if request.method != method:
            raise NoSuchRoute("Method Not Allowed", status=405)
        return decode(request, call)

    def tensors_begin(self, request: HttpRequest) -> int:
        """As `HttpDialect` has it."""
        return tensors_begin(request)

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The reply that carries `answer`."""
        if isinstance(answer, InferenceResponse):
            assert isinstance(query, InferenceRequest)
            assert isinstance(query.reply_form, ReplyForm)
            return encode_inference(answer, query.reply_form)
        if isinstance(answer, ModelDescription):
            return encode_model(read_path(request.path).action, answer)
        if isinstance(answer, Statistics):
            return json_reply({"model_stats": statistics_document(answer)})
        if isinstance(answer, ModelList):
            return _encode_models(request, query, answer)
        assert isinstance(answer, ServerDescription)
        return encode_server(read_path(request.path).action, answer)

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"error": text}` under the kind's status; 400 for a model that is not ready on its readiness path, and for
        a load or unload that failed."""
        return HttpReply(_status(request, error), encode_json({"error": error.message}), UNPACKED + retry_after(error))


def _status(request: HttpRequest, error: OnegateError) -> int:
    action = read_path(request.path).action
    failed = isinstance(error, ModelNotReady) and action == "models/ready"
    if failed or (action.startswith("repository/") and isinstance(error, _FAILED_CHANGES)):
        return 400
    return http_status(error)


def _server(request: HttpRequest, call: Call) -> Query:
    return ServerQuery()


def _model(request: HttpRequest, call: Call) -> Query:
    return ModelQuery(call.model, call.version, call.label)


def _statistics(request: HttpRequest, call: Call) -> Query:
    # Counters are of a version; a label in its place is none that is known.
    return StatisticsQuery(call.model or None, call.version if call.label is None else call.label)


def _inference(request: HttpRequest, call: Call) -> Query:
    return decode_inference(request, call.model, call.version, call.label)


def _index(request: HttpRequest, call: Call) -> Query:
    _only_ready(request)
    return ListModels(stored=True)


def _load(request: HttpRequest, call: Call) -> Query:
    parameters = _parameters(request)
    for key in parameters:
        if key.startswith(FILE):
            parameters[key] = _file(key, parameters[key])
    return load_operation(call.model, parameters)


def _unload(request: HttpRequest, call: Call) -> Query:
    return unload_operation(call.model, _parameters(request))


_CALLS: Mapping[str, tuple[str, Callable[[HttpRequest, Call], Query]]] = {
    "": ("GET", _server),
    "health/live": ("GET", _server),
    "health/ready": ("GET", _server),
    "models": ("GET", _model),
    "models/ready": ("GET", _model),
    "models/config": ("GET", _model),
    "models/stats": ("GET", _statistics),
    "models/infer": ("POST", _inference),
    "repository/index": ("POST", _index),
    "repository/load": ("POST", _load),
    "repository/unload": ("POST", _unload),
}
"""Action -> its method and what reads the request."""


def _raise_unknown(call: Call) -> NoReturn:
    extension = call.action.removeprefix("models/").partition("/")[0]
    if extension in NOT_OFFERED:
        raise Unsupported(NOT_OFFERED[extension])
    raise NoSuchRoute("Not Found")


class _IndexBody(msgspec.Struct):
    ready: bool = False


class _ChangeBody(msgspec.Struct):
    parameters: dict[str, Any] | None = None


_read_index_body = msgspec.json.Decoder(_IndexBody).decode
_read_change_body = msgspec.json.Decoder(_ChangeBody).decode


def _encode_models(request: HttpRequest, query: Query, answer: ModelList) -> HttpReply:
    """The index as a bare list; a load or unload that is done has nothing to say."""
    if not isinstance(query, ListModels):
        return HttpReply(200, b"")
    return json_reply(index_document(answer, only_ready=_only_ready(request)))


def _only_ready(request: HttpRequest) -> bool:
    return _read(request.body, _read_index_body).ready if request.body.strip() else False


def _parameters(request: HttpRequest) -> dict[str, Any]:
    body = _read(request.body, _read_change_body) if request.body.strip() else _ChangeBody()
    return {key: value for key, value in (body.parameters or {}).items() if value is not None}


def _read(body: bytes, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not a v2 repository request: {error!s:.200}") from error


def _file(key: str, text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidInput(f"parameter {key!r:.80} is a file in base64") from error
