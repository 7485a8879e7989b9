"""Open Inference over gRPC: messages to tensors and back, raw and typed."""

from __future__ import annotations

import asyncio
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError

from model_store.errors import InvalidInput, OnegateError, Unsupported
from serve.dialects import open_inference_grpc as dialect
from serve.dialects import open_inference_grpc_models as models
from serve.dialects.open_inference_grpc_messages import ReceivedRequest, ReceivedResponse
from serve.inference import InferenceResponse, ModelQuery, Payload, Tensors
from serve.protocols import open_inference as messages

FLOATS = np.array([[1.5, -2]], np.float32)

TYPED = [
    ("BOOL", "bool_contents", [True, False]),
    ("INT8", "int_contents", [-128, 127]),
    ("INT16", "int_contents", [-32768, 32767]),
    ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
    ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
    ("UINT8", "uint_contents", [0, 255]),
    ("UINT16", "uint_contents", [0, 65535]),
    ("UINT32", "uint_contents", [0, 2**32 - 1]),
    ("UINT64", "uint64_contents", [0, 2**64 - 1]),
    ("FP32", "fp32_contents", [1.5, float("inf")]),
    ("FP64", "fp64_contents", [0.1, 1e300]),
    ("BYTES", "bytes_contents", [b"a", b"\xff"]),
]


def request(*tensors: dict[str, Any], raw: list[bytes] | None = None, **fields: Any) -> Any:
    """A message as it comes off the wire; `contents` of a tensor are (field, values)."""
    message = messages.ModelInferRequest(model_name="m", raw_input_contents=raw or [], **fields)
    for tensor in tensors:
        field, values = tensor.pop("contents", (None, None))
        entry = message.inputs.add(**tensor)
        if field is not None:
            getattr(entry.contents, field).extend(values)
    return messages.ModelInferRequest.FromString(message.SerializeToString())


def tensor(name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (1, 2), **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def inputs_of(message: Any) -> Tensors:
    inputs = dialect.decode_request(message).inputs
    assert inputs is not None
    return inputs


def encoded_response(*given: Any) -> Any:
    """The message of an answer as it comes off the wire."""
    return messages.ModelInferResponse.FromString(dialect.encode_response(*given).SerializeToString())


def encoded_request(*given: Any) -> Any:
    """The message of a request as it comes off the wire."""
    return messages.ModelInferRequest.FromString(dialect.encode_request(*given).SerializeToString())


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("datatype", "field", "values"), TYPED, ids=[case[0] for case in TYPED])
def test_typed_contents_are_decoded_and_encoded(datatype: str, field: str, values: list[Any]) -> None:
    inputs = inputs_of(request(tensor(datatype=datatype, shape=(2,), contents=(field, values))))
    assert inputs["x"].tolist() == values
    message = encoded_response(InferenceResponse("m", "1", outputs={"y": inputs["x"]}), dialect.TYPED)
    (output,) = message.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [2])
    assert list(getattr(output.contents, field)) == values
    assert list(message.raw_output_contents) == []


@pytest.mark.parametrize(
    ("datatype", "values"), [(name, values) for name, _, values in TYPED] + [("FP16", [1, 2]), ("BF16", [1, 2])]
)
def test_raw_contents_are_decoded_and_encoded(datatype: str, values: list[Any]) -> None:
    sent = {"x": np.array(values, dtype=dialect.tensors.dtype_of("x", datatype))}
    message = encoded_request("m", 3, sent)
    assert (message.model_name, message.model_version) == ("m", "3")
    assert [(each.name, each.datatype, list(each.shape)) for each in message.inputs] == [("x", datatype, [2])]
    assert not message.inputs[0].HasField("contents")
    back = dialect.decode_request(messages.ModelInferRequest.FromString(message.SerializeToString()))
    assert (back.version, back.reply_form) == ("3", dialect.RAW)
    assert back.inputs is not None
    assert back.inputs["x"].dtype == sent["x"].dtype
    assert back.inputs["x"].tolist() == values


def test_raw_text_has_length_prefixes_and_typed_text_has_none() -> None:
    text = {"x": np.array([b"ab"], object)}
    assert list(encoded_request("m", 1, text).raw_input_contents) == [b"\x02\0\0\0ab"]
    message = encoded_response(InferenceResponse("m", "1", outputs=text), dialect.TYPED)
    assert list(message.outputs[0].contents.bytes_contents) == [b"ab"]


def test_what_a_request_says_beside_its_tensors_is_kept() -> None:
    message = request(tensor(contents=("fp32_contents", [1, 2])), id="a1", model_version="3")
    message.outputs.add(name="q")
    message.outputs.add(name="p")
    decoded = dialect.decode_request(message, deadline=5.0)
    assert (decoded.model, decoded.version, decoded.id, decoded.deadline) == ("m", "3", "a1", 5.0)
    assert decoded.wanted_outputs == ("q", "p")
    assert decoded.reply_form == dialect.TYPED


