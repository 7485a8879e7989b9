"""TensorFlow Serving's REST API on a real socket, over models that were never TensorFlow's."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import (
    Conflict,
    ConversionError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    OnegateError,
    OutOfMemory,
    Overloaded,
    Unsupported,
)
from model_store.manifest import Signature, TensorSpec
from serve.dialects.base import HttpRequest
from serve.dialects.tensorflow_serving_rest import TensorFlowServingRest
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.inference import InferenceRequest, Query
from serve.operations import ModelList, ModelStatus, VersionStatus
from tests.serve.front_doors.http_calls import call
from tests.serve.tensorflow_serving_models import dispatcher, tensor

MAX_BODY_BYTES = 100_000
JSON = "application/json"
NO_JSON = "the body is not the JSON of a request: "
FLAT = "feature 'x': expected a value, or a flat list of whole numbers, decimals, or texts"


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[int]:
    door = HttpFrontDoor([TensorFlowServingRest()], dispatcher().answer, MAX_BODY_BYTES)
    listener = HttpListener(door, "127.0.0.1", free_port)
    listener.start()
    try:
        yield free_port
    finally:
        await listener.stop()


async def ask(port: int, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    """Status and JSON of a call; a body that is no bytes is sent as JSON."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    verb = method or ("GET" if body is None else "POST")
    status, headers, answer = await call(port, verb, f"/v1/models/{path}", content)
    assert headers["content-type"] == JSON
    return status, json.loads(answer)


# -- predict ---------------------------------------------------------------------------------------------------------

ANSWERED = [
    ("rows of values", "double", {"instances": [[1.5, -2], [0, 4]]}, {"predictions": [[3.0, -4.0], [0.0, 8.0]]}),
    ("rows of objects", "double", {"instances": [{"x": [1.5, -2]}]}, {"predictions": [[3.0, -4.0]]}),
    ("columns, bare", "double", {"inputs": [[1.5, -2]]}, {"outputs": [[3.0, -4.0]]}),
    ("columns, named", "double", {"inputs": {"x": [[1.5, -2]], "more": 1}}, {"outputs": [[3.0, -4.0]]}),
    ("the usual signature", "double", {"signature_name": "serving_default", "inputs": [[1, 2]]}, {"outputs": [[2, 4]]}),
    ("no signature", "double", {"signature_name": "", "inputs": [[1, 2]]}, {"outputs": [[2, 4]]}),
    ("another signature", "double", {"signature_name": "other", "inputs": [[1, 2]]}, {"outputs": [[2, 4]]}),
    (
        "rows, several inputs and outputs",
        "pair",
        {"instances": [{"a": 1, "b": [1, 0]}, {"b": [-1, 9], "a": 0.5}]},
        {"predictions": [{"sum": 2.0, "flags": [True, False]}, {"sum": 1.5, "flags": [False, True]}]},
    ),
    (
        "columns, several inputs and outputs",
        "pair",
        {"inputs": {"a": [1, 0.5], "b": [[1, 0], [-1, 9]]}},
        {"outputs": {"sum": [2.0, 1.5], "flags": [[True, False], [False, True]]}},
    ),
    (
        "text and base64",
        "echo",
        {"instances": ["ä", {"b64": "eA=\r\n="}, {"b64": "eHk"}]},
        {
            "predictions": [
                {"text": "ä", "raw_bytes": {"b64": "w6Q="}},
                {"text": "x", "raw_bytes": {"b64": "eA=="}},
                {"text": "xy", "raw_bytes": {"b64": "eHk="}},
            ]
        },
    ),
    (
        "base64 as the named input",
        "echo",
        {"instances": [{"s": {"b64": "eA=="}}]},
        {"predictions": [{"text": "x", "raw_bytes": {"b64": "eA=="}}]},
    ),
    ("whole numbers", "bytes", {"instances": [[0, 255]]}, {"predictions": [[0, 255]]}),
    ("a scalar", "scalar", {"inputs": 2.5}, {"outputs": 2.5}),
    ("unequal outputs in columns", "uneven", {"inputs": [[1, 2]]}, {"outputs": {"y": [[2, 4]], "total": [1, 2]}}),
]


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [case[1:] for case in ANSWERED],
    ids=[case[0] for case in ANSWERED],
)
async def test_a_prediction_is_answered(port: int, model: str, body: Any, expected: Any) -> None:
    assert await ask(port, f"{model}:predict", body) == (200, expected)


