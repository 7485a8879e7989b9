"""The predictions of MXNet Model Server, TorchServe and SageMaker: paths, bodies, answers, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_store.errors import (
    ConfigError,
    Conflict,
    ConversionError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
    Overloaded,
    PayloadTooLarge,
    SourceError,
    Unsupported,
)
from model_store.manifest import PAYLOAD
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.model_server import Ping, Predictions
from serve.dialects.model_server_replies import Manner
from serve.inference import InferenceRequest, InferenceResponse, ModelQuery, Payload, ServerDescription, ServerQuery

DIALECT = Predictions()


def request(path: str = "/predictions/m", body: bytes = b"", method: str = "POST", **headers: str) -> HttpRequest:
    path, _, query = path.partition("?")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(method, path, body, named.get, named, query)


def decode(*arguments: Any, **headers: str) -> InferenceRequest:
    query = DIALECT.decode(request(*arguments, **headers))
    assert isinstance(query, InferenceRequest)
    return query


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "model", "version", "label", "url_path"),
    [
        ("/predictions/m", "m", None, None, None),
        ("/predictions/m/", "m", None, None, None),
        ("/predictions/m/7", "m", "7", None, None),
        ("/predictions/m/canary", "m", None, "canary", None),
        ("/predictions/m/1.0", "m", "1.0", None, None),
        ("/predictions/m/7/v1/chat", "m", "7", None, "v1/chat"),
        ("/predictions/m?data=1", "m", None, None, None),
        ("/m/predict", "m", None, None, None),
        ("/m/2/predict", "m", "2", None, None),
        ("/m/canary/predict", "m", None, "canary", None),
        ("/invocations", "", None, None, None),
        ("/invocations/", "", None, None, None),
        ("/invocations?model_name=m", "m", None, None, None),
    ],
)
def test_the_path_names_model_and_version(
    path: str, model: str, version: str | None, label: str | None, url_path: str | None
) -> None:
    query = decode(path)
    assert (query.model, query.version, query.label, query.signature) == (model, version, label, PAYLOAD)
    assert query.payload is not None
    assert query.payload.headers.get("url_path") == url_path
    assert query.payload.fields == {}


def test_the_body_and_its_headers_are_handed_on() -> None:
    query = decode("/predictions/m", b"\xff\xd8", content_type="image/jpeg", accept="*/*", x_request_id="id-1")
    headers = {"content-type": "image/jpeg", "accept": "*/*", "x-request-id": "id-1"}
    assert query.payload == Payload(b"\xff\xd8", "image/jpeg", {}, headers)
    assert query.id == "id-1"
    assert query.inputs is None


def test_neither_credentials_nor_what_the_path_decides_are_handed_on() -> None:
    sent = {
        "explain": "True",
        "authorization": "Bearer a",
        "cookie": "a=b",
        "proxy_authorization": "c",
        "x_amzn_sagemaker_target_model": "d",
    }
    query = decode("/predictions/m", x_request_id="id-1", **sent)
    assert query.payload is not None
    assert query.payload.headers == {"x-amzn-sagemaker-target-model": "d", "x-request-id": "id-1"}


@pytest.mark.parametrize("path", ["/m/predict?a=1&a=2&model_name=n", "/invocations?model_name=m&a=2"])
def test_parameters_of_the_query_are_inputs_beside_the_body(path: str) -> None:
    query = decode(path, b"[1]", content_type="application/json")
    assert query.model == "m"
    assert query.payload is not None
    assert query.payload.fields == {"a": b"2", "body": b"[1]"}
    assert (query.payload.body, query.payload.field_types) == (b"", {"body": "application/json"})
    assert query.payload.content_type == "application/json"


def test_a_body_without_parameters_stays_the_body() -> None:
    payload = decode("/invocations?model_name=m", b"[1]", content_type="application/json").payload
    assert payload is not None
    assert (payload.body, payload.fields, payload.field_types) == (b"[1]", {}, {})


def test_parameters_of_the_query_may_be_the_only_inputs() -> None:
    query = decode("/m/predict?data=%5B1%5D")
    assert query.payload is not None
    assert (query.payload.body, query.payload.fields) == (b"", {"data": b"[1]"})


def test_a_form_names_the_model_and_goes_before_the_query() -> None:
    query = decode("/invocations?data=2&x=3", b"data=1&model_name=m", content_type="application/x-www-form-urlencoded")
    assert query.model == "m"
    assert query.payload is not None
    assert (query.payload.body, query.payload.fields) == (b"", {"data": b"1", "x": b"3"})


@pytest.mark.parametrize(("path", "version"), [("/explanations/m", None), ("/explanations/m/1.0", "1.0")])
def test_an_explanation_is_asked_by_a_header(path: str, version: str | None) -> None:
    query = decode(path, b"[1]")
    assert (query.model, query.version) == ("m", version)
    assert query.payload is not None
    assert query.payload.headers["explain"] == "True"


@pytest.mark.parametrize("path", ["/predictions/m/1.0", "/m/1.0/predict"])
def test_options_ask_what_a_model_is(path: str) -> None:
    assert DIALECT.decode(request(path, method="OPTIONS")) == ModelQuery("m", "1.0")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n1\r\n--b--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"data=1"),
    ],
)
def test_a_form_has_fields_instead_of_a_body(content_type: str, body: bytes) -> None:
    query = decode("/predictions/m", body, content_type=content_type)
    assert query.payload is not None
    assert (query.payload.body, query.payload.fields) == (b"", {"data": b"1"})


def test_a_file_may_be_put() -> None:
    query = decode("/predictions/m", b"\xff\xd8", "PUT")
    assert query.payload is not None
    assert query.payload.body == b"\xff\xd8"


@pytest.mark.parametrize("given", [{}, {"x_request_id": "no spaces"}, {"x_request_id": "x" * 129}])
def test_a_request_without_a_usable_id_gets_one(given: dict[str, str]) -> None:
    query = decode(**given)
    assert query.payload is not None
    assert query.id == query.payload.headers["x-request-id"]
    assert len(query.id) == 36


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/predictions", "POST", 404),
        ("/predictions/", "GET", 404),
        ("/predictions/m", "GET", 405),
        ("/predictions/m", "PATCH", 405),
        ("/predictions/m/1", "DELETE", 405),
        ("/explanations", "POST", 404),
        ("/explanations/m", "GET", 405),
        ("/invocations", "GET", 405),
        ("/invocations", "OPTIONS", 405),
        ("/invocations/m", "POST", 404),
        ("/m/predict", "GET", 405),
        ("/m/predict/", "POST", 404),
        ("/m/1/2/predict", "POST", 404),
        ("/m//predict", "POST", 404),
        ("/m/invoke", "POST", 404),
        ("/predict", "POST", 404),
        ("/", "GET", 404),
        ("//predict", "POST", 404),
    ],
)
def test_other_paths_and_methods_are_none(path: str, method: str, status: int) -> None:
    with pytest.raises(NoSuchRoute) as caught:
        DIALECT.decode(request(path, method=method))
    assert caught.value.status == status


def test_mms_has_no_explanations() -> None:
    with pytest.raises(NoSuchRoute):
        Predictions("mms").decode(request("/explanations/m"))


# -- answers ---------------------------------------------------------------------------------------------------------

ALWAYS = {
    "pragma": "no-cache",
    "cache-control": "no-cache; no-store, must-revalidate, private",
    "expires": "Thu, 01 Jan 1970 00:00:00 UTC",
}


def encode(payload: Payload) -> HttpReply:
    asked = request()
    return DIALECT.encode(asked, DIALECT.decode(asked), InferenceResponse("m", "1", "id-1", payload=payload))


def test_the_answer_is_what_the_model_made_it() -> None:
    reply = encode(Payload(b"\x00\xff", "image/png", headers={"X-Model": "m"}, status=201))
    assert (reply.status, reply.body) == (201, b"\x00\xff")
    assert dict(reply.headers) == {**ALWAYS, "x-request-id": "id-1", "x-model": "m", "content-type": "image/png"}


def test_a_refused_row_closes_the_connection() -> None:
    reply = encode(Payload(b"{}", "application/json", status=422))
    assert reply.status == 422
    assert dict(reply.headers)["connection"] == "close"


def test_headers_that_would_break_the_connection_are_left_out() -> None:
    wrong = {"Content-Length": "9", "transfer-encoding": "chunked", "x-a": "b\r\nx-c: d", "x y": "1", "x-ü": "1"}
    assert dict(encode(Payload(b"", "", headers=wrong)).headers) == {**ALWAYS, "x-request-id": "id-1"}


def test_a_handler_does_not_set_the_servers_own_headers_a_second_time() -> None:
    own = {"X-Request-Id": "mine", "Cache-Control": "max-age=60", "pragma": "cache", "Expires": "0", "etag": "1"}
    reply = encode(Payload(b"", "", headers=own))
    assert sorted(reply.headers) == sorted({**ALWAYS, "x-request-id": "id-1", "etag": "1"}.items())


@pytest.mark.parametrize("status", [0, 101, 600, -1])
def test_what_is_no_status_becomes_an_error(status: int) -> None:
    assert encode(Payload(b"", "text/plain\r\nx: y", status=status)).status == 500


# -- errors ----------------------------------------------------------------------------------------------------------

NO_WORKER = (
    'Model "m" has no worker to serve inference request. Please use scale workers API to add workers. (it loads)'
)


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (InvalidInput("no picture"), 400, "BadRequestException", "no picture"),
        (PayloadTooLarge("too large"), 413, "BadRequestException", "too large"),
        (ConfigError("so not"), 400, "BadRequestException", "so not"),
        (ModelNotFound("not here"), 404, "ModelNotFoundException", "Model not found: m"),
        (
            NoSuchRoute("Not Found"),
            404,
            "ResourceNotFoundException",
            "Requested resource is not found, please refer to API document.",
        ),
        (
            NoSuchRoute("", status=405),
            405,
            "MethodNotAllowedException",
            "Requested method is not allowed, please refer to API document.",
        ),
        (DeadlineExceeded("too late"), 408, "RequestTimeoutException", "too late"),
        (Conflict("changed"), 409, "ConflictStatusException", "changed"),
        (ModelNotReady("it loads"), 503, "ServiceUnavailableException", NO_WORKER),
        (OutOfMemory("full"), 507, "OutOfMemoryError", "full"),
        (InternalError("internal error 1"), 500, "InternalServerException", "internal error 1"),
        (SourceError("empty"), 400, "InvalidModelException", "empty"),
        (ConversionError("not so"), 400, "InvalidModelException", "not so"),
        (Unsupported("not so"), 501, "Unsupported", "not so"),
    ],
)
def test_each_kind_of_error_is_worded_as_these_servers_do(
    error: OnegateError, status: int, kind: str, message: str
) -> None:
    reply = DIALECT.encode_error(request(x_request_id="id-1"), error)
    assert reply.status == status
    assert reply.body.decode() == json.dumps({"code": status, "type": kind, "message": message}, indent=2) + "\n"
    assert dict(reply.headers) == {
        **ALWAYS,
        "x-request-id": "id-1",
        "content-type": "application/json",
        "connection": "close",
    }


def message_of(path: str, error: OnegateError, manner: Manner = "torchserve") -> tuple[str, str]:
    said = json.loads(Predictions(manner).encode_error(request(path), error).body)
    return said["type"], said["message"]


def test_overload_says_when_to_come_again() -> None:
    reply = DIALECT.encode_error(request(), Overloaded("it loads", retry_after_s=1.2))
    assert (reply.status, json.loads(reply.body)["message"]) == (503, NO_WORKER)
    assert dict(reply.headers)["retry-after"] == "2"


def test_a_version_without_workers_is_named() -> None:
    assert message_of("/predictions/m/2", ModelNotReady("it loads"))[1].startswith('Model "m" Version 2 has no worker')


def test_mms_has_other_words_for_want_of_workers() -> None:
    assert message_of("/m/predict", ModelNotReady("it loads"), "mms") == (
        "ServiceUnavailableException",
        "No worker is available to serve request for model: m. Consider increasing job queue size. (it loads)",
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModelNotFound("callable: 1", model="m", version="9"), "version"),
        (ModelNotFound("callable: 1", model="m", label="9"), "version"),
        (ModelNotFound("callable: 1"), "version"),
        (ModelNotFound("not here", model="m"), "model"),
    ],
)
def test_an_unknown_version_is_told_from_an_unknown_model(error: OnegateError, told: str) -> None:
    assert (
        message_of("/predictions/m/9", error)
        == {
            "version": ("ModelVersionNotFoundException", "Model version: 9 does not exist for model: m; callable: 1"),
            "model": ("ModelNotFoundException", "Model not found: m"),
        }[told]
    )


# -- ping ------------------------------------------------------------------------------------------------------------

READY = ServerDescription(True, models=("a",))
PARTLY = ServerDescription(False, models=("a",), missing={"b": "it loads"})
MISSING = ServerDescription(False, missing={"b": "it loads"})
DRAINING = ServerDescription(False, models=("a",))


@pytest.mark.parametrize(
    ("manner", "description", "status", "text"),
    [
        ("torchserve", READY, 200, "Healthy"),
        ("torchserve", PARTLY, 500, "Unhealthy"),
        ("torchserve", MISSING, 500, "Unhealthy"),
        ("torchserve", DRAINING, 500, "Unhealthy"),
        ("mms", READY, 200, "Healthy"),
        ("mms", PARTLY, 200, "Partial Healthy"),
        ("mms", MISSING, 200, "Unhealthy"),
        ("mms", DRAINING, 200, "Unhealthy"),
    ],
)
def test_ping_tells_whether_models_can_be_called(
    manner: Manner, description: ServerDescription, status: int, text: str
) -> None:
    asked = request("/ping", method="GET")
    ping = Ping(manner)
    query = ping.decode(asked)
    assert query == ServerQuery()
    reply = ping.encode(asked, query, description)
    assert (reply.status, reply.body.decode()) == (status, f'{{\n  "status": "{text}"\n}}\n')
    assert ALWAYS.items() <= dict(reply.headers).items()


@pytest.mark.parametrize(("path", "method", "status"), [("/ping/x", "GET", 404), ("/ping", "POST", 405)])
def test_ping_is_asked_in_one_way(path: str, method: str, status: int) -> None:
    with pytest.raises(NoSuchRoute) as caught:
        Ping().decode(request(path, method=method))
    assert caught.value.status == status
    assert Ping().encode_error(request(path), caught.value).status == status
