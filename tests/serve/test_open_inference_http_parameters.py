"""Parameters of inference requests over HTTP: schedule policy, classification, what is reserved, what is passed on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from model_store.errors import InvalidInput, OnegateError, Unsupported
from serve.dialects.base import HttpReply, HttpRequest
from serve.dialects.open_inference_http import OpenInferenceHttp
from serve.inference import InferenceRequest, InferenceResponse
from tests.serve.conftest import ManualClock

DIALECT = OpenInferenceHttp()
INPUT = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}


def post(parameters: Any = None, outputs: Any = None) -> HttpRequest:
    body = {"inputs": [INPUT], "parameters": parameters, "outputs": outputs}
    return HttpRequest("POST", "/v2/models/m/infer", json.dumps(body).encode(), {}.get)


def decode(parameters: Any = None, outputs: Any = None) -> InferenceRequest:
    query = DIALECT.decode(post(parameters, outputs))
    assert isinstance(query, InferenceRequest)
    return query


# -- the request's ---------------------------------------------------------------------------------------------------


def test_a_request_without_parameters_asks_for_nothing_special() -> None:
    query = decode()
    assert (query.priority, query.deadline, query.signature, query.parameters) == (0, None, None, {})


@pytest.mark.parametrize("priority", [0, 1, 7, 2**32])
def test_the_priority_is_taken_over(priority: int) -> None:
    assert decode({"priority": priority}).priority == priority


async def test_a_timeout_in_microseconds_is_a_deadline_on_the_loop_s_clock(clock: ManualClock) -> None:
    assert decode({"timeout": 2_500_000}).deadline == 1002.5
    assert decode({"timeout": 2**64}).deadline == 1000 + 3600
    assert decode({"timeout": 0}).deadline is None


async def test_a_deadline_is_measured_on_the_running_loop() -> None:
    before = asyncio.get_running_loop().time()
    deadline = decode({"timeout": 10_000_000}).deadline
    assert deadline is not None
    assert before + 10 <= deadline < before + 20


def test_other_parameters_are_the_model_s() -> None:
    own = {"temperature": 0.5, "name": "a", "on": True, "count": 3}
    assert decode({"priority": 1, "binary_data_output": True, "signature": "", **own}).parameters == own


def test_sequence_parameters_that_ask_for_nothing_are_passed_over() -> None:
    neutral = {"sequence_id": 0, "sequence_start": False, "sequence_end": False}
    assert decode(neutral).parameters == decode({"sequence_id": ""}).parameters == {}


BAD = [
    ({"priority": "1"}, "parameter 'priority' is a whole number of 0 or more, got '1'"),
    ({"priority": -1}, "parameter 'priority' is a whole number of 0 or more, got -1"),
    ({"priority": True}, "parameter 'priority' is a whole number of 0 or more, got True"),
    ({"timeout": 1.5}, "parameter 'timeout' is a whole number of 0 or more, got 1.5"),
    ({"timeout": -1}, "parameter 'timeout' is a whole number of 0 or more, got -1"),
    ({"binary_data_output": 1}, "parameter 'binary_data_output' is true or false, got 1"),
    ({"signature": 3}, "parameter 'signature' is the name of a signature, got 3"),
    ({"triton_x": 1}, "parameter 'triton_x' is reserved by the protocol; choose another name"),
    ({"headers": "a"}, "parameter 'headers' is reserved by the protocol; choose another name"),
    ({"a": [1]}, "the body is not a v2 inference request: Expected `bool | int | float | str | null`, got `array`"),
    ({"a": {"b": 1}}, "the body is not a v2 inference request: Expected `bool | int | float | str | null`"),
    ([], "the body is not a v2 inference request: Expected `object | null`, got `array` - at `$.parameters`"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD)
def test_parameters_of_another_kind_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(parameters)
    assert str(refused.value)[: len(message)] == message


@pytest.mark.parametrize(
    "parameters", [{"sequence_id": 7}, {"sequence_id": "a"}, {"sequence_start": True}, {"sequence_end": True}]
)
def test_sequences_are_not_offered(parameters: Any) -> None:
    with pytest.raises(Unsupported, match=r"sequences are not offered, models here keep no state$") as refused:
        decode(parameters)
    assert DIALECT.encode_error(post(parameters), refused.value).status == 501


# -- the outputs' ----------------------------------------------------------------------------------------------------


def reply_to(outputs: Any, response: InferenceResponse, parameters: Any = None) -> HttpReply:
    request = post(parameters, outputs)
    return DIALECT.encode(request, DIALECT.decode(request), response)


SCORES = np.array([[0.25, 0.75, 0], [3, 1, 2]], np.float32)
WANTED = {"name": "y", "parameters": {"classification": 2}}


def test_classes_of_an_output_are_text_of_the_shape_rows_by_classes() -> None:
    reply = reply_to([WANTED], InferenceResponse("m", "1", outputs={"y": SCORES}, labels=("cat", "dog", "eel")))
    assert json.loads(reply.body)["outputs"] == [
        {
            "name": "y",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": ["0.750000:1:dog", "0.250000:0:cat", "3.000000:0:cat", "2.000000:2:eel"],
        }
    ]


def test_classes_are_binary_where_that_was_asked_for() -> None:
    wanted = {"name": "y", "parameters": {"classification": 1, "binary_data": True}}
    reply = reply_to([wanted], InferenceResponse("m", "1", outputs={"y": SCORES}))
    assert reply.body.endswith(b"\x0a\0\0\0" + b"0.750000:1" + b"\x0a\0\0\0" + b"3.000000:0")
    all_binary = reply_to(
        [{"name": "y", "parameters": {"classification": 1}}],
        InferenceResponse("m", "1", outputs={"y": SCORES}),
        {"binary_data_output": True},
    )
    assert all_binary.body.endswith(b"0.750000:1" + b"\x0a\0\0\0" + b"3.000000:0")


def test_other_outputs_beside_classes_stay_as_they_are() -> None:
    numbers = np.array([[7], [8]], np.int64)
    reply = reply_to([WANTED, {"name": "n"}], InferenceResponse("m", "1", outputs={"y": SCORES, "n": numbers}))
    classes, other = json.loads(reply.body)["outputs"]
    assert classes["data"] == ["0.750000:1", "0.250000:0", "3.000000:0", "2.000000:2"]
    assert other == {"name": "n", "datatype": "INT64", "shape": [2, 1], "data": [7, 8]}


def test_a_vector_of_a_model_without_batch_is_one_row() -> None:
    response = InferenceResponse("m", "1", outputs={"y": SCORES[1]}, batched=False)
    (output,) = json.loads(reply_to([WANTED], response).body)["outputs"]
    assert (output["shape"], output["data"]) == ([2], ["3.000000:0", "2.000000:2"])


def test_no_classes_are_the_output_itself() -> None:
    wanted = {"name": "y", "parameters": {"classification": 0}}
    (output,) = json.loads(reply_to([wanted], InferenceResponse("m", "1", outputs={"y": SCORES})).body)["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [2, 3])


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"classification": -1}, InvalidInput, "parameter 'classification' is a whole number of 0 or more, got -1"),
        ({"classification": "2"}, InvalidInput, "parameter 'classification' is a whole number of 0 or more, got '2'"),
        ({"classification": True}, InvalidInput, "parameter 'classification' is a whole number of 0 or more, got True"),
        ({"binary_data": "yes"}, InvalidInput, "parameter 'binary_data' is true or false, got 'yes'"),
        ({"shared_memory_region": "r"}, Unsupported, "output 'y': shared memory is not offered here; "),
    ],
)
def test_output_parameters_of_another_kind_are_refused(given: Any, kind: type[OnegateError], message: str) -> None:
    with pytest.raises(kind) as refused:
        decode(outputs=[{"name": "y", "parameters": given}])
    assert str(refused.value)[: len(message)] == message


def test_an_input_in_shared_memory_is_not_offered() -> None:
    placed = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    given = {"name": "x", "shape": [1], "datatype": "FP32", "parameters": placed}
    request = HttpRequest("POST", "/v2/models/m/infer", json.dumps({"inputs": [given]}).encode(), {}.get)
    with pytest.raises(Unsupported, match=r"^input 'x': shared memory is not offered here; send the tensor"):
        DIALECT.decode(request)


def test_the_answer_s_own_parameters_are_told() -> None:
    reply = reply_to(None, InferenceResponse("m", "1", outputs={"y": SCORES}, parameters={"took": 3}))
    assert json.loads(reply.body)["parameters"] == {"took": 3}