async def test_numbers_that_are_none_of_json_come_and_go_as_bare_tokens(port: int) -> None:
    for body in (
        b'{"instances": [[NaN, 1], [-Infinity, Infinity]]}',
        b'{"instances": [{"x": [NaN, 1]}, {"x": [-Infinity, Infinity]}]}',
    ):
        status, _, answer = await call(port, "POST", "/v1/models/double:predict", body)
        assert status == 200
        assert answer == b'{\n    "predictions": [[NaN, 2.0], [-Infinity, Infinity]]\n}'


async def test_the_words_of_a_path_match_in_any_case_and_names_do_not(port: int) -> None:
    for path in (
        "/V1/Models/double:PREDICT",
        "/v1/MODELS/double/Versions/003:Predict",
        "/v1/models/double/LABELS/stable:predict",
    ):
        status, _, answer = await call(port, "POST", path, b'{"instances": [[1, 2]]}')
        assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})
    assert (await ask(port, "Double:predict", {"instances": [[1, 2]]}))[0] == 404


WRONG = [
    ("double", {}, 400, "expected either 'instances' or 'inputs' in the body, got neither"),
    (
        "double",
        {"instances": [[1, 2]], "inputs": [[1, 2]]},
        400,
        "expected either 'instances' or 'inputs' in the body, got both",
    ),
    ("double", b"", 400, NO_JSON + "Input data was truncated"),
    ("double", [1], 400, NO_JSON + "Expected `object`, got `array`"),
    ("double", b'{"instances": [[1, 2]]} x', 400, NO_JSON + "JSON is malformed: trailing characters (byte 25)"),
    ("double", b'{"instances": [[1, NaN}', 400, NO_JSON + "Expecting ',' delimiter: line 1 column 23 (char 22)"),
    (
        "double",
        b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        413,
        "the body may have 100000 bytes, got 100015 bytes",
    ),
    ("double", b'{"instances": ' + b"[" * 40_000 + b"]" * 40_000 + b"}", 400, "the body is nested too deep"),
    (
        "double",
        {"signature_name": 1, "inputs": [[1, 2]]},
        400,
        NO_JSON + "Expected `str | null`, got `int` - at `$.signature_name`",
    ),
    (
        "double",
        {"signature_name": "no", "inputs": [[1, 2]]},
        400,
        "model 'double' has no signature 'no'; signatures: serving_default, other",
    ),
    (
        "double",
        {"instances": []},
        400,
        "expected 'instances' to be a list with at least one instance, got an empty list",
    ),
    (
        "double",
        {"instances": {"x": [1, 2]}},
        400,
        "expected 'instances' to be a list with at least one instance, got an object of 'x'",
    ),
    ("double", {"instances": [[1, 2], [3]]}, 400, "input 'x': expected lists of equal length at each depth"),
    ("double", {"instances": [1, 2]}, 400, "input 'x': expected FP32[*,2], got FP32[2]"),
    ("double", {"instances": [[1, 2, 3]]}, 400, "input 'x': expected FP32[*,2], got FP32[1,3]"),
    ("double", {"instances": [["1", 2]]}, 400, "input 'x': expected FP32 values, got '1'"),
    ("double", {"instances": [[True, 2]]}, 400, "input 'x': expected FP32 values, got True"),
    ("double", {"instances": [[None, 2]]}, 400, "input 'x': expected FP32 values, got None"),
    ("double", {"instances": [[1e39, 2]]}, 400, "input 'x': expected FP32, got float64 values that do not fit"),
    (
        "double",
        {"instances": [{"x": [1, 2]}, [1, 2]]},
        400,
        "instance 1: expected an object of 'x': FP32[*,2]; got a list",
    ),
    (
        "double",
        {"instances": [{"z": [1, 2]}]},
        400,
        "instance 0: expected an object of 'x': FP32[*,2]; got an object of 'z'",
    ),
    (
        "double",
        {"instances": [{"x": [1, 2], "z": 1}]},
        400,
        "instance 0: expected an object of 'x': FP32[*,2]; got an object of 'x', 'z'",
    ),
    ("double", {"inputs": {"z": [[1, 2]]}}, 400, "expected 'inputs' with 'x': FP32[*,2]; got an object of 'z'"),
    ("double", {"inputs": {"b64": "eA=="}}, 400, "input 'x': expected FP32 values, got an object of 'b64'"),
    (
        "pair",
        {"instances": [1, 2]},
        400,
        "expected 'instances' of objects with 'a': FP32[*], 'b': INT64[*,2]; got bare values",
    ),
    (
        "pair",
        {"inputs": [1]},
        400,
        "expected 'inputs' as an object with 'a': FP32[*], 'b': INT64[*,2]; got bare values",
    ),
    ("pair", {"inputs": {"a": [1], "b": [[1.0, 2]]}}, 400, "input 'b': expected INT64 values, got 1.0"),
    (
        "pair",
        {"inputs": {"a": [1], "b": [[1, 2**63]]}},
        400,
        "input 'b': a value does not fit INT64: Python int too large to convert to C long",
    ),
    ("pair", {"inputs": {"a": [1, 2], "b": [[1, 2]]}}, 400, "input 'b': expected 2 rows as the other inputs, got 1"),
    (
        "bytes",
        {"instances": [[1, 256]]},
        400,
        "input 'x': a value does not fit UINT8: Python integer 256 out of bounds for uint8",
    ),
    ("echo", {"instances": [1]}, 400, "input 's': expected BYTES values, got 1"),
    (
        "echo",
        {"instances": [{"b64": "?"}]},
        400,
        "input 's': an object of 'b64' is no text, or no base64: Only base64 data is allowed",
    ),
    (
        "echo",
        {"instances": [{"b64": 1}]},
        400,
        "instance 0: expected an object of 's': BYTES[*]; got an object of 'b64'",
    ),
    (
        "echo",
        {"instances": [{"b64": "/w=="}]},
        400,
        "output 'text' holds bytes that are not UTF-8; call the model over gRPC",
    ),
    (
        "uneven",
        {"instances": [[1, 2]]},
        400,
        "expected outputs of the same first dimension to answer 'instances', got 'y' [1, 2], 'total' [2]; "
        "call with 'inputs'",
    ),
    ("scalar", {"instances": [1]}, 400, "input 'x': expected FP64[], got FP64[1]"),
    ("half", {"instances": [[1, 2]]}, 501, "input 'x': FP16 can't be sent as JSON; call the model over gRPC"),
]


