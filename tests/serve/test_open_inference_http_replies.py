"""Replies of Open Inference over HTTP, on their bytes: tensors as JSON and binary, metadata, health, errors."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import ERROR_KINDS, InvalidInput, ModelNotFound, ModelNotReady, Overloaded
from model_store.manifest import TensorSpec
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.errors import status_of
from serve.inference import (
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Payload,
    ServerDescription,
    ServerQuery,
    Tensors,
)
from serve.routing import ServeOptions
from serve.version import VERSION
from tests.serve.open_inference_bytes import DIALECT, FLOATS, GOOD, JSON, LENGTH, OCTETS, UNPACKED, decode, get, post
from tests.serve.tiny_versions import manifest

# -- replies ---------------------------------------------------------------------------------------------------------


def reply_to(request: HttpRequest, outputs: Tensors, id: str = "") -> HttpReply:
    query = DIALECT.decode(request)
    return DIALECT.encode(request, query, InferenceResponse("m", "3", id, outputs))


def parts_of(reply: HttpReply) -> tuple[dict[str, Any], bytes]:
    length = dict(reply.headers).get(LENGTH)
    split = len(reply.body) if length is None else int(length)
    return json.loads(reply.body[:split]), reply.body[split:]


def test_a_json_reply_is_flat_and_names_model_and_version() -> None:
    reply = reply_to(post(GOOD), {"y": np.array([[1.5, 2], [3, 4]], np.float32), "n": np.array([7], np.int64)}, "a1")
    assert (reply.status, reply.headers) == (200, [JSON])
    assert json.loads(reply.body) == {
        "model_name": "m",
        "model_version": "3",
        "id": "a1",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1.5, 2, 3, 4]},
            {"name": "n", "datatype": "INT64", "shape": [1], "data": [7]},
        ],
    }


def test_a_reply_to_a_request_without_id_has_none() -> None:
    assert "id" not in json.loads(reply_to(post(GOOD), {"y": FLOATS}).body)


def test_an_empty_output_keeps_its_data_member() -> None:
    (output,) = json.loads(reply_to(post(GOOD), {"y": np.zeros((0, 2), np.float32)}).body)["outputs"]
    assert output == {"name": "y", "datatype": "FP32", "shape": [0, 2], "data": []}


def test_a_scalar_output_keeps_its_shape_member() -> None:
    (output,) = json.loads(reply_to(post(GOOD), {"y": np.array(2, np.float32)}).body)["outputs"]
    assert output == {"name": "y", "datatype": "FP32", "shape": [], "data": [2]}


def test_text_and_truth_are_json_text_and_truth() -> None:
    outputs = {"s": np.array(["grün".encode()], object), "b": np.array([True, False])}
    text, truth = json.loads(reply_to(post(GOOD), outputs).body)["outputs"]
    assert (text["datatype"], text["data"]) == ("BYTES", ["grün"])
    assert (truth["datatype"], truth["data"]) == ("BOOL", [True, False])


def test_64_bit_integers_are_whole_in_json() -> None:
    outputs = {"n": np.array([2**63 - 1], np.int64), "u": np.array([2**64 - 1], np.uint64)}
    body = reply_to(post(GOOD), outputs).body
    assert b"[9223372036854775807]" in body
    assert b"[18446744073709551615]" in body


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_bare_tokens(dtype: type) -> None:
    reply = reply_to(post(GOOD), {"y": np.array([1, np.nan, np.inf, -np.inf], dtype)}, "a1")
    assert b"[1.0, NaN, Infinity, -Infinity]" in reply.body
    answer = json.loads(reply.body)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "3", "a1")


def test_all_outputs_are_binary_when_the_request_says_so() -> None:
    request = post(GOOD | {"parameters": {"binary_data_output": True}})
    reply = reply_to(request, {"y": FLOATS, "s": np.array([b"ab", b"\xff"], object)})
    message, rest = parts_of(reply)
    assert (reply.status, reply.headers) == (200, [OCTETS, (LENGTH, str(len(reply.body) - 19))])
    assert message["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        {"name": "s", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}},
    ]
    assert rest == FLOATS.tobytes() + b"\x02\0\0\0ab\x01\0\0\0\xff"


def test_an_output_s_own_flag_wins_over_the_request_s() -> None:
    def asked(default: bool, flag: bool) -> HttpReply:
        outputs = [{"name": "y", "parameters": {"binary_data": flag}}, {"name": "n"}]
        request = post(GOOD | {"outputs": outputs, "parameters": {"binary_data_output": default}})
        return reply_to(request, {"y": FLOATS, "n": np.array([7], np.int64)})

    message, rest = parts_of(asked(default=True, flag=False))
    assert [("data" in output) for output in message["outputs"]] == [True, False]
    assert rest == np.array([7], np.int64).tobytes()
    message, rest = parts_of(asked(default=False, flag=True))
    assert [("data" in output) for output in message["outputs"]] == [False, True]
    assert rest == FLOATS.tobytes()


def test_half_precision_is_binary_though_json_was_asked_for() -> None:
    outputs = {"h": np.array([1], np.float16), "b": np.array([1], ml_dtypes.bfloat16), "y": np.array([2], np.float32)}
    message, rest = parts_of(reply_to(post(GOOD), outputs))
    assert message["outputs"] == [
        {"name": "h", "datatype": "FP16", "shape": [1], "parameters": {"binary_data_size": 2}},
        {"name": "b", "datatype": "BF16", "shape": [1], "parameters": {"binary_data_size": 2}},
        {"name": "y", "datatype": "FP32", "shape": [1], "data": [2]},
    ]
    assert rest == b"\x00\x3c" + b"\x80\x3f"


def test_output_bytes_that_are_no_text_can_not_be_json() -> None:
    with pytest.raises(InvalidInput, match=r"^an output holds bytes that are not UTF-8; ask for it as binary$"):
        reply_to(post(GOOD), {"s": np.array([b"\xff"], object)})


def test_an_answer_without_tensors_can_not_be_told() -> None:
    query = decode(post(GOOD))
    with pytest.raises(InvalidInput, match=r"^model 'm' answers with a raw body, which this protocol can't carry$"):
        DIALECT.encode(get("/v2"), query, InferenceResponse("m", "1", payload=Payload(b"", "image/jpeg")))


def test_a_reply_can_be_sent_back_as_a_request() -> None:
    sent = {"y": FLOATS, "s": np.array([b"a"], object)}
    for parameters in ({}, {"binary_data_output": True}):
        reply = reply_to(post(GOOD | {"parameters": parameters}), sent)
        message, rest = parts_of(reply)
        back = decode(post({"inputs": message["outputs"]}, rest)).inputs
        assert back is not None
        assert {name: value.tolist() for name, value in back.items()} == {"y": [[1.5, -2]], "s": [b"a"]}


# -- metadata, health, errors ----------------------------------------------------------------------------------------


def test_model_metadata() -> None:
    inputs = (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,)))
    described = ModelDescription(manifest("m", 3, inputs), "3", ("1", "3"), ServeOptions("inline"))
    reply = DIALECT.encode(get("/v2/models/m"), ModelQuery("m"), described)
    assert (reply.status, reply.headers) == (200, [JSON, UNPACKED])
    assert json.loads(reply.body) == {
        "name": "m",
        "versions": ["1", "3"],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "s", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }


def test_model_readiness() -> None:
    described = ModelDescription(manifest("m", 3), "3", ("3",), ServeOptions("inline"))
    reply = DIALECT.encode(get("/v2/models/m/ready"), ModelQuery("m"), described)
    assert (reply.status, json.loads(reply.body)) == (200, {"name": "m", "ready": True})


def test_server_metadata() -> None:
    for path in ("/v2", "/v2/"):
        reply = DIALECT.encode(get(path), ServerQuery(), ServerDescription(ready=False))
        assert (reply.status, reply.headers) == (200, [JSON, UNPACKED])
        assert json.loads(reply.body) == {
            "name": "onegate",
            "version": VERSION,
            "extensions": [
                "binary_tensor_data",
                "classification",
                "model_configuration",
                "model_repository",
                "parameters",
                "schedule_policy",
                "statistics",
            ],
        }


@pytest.mark.parametrize(
    ("path", "ready", "status", "body"),
    [
        ("/v2/health/live", True, 200, {"live": True}),
        ("/v2/health/live", False, 200, {"live": True}),
        ("/v2/health/ready", True, 200, {"ready": True}),
        ("/v2/health/ready/", True, 200, {"ready": True}),
        ("/v2/health/ready", False, 400, {"ready": False}),
    ],
)
def test_health(path: str, ready: bool, status: int, body: dict[str, bool]) -> None:
    reply = DIALECT.encode(get(path), ServerQuery(), ServerDescription(ready=ready))
    assert (reply.status, json.loads(reply.body)) == (status, body)


def test_a_server_that_does_not_live_is_400() -> None:
    reply = DIALECT.encode(get("/v2/health/live"), ServerQuery(), ServerDescription(ready=False, live=False))
    assert (reply.status, reply.body) == (400, b'{"live":false}')


@pytest.mark.parametrize("name", sorted(ERROR_KINDS))
def test_an_error_is_told_in_the_protocol_s_form(name: str) -> None:
    error = ERROR_KINDS[name]('expected "a", got "b"')
    reply = DIALECT.encode_error(post(GOOD), error)
    later = [("retry-after", "1")] if name == "Overloaded" else []
    assert (reply.status, reply.headers) == (status_of(error).http, [JSON, UNPACKED, *later])
    assert json.loads(reply.body) == {"error": 'expected "a", got "b"'}


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1, "1"), (1.01, "2"), (90.5, "91")])
def test_an_overloaded_server_says_when_to_come_again(seconds: float, header: str) -> None:
    error = Overloaded("the queue is full; try again later", retry_after_s=seconds)
    reply = DIALECT.encode_error(post(GOOD), error)
    assert (reply.status, reply.headers) == (503, [JSON, UNPACKED, ("retry-after", header)])


def test_a_missing_route_is_told_with_its_status() -> None:
    reply = DIALECT.encode_error(get("/v2"), NoSuchRoute("Method Not Allowed", status=405))
    assert (reply.status, reply.body) == (405, b'{"error":"Method Not Allowed"}')


def test_a_model_that_is_not_ready_is_400_on_its_readiness_path_and_503_elsewhere() -> None:
    error = ModelNotReady("model 'm' can't be called now: it is loading")
    assert DIALECT.encode_error(get("/v2/models/m/ready"), error).status == 400
    assert DIALECT.encode_error(get("/v2/models/m"), error).status == 503
    assert DIALECT.encode_error(post(GOOD), error).status == 503
    assert DIALECT.encode_error(get("/v2/models/m/ready"), ModelNotFound("model 'm' is not served here")).status == 404
