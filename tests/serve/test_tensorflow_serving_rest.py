"""Predictions over TensorFlow Serving's REST API on a real socket, over models that were never TensorFlow's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.serve.front_doors.http_calls import call
from tests.serve.tensorflow_serving_calls import ask, listening

NO_JSON = "the body is not the JSON of a request: "
FLAT = "feature 'x': expected a value, or a flat list of whole numbers, decimals, or texts"


@pytest.fixture
async def port(free_port: int) -> AsyncIterator[int]:
    async with listening(free_port):
        yield free_port


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