@pytest.mark.parametrize(("model", "body", "status", "text"), WRONG)
async def test_a_wrong_prediction_is_refused(port: int, model: str, body: Any, status: int, text: str) -> None:
    assert await ask(port, f"{model}:predict", body) == (status, {"error": text})


# -- classify and regress --------------------------------------------------------------------------------------------


async def test_classify_tells_label_and_score_of_every_class(port: int) -> None:
    body = {"examples": [{"x": [1.0, 2.0]}, {"x": [0.25, -1.0]}]}
    expected = {"results": [[["cat", 2.0], ["dog", 4.0]], [["cat", 0.5], ["dog", -2.0]]]}
    assert await ask(port, "double:classify", body) == (200, expected)


async def test_labels_that_the_model_answers_go_before_its_names(port: int) -> None:
    assert await ask(port, "named:classify", {"examples": [{"x": [1, 2]}]}) == (
        200,
        {"results": [[["no", 1.0], ["yes", 2.0]]]},
    )


async def test_classes_without_names_have_empty_labels(port: int) -> None:
    assert await ask(port, "price:classify", {"examples": [{"x": [3, 2]}]}) == (200, {"results": [[["", 3.0]]]})


async def test_regress_tells_a_value_a_row(port: int) -> None:
    body = {"signature_name": "serving_default", "examples": [{"x": [1.5, 2.0], "more": "text"}, {"x": [4, 5]}]}
    assert await ask(port, "price:regress", body) == (200, {"results": [1.5, 4.0]})


async def test_booleans_are_whole_numbers(port: int) -> None:
    body = {"examples": [{"x": [True, 3]}, {"x": [False, True]}]}
    assert await ask(port, "price:regress", body) == (200, {"results": [1.0, 0.0]})


async def test_context_is_of_all_examples(port: int) -> None:
    body = {"context": {"b": [1, 0]}, "examples": [{"a": 1}, {"a": 2.5}]}
    assert await ask(port, "pair:regress", body) == (200, {"results": [2.0, 3.5]})


async def test_scores_that_are_none_of_json_are_bare_tokens(port: int) -> None:
    status, _, answer = await call(port, "POST", "/v1/models/price:regress", b'{"examples": [{"x": [NaN, 1.0]}]}')
    assert (status, answer) == (200, b'{"results": [NaN]}')


@pytest.mark.parametrize("name", [b"\\ud800", b"a\\uDFFF"])
async def test_half_a_surrogate_pair_is_refused_beside_such_tokens_too(port: int, name: bytes) -> None:
    for text in (b'{"examples": [{"%b": 1, "x": [NaN, 1.0]}]}', b'{"examples": [{"x": [NaN, 1.0]}, {"x": ["%b"]}]}'):
        status, _, answer = await call(port, "POST", "/v1/models/price:regress", text % name)
        assert (status, json.loads(answer)["error"].startswith(NO_JSON)) == (400, True)


