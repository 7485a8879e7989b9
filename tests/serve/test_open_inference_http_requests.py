"""Requests of Open Inference over HTTP, on their bytes: JSON, binary tensors, and both mixed; and what is refused."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput
from serve.dialects.base import HttpRequest
from serve.inference import InferenceResponse, Payload
from tests.serve.open_inference_bytes import DIALECT, FLOATS, GOOD, LENGTH, OCTETS, binary, decode, get, post, tensor


def test_a_json_request_is_decoded() -> None:
    query = decode(post({"id": "a1", "inputs": [tensor(data=[1.5, -2])]}))
    assert (query.model, query.version, query.id, query.wanted_outputs) == ("m", None, "a1", ())
    assert query.inputs is not None
    assert list(query.inputs) == ["x"]
    assert query.inputs["x"].dtype == np.float32
    assert query.inputs["x"].tolist() == [[1.5, -2]]


def test_nested_json_data_is_decoded() -> None:
    query = decode(post({"inputs": [tensor(shape=(2, 2), data=[[1, 2], [3, 4]])]}))
    assert query.inputs is not None
    assert query.inputs["x"].tolist() == [[1, 2], [3, 4]]
    query = decode(post({"inputs": [tensor(data=[1, 2]), tensor("deep", (1,) * 6, data=[[[[[[3]]]]]])]}))
    assert query.inputs is not None
    assert query.inputs["x"].tolist() == [[1, 2]]
    assert query.inputs["deep"].tolist() == [[[[[[3]]]]]]


@pytest.mark.parametrize(
    ("named", "version", "label"),
    [("12", "12", None), ("1.0", "1.0", None), ("9" * 500, "9" * 500, None), ("three", None, "three"), ("", "", None)],
)
@pytest.mark.parametrize("more", [{}, {"parameters": {"priority": 1}}])
def test_the_version_or_label_in_the_path_is_asked_for(
    named: str, version: str | None, label: str | None, more: dict[str, Any]
) -> None:
    query = decode(post({"inputs": []} | more, path=f"/v2/models/m/versions/{named}/infer"))
    assert (query.version, query.label) == (version, label)


def test_the_outputs_that_the_request_names_are_wanted_in_its_order() -> None:
    query = decode(post({"inputs": [], "outputs": [{"name": "q"}, {"name": "p"}]}))
    assert query.wanted_outputs == ("q", "p")
    assert decode(post({"inputs": [], "outputs": []})).wanted_outputs == ()


def test_binary_inputs_follow_the_json_in_its_order() -> None:
    numbers = np.array([7, 8, 9], np.int64)
    body = {"inputs": [binary(), binary("z", (3,), "INT64", 24)]}
    query = decode(post(body, FLOATS.tobytes() + numbers.tobytes()))
    assert query.inputs is not None
    assert query.inputs["x"].tolist() == [[1.5, -2]]
    assert query.inputs["z"].tolist() == [7, 8, 9]


def test_json_and_binary_inputs_may_be_mixed() -> None:
    body = {"inputs": [tensor("a", (1,), "INT32", data=[5]), binary(), tensor("b", (1,), "BYTES", data=["t"])]}
    query = decode(post(body, FLOATS.tobytes()))
    assert query.inputs is not None
    assert {name: value.tolist() for name, value in query.inputs.items()} == {
        "a": [5],
        "x": [[1.5, -2]],
        "b": [b"t"],
    }


def test_binary_text_and_half_precision_are_decoded() -> None:
    body = {"inputs": [binary("s", (2,), "BYTES", 11), binary("h", (1,), "FP16", 2), binary("b", (1,), "BF16", 2)]}
    query = decode(post(body, b"\x02\0\0\0ab\x01\0\0\0\xff" + b"\x00\x3c" + b"\x80\x3f"))
    assert query.inputs is not None
    assert query.inputs["s"].tolist() == [b"ab", b"\xff"]
    assert (query.inputs["h"].dtype, query.inputs["h"].tolist()) == (np.float16, [1.0])
    assert (query.inputs["b"].dtype, query.inputs["b"].tolist()) == (ml_dtypes.bfloat16, [1.0])


def test_the_json_part_may_end_in_white_space() -> None:
    query = decode(post(json.dumps({"inputs": [binary()]}).encode() + b" \r\n", FLOATS.tobytes()))
    assert query.inputs is not None
    assert query.inputs["x"].tolist() == [[1.5, -2]]


def test_a_length_of_the_whole_body_is_json_without_binary() -> None:
    query = decode(post({"inputs": [tensor(data=[1, 2])]}, b""))
    assert query.inputs is not None
    assert query.inputs["x"].tolist() == [[1, 2]]


def test_a_length_of_zero_is_a_raw_binary_request() -> None:
    query = decode(HttpRequest("POST", "/v2/models/m/infer", FLOATS.tobytes(), {LENGTH: "0"}.get))
    assert query.inputs is None
    assert query.payload == Payload(FLOATS.tobytes(), "application/octet-stream")
    reply = DIALECT.encode(get("/v2"), query, InferenceResponse("m", "1", outputs={"y": FLOATS}))
    assert reply.headers[0] == OCTETS


def test_an_empty_tensor_is_legal() -> None:
    query = decode(post({"inputs": [tensor("a", (0, 3), data=[]), binary("b", (0, 3), size=0)]}, b""))
    assert query.inputs is not None
    assert (query.inputs["a"].shape, query.inputs["b"].shape) == ((0, 3), (0, 3))


def test_unknown_members_are_passed_over() -> None:
    body = {"inputs": [tensor(data=[1, 2], parameters={"content_type": "np"})], "x": {"y": [0]}}
    assert decode(post(body)).inputs is not None


def test_members_that_are_null_are_not_there() -> None:
    inputs = [tensor(data=[1, 2], parameters={"content_type": None, "binary_data_size": None})]
    body = {"inputs": inputs, "outputs": None, "id": None, "parameters": {"priority": None, "headers": None}}
    query = decode(post(body))
    assert (query.id, query.wanted_outputs, query.priority, query.parameters) == ("", (), 0, {})
    whole = binary() | {"data": None}
    whole["parameters"]["shared_memory_region"] = None
    outputs = [{"name": "y", "parameters": {"shared_memory_region": None, "binary_data": None, "classification": None}}]
    query = decode(post({"inputs": [whole], "outputs": outputs}, FLOATS.tobytes()))
    assert query.inputs is not None
    assert (query.inputs["x"].tolist(), query.wanted_outputs) == (FLOATS.tolist(), ("y",))


def test_of_a_member_that_comes_twice_the_last_counts() -> None:
    body = b'{"inputs":[],"inputs":[{"name":"x","name":"z","shape":[9],"shape":[1],"datatype":"INT8","data":[7]}]}'
    query = decode(post(body))
    assert query.inputs is not None
    assert {name: value.tolist() for name, value in query.inputs.items()} == {"z": [7]}
    query = decode(post(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[7],"datatype":"INT8"}]}'))
    assert query.inputs is not None
    assert query.inputs["x"].dtype == np.int8


# -- what is refused -------------------------------------------------------------------------------------------------


REFUSED = [
    ("empty", post(b""), "the body is not a v2 inference request: Input data was truncated"),
    (
        "cut off",
        post(json.dumps(GOOD).encode()[:-2]),
        "the body is not a v2 inference request: Input data was truncated",
    ),
    (
        "text after the JSON",
        post(json.dumps(GOOD).encode() + b"x"),
        "the body is not a v2 inference request: JSON is malformed: trailing characters (byte 81)",
    ),
    ("a list", post([]), "the body is not a v2 inference request: Expected `object`, got `array`"),
    ("no inputs", post({}), "the body is not a v2 inference request: Object missing required field `inputs`"),
    (
        "no name",
        post({"inputs": [{"shape": [1], "datatype": "FP32", "data": [1]}]}),
        "the body is not a v2 inference request: Object missing required field `name` - at `$.inputs[0]`",
    ),
    (
        "a shape of text",
        post({"inputs": [{"name": "x", "shape": "1", "datatype": "FP32", "data": [1]}]}),
        "the body is not a v2 inference request: Expected `array`, got `str` - at `$.inputs[0].shape`",
    ),
    (
        "a negative size",
        post({"inputs": [tensor(shape=(-1, 2), data=[1, 2])]}),
        "the body is not a v2 inference request: Expected `int` >= 0 - at `$.inputs[0].shape[0]`",
    ),
    (
        "a size with a fraction",
        post({"inputs": [tensor(shape=(1.5,), data=[1])]}),  # type: ignore[arg-type]
        "the body is not a v2 inference request: Expected `int`, got `float` - at `$.inputs[0].shape[0]`",
    ),
    ("an unknown datatype", post({"inputs": [tensor(datatype="FP8", data=[1, 2])]}), "input 'x': unknown datatype"),
    ("no data", post({"inputs": [tensor()]}), "input 'x' has neither 'data' nor the parameter 'binary_data_size'"),
    (
        "another count",
        post({"inputs": [tensor(data=[1, 2, 3])]}),
        "input 'x': shape [1, 2] takes 2 values, got 3",
    ),
    ("the same name twice", post({"inputs": [tensor(data=[1, 2])] * 2}), "input 'x' appears twice"),
    ("half precision", post({"inputs": [tensor(datatype="FP16", data=[1, 2])]}), "input 'x': FP16 can't be sent as"),
    (
        "bytes that are not UTF-8",
        post(b'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\xff"]}]}'),
        "input 'x': 'data' is no list of BYTES values: ",
    ),
    ("a name that is not UTF-8", post(b'{"inputs":[{"name":"\xff"}]}'), "the body is not UTF-8 JSON: "),
    (
        "binary data without a length",
        HttpRequest("POST", "/v2/models/m/infer", json.dumps(GOOD).encode() + bytes(8), {}.get),
        "the body is not a v2 inference request: JSON is malformed",
    ),
    (
        "binary size without binary data",
        post({"inputs": [binary()]}),
        "input 'x': 'binary_data_size' must be 0 to 0, the bytes left; got 8",
    ),
    (
        "data and binary data",
        post({"inputs": [binary() | {"data": [1, 2]}]}, bytes(8)),
        "input 'x' has both 'data' and 'binary_data_size'",
    ),
    (
        "more binary data than described",
        post({"inputs": [binary()]}, bytes(9)),
        "the binary tensors take 8 bytes, 9 follow the JSON part",
    ),
    (
        "less binary data than described",
        post({"inputs": [binary()]}, bytes(7)),
        "input 'x': 'binary_data_size' must be 0 to 7, the bytes left; got 8",
    ),
    (
        "sizes that overlap",
        post({"inputs": [binary("a"), binary("b")]}, bytes(12)),
        "input 'b': 'binary_data_size' must be 0 to 4, the bytes left; got 8",
    ),
    ("a size unlike the shape", post({"inputs": [binary(size=4)]}, bytes(4)), "input 'x': FP32[1, 2] takes 8 bytes"),
    (
        "a huge shape",
        post({"inputs": [binary(shape=(2**40, 2**40))]}, bytes(8)),
        f"input 'x': shape [{2**40}, {2**40}] is larger than any memory",
    ),
    (
        "a huge size",
        post({"inputs": [binary(size=2**63)]}, bytes(8)),
        f"input 'x': 'binary_data_size' must be 0 to 8, the bytes left; got {2**63}",
    ),
    (
        "a negative binary size",
        post({"inputs": [binary(size=-8)]}, bytes(8)),
        "input 'x': 'binary_data_size' must be 0 to 8",
    ),
    ("a size as text", post({"inputs": [binary(size="8")]}, bytes(8)), "input 'x': 'binary_data_size' must be 0 to 8"),
    ("a size of true", post({"inputs": [binary(size=True)]}, bytes(1)), "input 'x': 'binary_data_size' must be 0 to 1"),
    (
        "a text element beyond its slice",
        post({"inputs": [binary("s", (1,), "BYTES", 6)]}, b"\x09\0\0\0ab"),
        "input 's': element 0 claims 9 bytes, 2 are left",
    ),
]


@pytest.mark.parametrize(("request_", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_request_that_says_something_else_than_it_sends_is_refused(request_: HttpRequest, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        DIALECT.decode(request_)
    assert str(refused.value)[: len(message)] == message


@pytest.mark.parametrize("length", ["-1", "1000", "1e3", "0x1", "", " 5", "\u0665", "9" * 5000])
def test_a_json_length_outside_the_body_is_refused(length: str) -> None:
    request = HttpRequest("POST", "/v2/models/m/infer", b'{"inputs":[]}', {LENGTH: length}.get)
    with pytest.raises(InvalidInput, match=r"^inference-header-content-length must be 0 to 13, the body's length; got"):
        DIALECT.decode(request)
