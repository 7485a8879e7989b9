"""The predictions of MXNet Model Server and TorchServe: paths, bodies, answers, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_store.errors import (
    ConversionError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    Overloaded,
    PayloadTooLarge,
    Unsupported,
)
from model_store.manifest import PAYLOAD
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.model_server import Ping, Predictions
from serve.inference import InferenceRequest, InferenceResponse, Payload, ServerDescription, ServerQuery

DIALECT = Predictions()


def request(path: str = "/predictions/m", body: bytes = b"", method: str = "POST", **headers: str) -> HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(method, path, body, named.get, named)


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
        ("/predictions/m/7", "m", 7, None, None),
        ("/predictions/m/canary", "m", None, "canary", None),
        ("/predictions/m/1.0", "m", None, "1.0", None),
        ("/predictions/m/7/v1/chat", "m", 7, None, "v1/chat"),
    ],
)
def test_the_path_names_model_and_version(
    path: str, model: str, version: int | None, label: str | None, url_path: str | None
) -> None:
    query = decode(path)
    assert (query.model, query.version, query.label, query.signature) == (model, version, label, PAYLOAD)
    assert query.payload is not None
    assert query.payload.headers.get("url_path") == url_path


def test_the_body_and_its_headers_are_handed_on() -> None:
    query = decode("/predictions/m", b"\xff\xd8", content_type="image/jpeg", accept="*/*", x_request_id="id-1")
    headers = {"content-type": "image/jpeg", "accept": "*/*", "x-request-id": "id-1"}
    assert query.payload == Payload(b"\xff\xd8", "image/jpeg", {}, headers)
    assert query.id == "id-1"
    assert query.inputs is None


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
    ],
)
def test_other_paths_and_methods_are_none(path: str, method: str, status: int) -> None:
    with pytest.raises(NoSuchRoute) as caught:
        DIALECT.decode(request(path, method=method))
    assert caught.value.status == status


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

NO_WORKER = "No worker is available to serve request for model: m. Consider increasing job queue size. (it loads)"


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (InvalidInput("no picture"), 400, "BadRequestException", "no picture"),
        (PayloadTooLarge("too large"), 413, "BadRequestException", "too large"),
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
        (ModelNotReady("it loads"), 503, "ServiceUnavailableException", NO_WORKER),
        (Overloaded("it loads"), 503, "ServiceUnavailableException", NO_WORKER),
        (InternalError("internal error 1"), 500, "InternalServerException", "internal error 1"),
        (Unsupported("not so"), 501, "Unsupported", "not so"),
        (ConversionError("not so"), 422, "ConversionError", "not so"),
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


def test_an_unknown_version_is_named() -> None:
    reply = DIALECT.encode_error(request("/predictions/m/9"), ModelNotFound("callable: 1"))
    assert json.loads(reply.body)["message"] == "Model version: 9 does not exist for model: m; callable: 1"


# -- ping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ready", "status", "text"), [(True, 200, "Healthy"), (False, 500, "Unhealthy")])
def test_ping_tells_whether_all_models_can_be_called(ready: bool, status: int, text: str) -> None:
    asked = request("/ping", method="GET")
    query = Ping().decode(asked)
    assert query == ServerQuery()
    reply = Ping().encode(asked, query, ServerDescription(ready))
    assert (reply.status, reply.body.decode()) == (status, f'{{\n  "status": "{text}"\n}}\n')
    assert ALWAYS.items() <= dict(reply.headers).items()


@pytest.mark.parametrize(("path", "method", "status"), [("/ping/x", "GET", 404), ("/ping", "POST", 405)])
def test_ping_is_asked_in_one_way(path: str, method: str, status: int) -> None:
    with pytest.raises(NoSuchRoute) as caught:
        Ping().decode(request(path, method=method))
    assert caught.value.status == status
    assert Ping().encode_error(request(path), caught.value).status == status