WRONG_EXAMPLES = [
    ("double:classify", {}, NO_JSON + "Object missing required field `examples`"),
    ("double:classify", {"examples": []}, "expected an input with at least one example, got none"),
    ("double:classify", {"examples": [{}]}, "example 0: expected a feature for 'x': FP32[*,2]; got none"),
    ("double:classify", {"examples": [{"x": [1]}]}, "example 0: 1 values are no row of 'x': FP32[*,2]"),
    ("double:classify", {"examples": [{"x": [[1, 2]]}]}, FLAT),
    ("double:classify", {"examples": [{"x": [1, 2.5]}]}, FLAT),
    ("double:classify", {"examples": [{"x": None}]}, FLAT),
    (
        "double:classify",
        {"examples": [{"x": [1e39, 2.0]}]},
        "input 'x': expected FP32, got float64 values that do not fit",
    ),
    ("double:classify", {"examples": [{"x": [1, 2**63]}]}, f"feature 'x': Value out of range: {2**63}"),
    ("double:classify", {"examples": [{"x": ["a", "b"]}]}, "input 'x': expected FP32, got object"),
    ("double:classify", {"examples": [{"x": {"c64": "a"}}]}, "feature 'x': an object is a value only as {'b64': text}"),
    (
        "double:classify",
        {"examples": [{"x": 1}], "context": {"x": 1}},
        "example 0: feature 'x' is in 'context' already",
    ),
    (
        "pair:classify",
        {"examples": [{"a": 1, "b": [1.5, 2.5]}]},
        "input 'b': expected INT64, got float32 values that do not fit",
    ),
    ("double:regress", {"examples": [{"x": [1, 2]}]}, "expected one value a row to regress, the model answers [1, 2]"),
    (
        "bytes:regress",
        {"examples": [{"x": [1, 2]}]},
        "model 'bytes' has no output of floating numbers to make a regression of; call predict",
    ),
    ("scalar:classify", {"examples": [{"x": 1}]}, "the model takes no rows, so no examples: 'x': FP64[]"),
]


@pytest.mark.parametrize(("path", "body", "text"), WRONG_EXAMPLES)
async def test_wrong_examples_are_refused(port: int, path: str, body: Any, text: str) -> None:
    assert await ask(port, path, body) == (400, {"error": text})


# -- models ----------------------------------------------------------------------------------------------------------

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


def request(method: str, path: str, body: bytes = b"") -> HttpRequest:
    return HttpRequest(method, path, body, {}.get)


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


# -- any text --------------------------------------------------------------------------------------------------------

SIGNATURES = [
    Signature((tensor("x", "FP32", 2),), ()),
    Signature((tensor("x", "UINT8", 2),), ()),
    Signature((tensor("x", "BOOL"), tensor("s", "BYTES", 1)), ()),
    Signature((TensorSpec("x", "FP64", ()),), ()),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.builds(lambda t: {"b64": t}, st.text(max_size=4)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "s", "b64"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(["instances", "inputs"]), VALUES, st.sampled_from(SIGNATURES))
def test_any_value_is_read_as_the_signature_says_or_refused(key: str, value: Any, signature: Signature) -> None:
    query = decoded(json.dumps({key: value}).encode())
    assert isinstance(query, InferenceRequest)
    assert query.read_inputs is not None
    try:
        inputs = query.read_inputs(signature)
    except InvalidInput:
        return
    assert list(inputs) == [spec.name for spec in signature.inputs]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,NaInfity-0123456789.eE ', max_size=60).map(str.encode))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    for action in ("predict", "classify"):
        try:
            query = decoded(body, action)
            assert isinstance(query, InferenceRequest)
            assert query.read_inputs is not None
            query.read_inputs(SIGNATURES[0])
        except (InvalidInput, Unsupported):
            continue


def decoded(body: bytes, action: str = "predict") -> Query:
    return TensorFlowServingRest().decode(request("POST", f"/v1/models/m:{action}", body))


def test_the_quick_way_and_the_long_way_read_the_same() -> None:
    text = b'{"instances": [{"x": [1, 2.5]}, {"x": [3e2, -4]}]}'
    quick = decoded(text)
    long = decoded(text.replace(b"-4", b"-Infinity"))
    assert isinstance(quick, InferenceRequest)
    assert isinstance(long, InferenceRequest)
    assert quick.read_inputs is not None
    assert long.read_inputs is not None
    first, second = quick.read_inputs(SIGNATURES[0])["x"], long.read_inputs(SIGNATURES[0])["x"]
    assert (first.dtype, second.dtype) == (first.dtype, first.dtype)
    assert (first.tolist(), second.tolist()) == ([[1, 2.5], [300, -4]], [[1, 2.5], [300, -math.inf]])