def test_an_empty_version_lets_the_server_decide() -> None:
    assert dialect.decode_request(request()).version is None
    assert models.decode_model_query(messages.ModelReadyRequest(name="m")) == ModelQuery("m")
    assert models.decode_model_query(messages.ModelReadyRequest(name="m", version="7")) == ModelQuery("m", "7")


def test_zero_sized_tensors_are_legal() -> None:
    assert inputs_of(request(tensor(shape=(0, 2))))["x"].shape == (0, 2)
    assert inputs_of(request(tensor(shape=(0, 2)), raw=[b""]))["x"].shape == (0, 2)


def test_an_empty_shape_is_one_value() -> None:
    assert inputs_of(request(tensor(shape=(), contents=("fp32_contents", [1.5]))))["x"].shape == ()


REFUSED = [
    (
        "raw for one of two",
        request(tensor("a"), tensor("b"), raw=[FLOATS.tobytes()]),
        "2 tensors are described and 1 raw contents sent",
    ),
    (
        "raw for one, typed for the other",
        request(tensor("a"), tensor("b", contents=("fp32_contents", [1, 2])), raw=[FLOATS.tobytes()]),
        "2 tensors are described and 1 raw contents sent",
    ),
    ("raw for no tensor", request(raw=[b""]), "0 tensors are described and 1 raw contents sent"),
    (
        "a claimed shape with four values",
        request(tensor(shape=(2**40,), contents=("fp32_contents", [1, 2, 3, 4]))),
        f"input 'x': shape [{2**40}] takes {2**40} values, got 4",
    ),
    (
        "a value below INT16",
        request(tensor(datatype="INT16", contents=("int_contents", [0, -32769]))),
        "input 'x': a value does not fit INT16: -32769",
    ),
    (
        "a value too wide for UINT8",
        request(tensor(datatype="UINT8", contents=("uint_contents", [256, 0]))),
        "input 'x': a value does not fit UINT8: 256",
    ),
    (
        "a text whose bytes end early",
        request(tensor(datatype="BYTES", shape=(1,)), raw=[b"\x05\0\0\0ab"]),
        "input 'x': element 0 claims 5 bytes, 2 are left",
    ),
    ("a BOOL of 2", request(tensor(datatype="BOOL"), raw=[b"\1\2"]), "input 'x': a BOOL is one byte, 0 or 1; got 2"),
    (
        "raw for nobody",
        request(tensor("a"), raw=[FLOATS.tobytes()] * 2),
        "1 tensors are described and 2 raw contents sent",
    ),
    (
        "raw and typed",
        request(tensor(contents=("fp32_contents", [1, 2])), raw=[FLOATS.tobytes()]),
        "tensor 'x' has both raw and typed contents",
    ),
    (
        "twice the same name",
        request(*[tensor(contents=("fp32_contents", [1, 2])) for _ in range(2)]),
        "tensor 'x' appears twice",
    ),
    ("raw of another size", request(tensor(), raw=[bytes(7)]), "input 'x': FP32[1, 2] takes 8 bytes, got 7"),
    ("no contents", request(tensor()), "input 'x': shape [1, 2] takes 2 values, got 0"),
    (
        "another count",
        request(tensor(contents=("fp32_contents", [1]))),
        "input 'x': shape [1, 2] takes 2 values, got 1",
    ),
    (
        "another field",
        request(tensor(contents=("fp64_contents", [1, 2]))),
        "input 'x': shape [1, 2] takes 2 values, got 0",
    ),
    (
        "a value too wide for INT8",
        request(tensor(datatype="INT8", contents=("int_contents", [1, 200]))),
        "input 'x': a value does not fit INT8: 200",
    ),
    (
        "a value too wide for UINT16",
        request(tensor(datatype="UINT16", contents=("uint_contents", [1, 65536]))),
        "input 'x': a value does not fit UINT16: 65536",
    ),
    (
        "typed half precision",
        request(tensor(datatype="FP16", contents=("fp32_contents", [1, 2]))),
        "tensor 'x': FP16 travels as raw contents only",
    ),
    (
        "typed bfloat16",
        request(tensor(datatype="BF16", contents=("fp32_contents", [1, 2]))),
        "tensor 'x': BF16 travels as raw contents only",
    ),
    ("an unknown datatype", request(tensor(datatype="FP8")), "input 'x': unknown datatype 'FP8'; expected one of BOOL"),
    ("a negative size", request(tensor(shape=(-1, 2)), raw=[bytes(8)]), "input 'x': expected sizes of 0 or more"),
    (
        "a huge shape",
        request(tensor(shape=(2**40, 2**40)), raw=[bytes(8)]),
        f"input 'x': shape [{2**40}, {2**40}] is larger than any memory",
    ),
]


