"""What TensorFlow Serving's REST API tells of models, of what is not there, and of errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from model_store.errors import (
    Conflict,
    ConversionError,
    DeadlineExceeded,
    InternalError,
    OnegateError,
    OutOfMemory,
    Overloaded,
)
from serve.dialects.tensorflow_serving_rest import TensorFlowServingRest
from serve.operations import ModelList, ModelStatus, VersionStatus
from tests.serve.front_doors.http_calls import call
from tests.serve.tensorflow_serving_calls import JSON, ask, listening, request


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[int]:
    async with listening(free_port):
        yield free_port


AVAILABLE = {
    "model_version_status": [
        {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}


@pytest.mark.parametrize("path", ["double", "double/versions/3", "double/labels/nobody"])
async def test_the_status_of_a_model_is_told_whatever_the_label(port: int, path: str) -> None:
    assert await ask(port, path) == (200, AVAILABLE)


@pytest.mark.parametrize(
    ("model", "state", "code", "text"),
    [("loading", "LOADING", "OK", ""), ("broken", "END", "UNKNOWN", "its source is damaged")],
)
async def test_a_model_without_versions_has_a_status(port: int, model: str, state: str, code: str, text: str) -> None:
    told = {"version": "0", "state": state, "status": {"error_code": code, "error_message": text}}
    assert await ask(port, model) == (200, {"model_version_status": [told]})


def test_every_state_has_its_word_and_the_newest_version_comes_first() -> None:
    states = ("CONVERTING", "LOADING", "READY", "IDLE", "DRAINING", "RETIRED", "FAILED")
    versions = tuple(VersionStatus(version=f"{n}", state=state, reason="why") for n, state in enumerate(states, 1))
    query = TensorFlowServingRest().decode(request("GET", "/v1/models/m"))
    answer = ModelList((ModelStatus("m", versions),))
    reply = json.loads(TensorFlowServingRest().encode(request("GET", "/v1/models/m"), query, answer).body)
    told = [(each["version"], each["state"], each["status"]["error_message"]) for each in reply["model_version_status"]]
    assert told == [
        ("7", "END", "why"),
        ("6", "END", ""),
        ("5", "UNLOADING", ""),
        ("4", "AVAILABLE", ""),
        ("3", "AVAILABLE", ""),
        ("2", "LOADING", ""),
        ("1", "START", ""),
    ]


@pytest.mark.parametrize("path", ["pair/metadata", "pair/versions/1/metadata", "pair/labels/stable/Metadata"])
async def test_metadata_tells_names_types_and_shapes(port: int, path: str) -> None:
    def info(name: str, dtype: str, *sizes: str) -> dict[str, Any]:
        dims = [{"size": size, "name": ""} for size in sizes]
        return {"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": name}

    signature = {
        "inputs": {"a": info("a", "DT_FLOAT", "-1"), "b": info("b", "DT_INT64", "-1", "2")},
        "outputs": {"sum": info("sum", "DT_FLOAT", "-1"), "flags": info("flags", "DT_BOOL", "-1", "2")},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    expected = {
        "model_spec": {"name": "pair", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }
    assert await ask(port, path) == (200, expected)


NOT_THERE = [
    ("GET", "nobody", 404, "Could not find any versions of model nobody"),
    ("GET", "double/versions/4", 404, "Could not find version 4 of model double"),
    ("GET", "nobody/versions/4", 404, "Could not find version 4 of model nobody"),
    ("GET", "nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
    ("POST", "nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
    ("POST", "double/versions/4:predict", 404, "Servable not found for request: Specific(double, 4)"),
    ("POST", "nobody/versions/4:predict", 404, "Servable not found for request: Specific(nobody, 4)"),
    ("POST", "double/labels/beta:predict", 400, "Unrecognized servable version label: beta"),
    ("POST", "nobody/labels/beta:predict", 404, "Servable not found for request: Latest(nobody)"),
    ("POST", "loading:predict", 503, "model 'loading' can't be called now: it is loading; try again shortly"),
    (
        "POST",
        "double/versions/9223372036854775808:predict",
        400,
        "expected a version of at most 9223372036854775807, got 9223372036854775808",
    ),
]


@pytest.mark.parametrize(("method", "path", "status", "text"), NOT_THERE)
async def test_what_is_not_there_is_told(port: int, method: str, path: str, status: int, text: str) -> None:
    body = {"instances": [[1, 2]]} if method == "POST" else None
    assert await ask(port, path, body, method) == (status, {"error": text})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "double:predict"),
        ("POST", "double"),
        ("PUT", "double:predict"),
        ("POST", "double:explain"),
        ("POST", "double/metadata"),
        ("GET", "double/versions/one"),
        ("GET", "double/versions/1/labels/stable"),
        ("GET", ""),
        ("OPTIONS", "double"),
    ],
)
async def test_a_path_that_does_not_parse_is_a_bad_request(port: int, method: str, path: str) -> None:
    body = b"{}" if method in ("POST", "PUT") else None
    told = {"error": f"Malformed request: {method} /v1/models/{path}"}
    assert await ask(port, path, body, method) == (400, told)


async def test_a_browser_s_preflight_is_answered_and_permits_nothing(port: int) -> None:
    status, headers, answer = await call(port, "OPTIONS", "/v1/models/double:predict", origin="https://example.org")
    assert (status, answer) == (200, b"")
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Overloaded("full"), 429, [("retry-after", "1")]),
        (Overloaded("full", retry_after_s=2.5), 429, [("retry-after", "3")]),
        (OutOfMemory("no memory"), 429, []),
        (ConversionError("no"), 400, []),
        (Conflict("no"), 409, []),
        (DeadlineExceeded("late"), 504, []),
        (InternalError("no"), 500, []),
    ],
)
def test_overload_and_other_kinds_have_the_protocol_s_status(
    error: OnegateError, status: int, headers: list[tuple[str, str]]
) -> None:
    reply = TensorFlowServingRest().encode_error(request("POST", "/v1/models/m:predict"), error)
    assert (reply.status, json.loads(reply.body)) == (status, {"error": error.message})
    assert reply.headers == [("content-type", JSON), *headers]
