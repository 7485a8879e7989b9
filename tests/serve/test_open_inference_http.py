"""Open Inference over HTTP, on the bytes of requests and replies: JSON, binary tensors, and both mixed."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import (
    ERROR_KINDS,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    Unsupported,
)
from model_store.manifest import TensorSpec
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.errors import status_of
from serve.inference import (
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Payload,
    Query,
    ServerDescription,
    ServerQuery,
    StatisticsQuery,
    Tensors,
)
from serve.routing import ServeOptions
from serve.version import VERSION
from tests.serve.tiny_versions import manifest

DIALECT = OpenInferenceHttp()
JSON = ("content-type", "application/json")
UNPACKED = ("cache-control", "no-transform")
OCTETS = ("content-type", "application/octet-stream")
LENGTH = "inference-header-content-length"


def get(path: str, method: str = "GET") -> HttpRequest:
    return HttpRequest(method, path, b"", {}.get)


def post(body: Any, binary: bytes | None = None, path: str = "/v2/models/m/infer") -> HttpRequest:
    """An inference request; `binary` follows the JSON, whose length a header tells then."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if binary is None else {LENGTH: str(len(text))}
    return HttpRequest("POST", path, text + (binary or b""), headers.get)


def decode(request: HttpRequest) -> InferenceRequest:
    query = DIALECT.decode(request)
    assert isinstance(query, InferenceRequest)
    return query


def tensor(name: str = "x", shape: tuple[int, ...] = (1, 2), datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def binary(name: str = "x", shape: tuple[int, ...] = (1, 2), datatype: str = "FP32", size: Any = 8) -> dict[str, Any]:
    return tensor(name, shape, datatype, parameters={"binary_data_size": size})


FLOATS = np.array([[1.5, -2]], np.float32)


# -- requests --------------------------------------------------------------------------------------------------------


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

GOOD = {"inputs": [tensor(data=[1, 2])]}

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


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready"])
def test_paths_about_the_server(path: str) -> None:
    assert DIALECT.decode(get(path)) == ServerQuery()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v2/models/m", ModelQuery("m")),
        ("/v2/models/m/", ModelQuery("m")),
        ("/v2/models/m/ready", ModelQuery("m")),
        ("/v2/models/m/versions/3", ModelQuery("m", "3")),
        ("/v2/models/m/versions/3/ready", ModelQuery("m", "3")),
        ("/v2/models/versions", ModelQuery("versions")),
        ("/v2/models/ready/ready", ModelQuery("ready")),
        ("/v2/models/m/versions/three", ModelQuery("m", label="three")),
        ("/v2/models/m/versions/-1/ready", ModelQuery("m", label="-1")),
        ("/v2/models/m/versions//ready", ModelQuery("m", "")),
        ("/v2/models/m/config", ModelQuery("m")),
        ("/v2/models/m/versions/3/config", ModelQuery("m", "3")),
        ("/v2/models/config", ModelQuery("config")),
        ("/v2/models/stats", StatisticsQuery()),
        ("/v2/models/m/stats", StatisticsQuery("m")),
        ("/v2/models/m/versions/3/stats", StatisticsQuery("m", "3")),
        ("/v2/models/m/versions/canary/stats", StatisticsQuery("m", "canary")),
        ("/v2/models/stats/versions/3/stats", StatisticsQuery("stats", "3")),
    ],
)
def test_paths_about_a_model(path: str, query: Query) -> None:
    assert DIALECT.decode(get(path)) == query


@pytest.mark.parametrize(
    "path",
    [
        "/v2/health",
        "/v2/health/other",
        "/v2/models",
        "/v2/models/m/other",
        "/v2/models/m/infer/more",
        "/v2/models/m/versions",
        "/v2/models/m/versions/3/other",
        "/v2/models/m/generate",
        "/v2/models/m/versions/3/generate_stream",
        "/v2/models//infer",
        "/v2/models//",
        "/v2/models//versions/1/ready",
        "/v2/infer",
        "/v2/repository",
        "/v2/repository/a/b/index",
        "/v2/repository/models/m",
        "/v2/repository/models//load",
        "/v2/repository/models/m/other",
        "/v2/repository/a/b/models/m/load",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(NoSuchRoute) as refused:
            DIALECT.decode(get(path, method))
        assert refused.value.status == 404
        assert str(refused.value).startswith("Not Found")
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2"),
        ("POST", "/v2/health/live"),
        ("DELETE", "/v2/models/m"),
        ("POST", "/v2/models/m/ready"),
        ("GET", "/v2/models/m/infer"),
        ("PUT", "/v2/models/m/versions/1/infer"),
        ("POST", "/v2/models/stats"),
        ("POST", "/v2/models/m/config"),
        ("GET", "/v2/repository/index"),
        ("GET", "/v2/repository/models/m/load"),
        ("DELETE", "/v2/repository/models/m/unload"),
    ],
)
def test_another_method_on_a_known_path_is_not_allowed(method: str, path: str) -> None:
    with pytest.raises(NoSuchRoute) as refused:
        DIALECT.decode(get(path, method))
    assert (refused.value.status, str(refused.value)) == (405, "Method Not Allowed")


NO_SHARED_MEMORY = "shared memory is not offered here; send the tensor in the request"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v2/trace/setting", "tracing can't be set over the protocol"),
        ("/v2/models/m/trace/setting", "tracing can't be set over the protocol"),
        ("/v2/logging", "logging can't be set over the protocol"),
        ("/v2/systemsharedmemory/status", NO_SHARED_MEMORY),
        ("/v2/systemsharedmemory/region/r/register", NO_SHARED_MEMORY),
        ("/v2/cudasharedmemory/unregister", NO_SHARED_MEMORY),
    ],
)
def test_extensions_that_are_not_offered_say_why(path: str, reason: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(Unsupported, match=f"^{reason}$") as refused:
            DIALECT.decode(get(path, method))
        assert DIALECT.encode_error(get(path, method), refused.value).status == 501


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