@pytest.mark.parametrize(("message", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_message_that_contradicts_itself_is_refused(message: Any, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        dialect.decode_request(message)
    assert str(refused.value)[: len(text)] == text


# -- parameters ------------------------------------------------------------------------------------------------------


def with_parameters(**given: Any) -> Any:
    """A request with parameters of the kinds that their values have; `outputs` are parameters of the output `y`."""
    message = request(tensor(contents=("fp32_contents", [1, 2])))
    outputs = given.pop("outputs", {})
    fill(message.parameters, given)
    if outputs:
        fill(message.outputs.add(name="y").parameters, outputs)
    return message


def fill(parameters: Any, given: dict[str, Any]) -> None:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    for key, value in given.items():
        setattr(parameters[key], kinds[type(value)], value)


async def test_parameters_of_the_protocol_are_taken_and_others_kept() -> None:
    now = asyncio.get_running_loop().time()
    message = with_parameters(signature="s", priority=2, timeout=3_000_000, temperature=0.5, mode="fast", deep=True)
    message.parameters["seed"].uint64_param = 2**63
    decoded = dialect.decode_request(message)
    assert (decoded.signature, decoded.priority) == ("s", 2)
    assert decoded.deadline == pytest.approx(now + 3, abs=1)
    assert decoded.parameters == {"temperature": 0.5, "mode": "fast", "deep": True, "seed": 2**63}


async def test_the_earlier_of_timeout_and_call_deadline_holds() -> None:
    now = asyncio.get_running_loop().time()
    message = with_parameters(timeout=3_000_000)
    assert dialect.decode_request(message, deadline=now + 1).deadline == now + 1
    assert dialect.decode_request(message, deadline=now + 60).deadline == pytest.approx(now + 3, abs=1)


def test_a_timeout_of_0_is_none() -> None:
    assert dialect.decode_request(with_parameters(timeout=0)).deadline is None


def test_a_sequence_of_0_is_none() -> None:
    message = with_parameters(sequence_id=0, sequence_start=False, sequence_end=False)
    assert dialect.decode_request(message).parameters == {}


def test_classes_are_asked_for_by_output() -> None:
    decoded = dialect.decode_request(with_parameters(outputs={"classification": 2}))
    assert decoded.wanted_outputs == ("y",)
    assert decoded.reply_form == dialect.ReplyForm(False, {"y": 2})


def test_parameters_of_inputs_are_passed_over() -> None:
    message = request(tensor(contents=("fp32_contents", [1, 2])))
    message.inputs[0].parameters["layout"].string_param = "NCHW"
    assert inputs_of(message)["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"priority": "high"}, InvalidInput, "parameter 'priority' is a whole number of 0 or more, got 'high'"),
        ({"priority": -1}, InvalidInput, "parameter 'priority' is a whole number of 0 or more, got -1"),
        ({"timeout": 0.5}, InvalidInput, "parameter 'timeout' is a whole number of 0 or more, got 0.5"),
        ({"sequence_id": 7}, Unsupported, "parameter 'sequence_id': sequences are not offered"),
        ({"sequence_start": True}, Unsupported, "parameter 'sequence_start': sequences are not offered"),
        ({"triton_x": True}, InvalidInput, "parameter 'triton_x' is reserved by the protocol"),
        ({"outputs": {"classification": "two"}}, InvalidInput, "parameter 'classification' is a whole number"),
        ({"outputs": {"shared_memory_region": "r"}}, Unsupported, "output 'y': shared memory is not offered here"),
    ],
)
def test_a_parameter_that_can_not_be_followed_is_refused(
    given: dict[str, Any], kind: type[OnegateError], text: str
) -> None:
    with pytest.raises(kind) as refused:
        dialect.decode_request(with_parameters(**given))
    assert str(refused.value)[: len(text)] == text


def test_shared_memory_is_refused_where_it_is_not_offered() -> None:
    message = request(tensor())
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unsupported, match=r"^tensor 'x': shared memory is not offered here; send the tensor"):
        dialect.decode_request(message)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_a_raw_answer_goes_there_and_back() -> None:
    outputs = {"y": FLOATS, "s": np.array([b"ab"], object)}
    message = encoded_response(InferenceResponse("m", "3", "a1", outputs), dialect.RAW)
    assert (message.model_name, message.model_version, message.id) == ("m", "3", "a1")
    assert list(message.raw_output_contents) == [FLOATS.tobytes(), b"\x02\0\0\0ab"]
    back = dialect.decode_response(messages.ModelInferResponse.FromString(message.SerializeToString()))
    assert {name: value.tolist() for name, value in back.items()} == {"y": [[1.5, -2]], "s": [b"ab"]}


def test_a_typed_answer_goes_there_and_back() -> None:
    message = encoded_response(InferenceResponse("m", "3", outputs={"y": FLOATS}), dialect.TYPED)
    assert dialect.decode_response(message)["y"].tolist() == [[1.5, -2]]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_makes_the_whole_answer_raw(dtype: Any) -> None:
    outputs = {"y": FLOATS, "h": np.array([1], dtype)}
    message = encoded_response(InferenceResponse("m", "3", outputs=outputs), dialect.TYPED)
    assert len(message.raw_output_contents) == 2
    assert not any(output.HasField("contents") for output in message.outputs)


def test_classes_are_text_highest_first() -> None:
    scores = np.array([[0.25, 0.5, 0.125], [3, 1, 2]], np.float32)
    response = InferenceResponse("m", "1", outputs={"y": scores, "z": FLOATS}, labels=("cat", "dog", "owl"))
    message = encoded_response(response, dialect.ReplyForm(False, {"y": 2}))
    assert [(each.name, each.datatype, list(each.shape)) for each in message.outputs] == [
        ("y", "BYTES", [2, 2]),
        ("z", "FP32", [1, 2]),
    ]
    assert list(message.outputs[0].contents.bytes_contents) == [
        b"0.500000:1:dog",
        b"0.250000:0:cat",
        b"3.000000:0:cat",
        b"2.000000:2:owl",
    ]


def test_the_model_s_own_parameters_are_told() -> None:
    parameters = {"steps": 3, "loss": 0.5, "note": "a", "done": True}
    response = InferenceResponse("m", "1", outputs={"y": FLOATS}, parameters=parameters)
    message = encoded_response(response, dialect.RAW)
    assert dialect.plain_parameters(message.parameters) == parameters


def test_an_answer_without_tensors_can_not_be_told() -> None:
    response = InferenceResponse("m", "1", payload=Payload(b"", "image/jpeg"))
    with pytest.raises(InvalidInput, match=r"^model 'm' answers with a raw body, which this protocol can't carry$"):
        encoded_response(response, dialect.RAW)


# -- large contents --------------------------------------------------------------------------------------------------

LARGE = np.arange(40_000, dtype=np.float32).reshape(2, 20_000)


def test_large_raw_contents_are_views_on_the_message() -> None:
    data = dialect.encode_request(
        "m", 1, {"a": LARGE, "s": np.array([b"ab"], object), "b": LARGE + 1}
    ).SerializeToString()
    inputs = inputs_of(ReceivedRequest.FromString(data))
    assert inputs["a"].tolist() == LARGE.tolist()
    assert inputs["s"].tolist() == [b"ab"]
    assert inputs["b"].tolist() == (LARGE + 1).tolist()
    assert np.shares_memory(inputs["a"], np.frombuffer(data, np.uint8))


def test_large_typed_contents_are_read_too() -> None:
    typed = request(tensor(shape=(2, 20_000), contents=("fp32_contents", LARGE.ravel())), id="a1")
    received = ReceivedRequest.FromString(typed.SerializeToString())
    assert received.message.id == "a1"
    assert inputs_of(received)["x"].tolist() == LARGE.tolist()


def test_contents_may_come_between_other_fields() -> None:
    described = request(tensor(shape=(2, 20_000))).SerializeToString()
    contents = messages.ModelInferRequest(raw_input_contents=[LARGE.tobytes()]).SerializeToString()
    named = messages.ModelInferRequest(id="a1").SerializeToString()
    received = ReceivedRequest.FromString(described + contents + named)
    assert received.message.id == "a1"
    assert inputs_of(received)["x"].tolist() == LARGE.tolist()


def test_a_large_answer_goes_there_and_back() -> None:
    outputs = {"y": LARGE.T, "s": np.array([b"ab"], object)}
    data = dialect.encode_response(InferenceResponse("m", "3", "a1", outputs), dialect.RAW).SerializeToString()
    back = dialect.decode_response(ReceivedResponse.FromString(data))
    assert back["y"].tolist() == LARGE.T.tolist()
    assert back["s"].tolist() == [b"ab"]


@pytest.mark.parametrize(
    "tail",
    [b"\x3a\xff\xff\xff\x7f", b"\x3a" + b"\xff" * 10, b"\x3b", b"\xff" * 11, b"\x3a\x05ab", b"\x39abc"],
    ids=["longer than the message", "a length without end", "a group", "a tag without end", "cut off", "cut number"],
)
def test_a_large_message_that_is_broken_is_told_as_such(tail: bytes) -> None:
    with pytest.raises(DecodeError):
        ReceivedRequest.FromString(dialect.encode_request("m", 1, {"x": LARGE}).SerializeToString() + tail)
